import json
import math

import numpy as np
import pytest
from scipy.stats import t as student

from launch.search import _close
from mlstm.errors import InputError
from mlstm.training import search, search_space
from mlstm.training.config import from_config_dict, to_dict
from mlstm.training.search import Ended
from mlstm.training.search_results import Results

CONFIG = from_config_dict({"data": {"source": "text.txt"}, "train": {"steps": 10}})


def begin(folder, grid="model.hidden=8,16", seeds=1, config=CONFIG):
    return search.begin(folder, config, search_space.grid(grid), seeds, {"grid": grid})


def finish(found, trial, seed, bits):
    """Leave what a training that finished leaves."""
    run = found.run(trial, seed)
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"format_version": 1, "seed": seed}))
    log = [{"kind": "validation", "step": k, "bits_per_byte": b} for k, b in enumerate(bits)]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, log)))
    return found.note(trial, seed, 0)


def test_a_grid_is_every_combination():
    found = search_space.grid("optimizer.learning_rate=1e-3,3e-3; config.model.hidden=64,128")
    assert found == [
        {"optimizer.learning_rate": rate, "model.hidden": hidden}
        for rate in (1e-3, 3e-3)
        for hidden in (64, 128)
    ]
    assert search_space.grid("log.gate_saturation=False") == [{"log.gate_saturation": False}]


def test_draws_lie_in_their_ranges_and_the_first_stay_when_there_are_more():
    space = "optimizer.learning_rate=log(1e-4,1e-2);data.batch=16|32;model.hidden=uniform(8,64)"
    few, many = search_space.draws(space, 5, 0), search_space.draws(space, 400, 0)
    assert many[:5] == few
    rates = np.array([each["optimizer.learning_rate"] for each in many])
    assert rates.min() >= 1e-4
    assert rates.max() <= 1e-2
    # Evenly in the logarithm: half lie below the geometric mean.
    assert np.mean(rates < 1e-3) == pytest.approx(0.5, abs=0.1)
    assert {each["data.batch"] for each in many} == {16, 32}
    hidden = [each["model.hidden"] for each in many]
    assert all(type(each) is int and 8 <= each <= 64 for each in hidden)
    assert search_space.draws(space, 5, 1) != few


def test_no_trial_is_drawn_twice_and_an_exhausted_space_says_so():
    space = "data.batch=16|32;model.hidden=uniform(7.5,10)"
    found = search_space.draws(space, 6, 0)
    assert len({tuple(each.values()) for each in found}) == 6
    with pytest.raises(InputError, match="--random=7: --space has 6 different trials"):
        search_space.draws(space, 7, 0)
    with pytest.raises(InputError, match="no others come"):
        search_space.draws("optimizer.learning_rate=uniform(0.1,0.1001)", 3, 0)


def test_whole_numbers_are_drawn_evenly():
    for log, shares in ((False, [1 / 3] * 3), (True, np.diff(np.log([0.5, 1.5, 2.5, 3.5])))):
        between = search_space.Between(1, 3, log, True)
        random = np.random.default_rng(0)
        counts = np.bincount([between.draw(random) for _ in range(3000)], minlength=4)[1:]
        expected = np.array(shares) / np.sum(shares)
        np.testing.assert_allclose(counts / 3000, expected, atol=0.03)


def test_trials_of_different_validation_texts_are_refused():
    for grid in ("data.source=a,b", "data.cleaning=none,openai"):
        with pytest.raises(InputError, match="changes what is validated on"):
            search_space.check(CONFIG, search_space.grid(grid), 1)
    splits = search_space.draws("data.splits=0.9,0.1,0|0.8,0.2,0", 2, 0)
    with pytest.raises(InputError, match=r"data\.splits changes what is validated on"):
        search_space.check(CONFIG, splits, 1)
    search_space.check(CONFIG, search_space.grid("data.source=a;data.vocabulary=bytes,words"), 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model.hiden=8", "config.model has no field 'hiden'; did you mean 'hidden'?"),
        ("model=8", "config.model is a section; vary one of: "),
        ("seed=1,2", "config.seed is not searched over; give --seeds"),
        ("model.hidden", "is no field with values"),
        ("model.hidden=8,x", "config.model.hidden is 'x': it has to be a whole number"),
        ("model.hidden=8;model.hidden=9", "stands twice"),
        ("model.hidden=8,8", "a value twice"),
        (";", "names no field"),
        ("log.gate_saturation=maybe", "True or False"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_by_name(text, words):
    with pytest.raises(InputError) as error:
        search_space.grid(text)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optimizer.learning_rate=log(0,1)", "above 0"),
        ("optimizer.learning_rate=uniform(2,1)", "the first end is below the second"),
        ("optimizer.name=log(1,2)", "is no number"),
        ("model.hidden=uniform(a,b)", "have to be numbers"),
        ("model.hidden=uniform(8.2,8.4)", "no whole number"),
        ("model.hidden=8|8", "a value twice"),
    ],
)
def test_a_range_that_cannot_be_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        search_space.draws(text, 3, 0)


def test_every_trial_is_checked_as_the_config_checks_itself():
    trials = search_space.grid("optimizer.learning_rate=0.1,-1")
    with pytest.raises(InputError, match=r"trial 2 \(optimizer.learning_rate=-1.0\): .*more than"):
        search_space.check(CONFIG, trials, 1)


def test_the_flags_of_a_run_make_its_config(tmp_path):
    found = begin(tmp_path / "s", "optimizer.learning_rate=1e-3,3e-3")
    workdir, *fields = found.flags(1, 0)
    assert workdir == f"--workdir={tmp_path}/s/trials/002-seed0"
    assert set(fields) == {
        "--config.data.source=text.txt",
        f"--config.data.folder={tmp_path}/s/corpus",
        "--config.optimizer.learning_rate=0.003",
        "--config.train.steps=10",
    }
    # Trials with texts of their own prepare them by themselves.
    own = begin(tmp_path / "t", "data.reset=shard")
    assert not any("data.folder" in each for each in own.flags(0, 0))


def test_the_choice_is_the_lowest_mean_of_best_validations_of_trials_whose_seeds_all_finished(
    tmp_path,
):
    found = begin(tmp_path / "s", "model.hidden=8,16,32", seeds=2)
    assert found.plan == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    finish(found, 0, 0, [3.0, 2.0, 2.5])  # the best, not the last
    finish(found, 0, 1, [2.2])
    finish(found, 1, 0, [2.05])
    finish(found, 1, 1, [2.25])
    finish(found, 2, 0, [1.0])
    now = {(2, 1): found.note(2, 1, -9, "Killed")}
    results = Results.of(found, now)
    assert results.best is not None
    assert results.best.trial == 0
    assert results.best.mean == pytest.approx(2.1)
    reach = student.ppf(0.975, 1) * np.std([2.0, 2.2], ddof=1) / math.sqrt(2)
    assert results.best.reach == pytest.approx(reach)
    assert results.rows[0].trial == 2  # shown, with what went wrong
    assert "failed, code -9: Killed" in str(results)
    results.save()
    record = json.loads((tmp_path / "s" / "results.json").read_text())
    assert record["chosen"] == {"trial": 1, "model.hidden": 8}
    assert record["trials"][0]["troubles"] == ["failed, code -9: Killed"]
    assert "code -9: Killed" in (tmp_path / "s" / "results.csv").read_text()
    assert (tmp_path / "s" / "results.csv").read_text().count("\n") == 4


def test_every_seed_of_the_chosen_trial_is_to_be_evaluated_and_none_is_exit_status_1(
    tmp_path, capsys
):
    found = begin(tmp_path / "s", "model.hidden=8,16", seeds=2)
    for seed, bits in ((0, 2.0), (1, 2.2)):
        finish(found, 1, seed, [bits])
    assert _close(Results.of(found)) is None
    printed = capsys.readouterr().out
    for seed in (0, 1):
        assert f"launch.evaluate --model={found.run(1, seed)} --split=test" in printed
    none = begin(tmp_path / "t", "model.hidden=8")
    ended = none.note(0, 0, 2, "a.txt: no such file")
    assert _close(Results.of(none, {(0, 0): ended})) == 1
    assert "failed, code 2: a.txt: no such file" in capsys.readouterr().out
    assert begin(tmp_path / "t", "model.hidden=8").ended(0, 0) is None


def test_what_ended_for_good_is_not_run_again_and_a_crash_is(tmp_path):
    found = begin(tmp_path / "s")
    finish(found, 0, 0, [2.0])
    assert found.note(1, 0, 1, "no space left").status == "failed, code 1"
    again = begin(tmp_path / "s")
    assert again.ended(0, 0) == Ended("finished", 2.0)
    assert again.ended(1, 0) is None
    again.note(1, 0, 3, "not finite at step 3")
    assert again.ended(1, 0) == Ended("not finite", None, "not finite at step 3")


def test_a_search_goes_on_with_more_seeds_and_draws_and_with_no_other_config(tmp_path):
    space = "model.hidden=uniform(8,64)"
    few, many = (search_space.draws(space, count, 0) for count in (2, 4))
    search.begin(tmp_path / "s", CONFIG, few, 1, {"space": space})
    more = search.begin(tmp_path / "s", CONFIG, many, 3, {"space": space})
    assert len(more.plan) == 12
    less = search.begin(tmp_path / "s", CONFIG, few, 1, {"space": space})
    assert len(less.plan) == 12
    with pytest.raises(InputError, match="over other values"):
        begin(tmp_path / "s")
    tree = to_dict(CONFIG)
    tree["train"]["steps"] = 20
    with pytest.raises(InputError, match=r"train\.steps was 10 and is 20"):
        search.begin(tmp_path / "s", from_config_dict(tree), few, 1, {})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="not empty and no search"):
        begin(tmp_path / "full")
