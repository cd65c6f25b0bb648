"""The whole study, on a tiny model: what is trained, measured, written, and done again."""

import json
import shutil

import numpy as np
import pytest

import mlstm
from mlstm.errors import InputError
from mlstm.runs import validation_curve
from mlstm.training import loop
from probing.plasticity import retraining
from probing.plasticity import study as studies
from probing.plasticity.study import plasticity

pytestmark = pytest.mark.slow
ASKED = {
    "concept": "keyword", "prune": "", "units": "0.c[2,7] 0.m[4]", "steps": 4, "every": 2,
    "seeds": 1, "twins": ("untouched",), "rows": 300, "size": 2000, "learning_rate": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("study") / "keyword"


@pytest.fixture(scope="module")
def report(base_run, data, output):
    said = []
    found = plasticity(base_run, data, output, tell=said.append, **ASKED)
    assert "arm 1 of 2: concept, seed 0: pruned 2 of 0.c, 1 of 0.m" in said
    assert found.bytes < data.bytes
    return found


def test_every_arm_is_measured_behind_the_pruning_and_along_the_retraining(report):
    assert [(arm.arm, arm.seed) for arm in report.arms] == [("concept", 0), ("untouched", 0)]
    for arm in report.arms:
        assert list(arm.curve) == [0, 2, 4]
        bits = [found.figures["bits_per_byte"] for found in arm.curve.values()]
        assert bits[2] < bits[1] < bits[0]
    base = report.base.figures
    untouched = report.arms[1].curve[0]
    for name, value in untouched.figures.items():
        if not name.startswith("roles") and np.isfinite(value):
            assert value == pytest.approx(base[name], rel=1e-5), name
    assert untouched.figures["context_similarity"] == pytest.approx(1)


def test_bits_per_byte_of_a_checkpoint_are_those_of_its_validation(report, output):
    logged = validation_curve(output / "runs" / "concept-0")
    assert logged[-1][0] == 4
    found = report.arms[0].curve[4].figures["bits_per_byte"]
    assert found == pytest.approx(logged[-1][1], rel=1e-5)


def test_pruned_units_are_nowhere_and_no_role_is_given_to_one(report):
    for found in report.arms[0].curve.values():
        for site, dead in {"0.c": {2, 7}, "0.h": {2, 7}, "0.m": {4}}.items():
            for name in ("auc", "saliency"):
                values = np.array(getattr(found, name)[site])
                assert set(np.flatnonzero(np.isnan(values)).tolist()) == dead
        assert [found.words["0.c"][unit] for unit in (2, 7)] == [[], []]
        assert all(words for unit, words in enumerate(found.words["0.c"]) if unit not in (2, 7))
        assert {role.old for role in found.roles} == {"0.c[2]", "0.c[7]", "0.m[4]"}
        assert not {role.new for role in found.roles} & {"0.c[2]", "0.c[7]", "0.m[4]"}


def test_the_untouched_twin_still_has_its_own_roles(report):
    for role in report.arms[1].curve[0].roles:
        assert role.new == role.old
        assert role.correlation == pytest.approx(1, abs=1e-6)
        assert role.taken
        assert not role.newly


def test_the_runs_of_all_arms_are_runs_with_their_masks(report, output):
    model = mlstm.load(output / "runs" / "concept-0")
    values = model.encode([b"def f(x): return 1"], "0.c,0.h,0.m")[0]
    assert np.flatnonzero(values == 0).tolist() == [2, 7, 18, 23, 36]
    config = json.loads((output / "runs" / "untouched-0" / "config.json").read_text())
    assert config["train"]["prune"] == ""
    assert config["optimizer"]["learning_rate"] == 0.01


def test_a_study_that_is_done_trains_and_measures_nothing_again(
    report, base_run, data, output, monkeypatch
):
    def never(*_, **__):
        raise AssertionError("done already")

    monkeypatch.setattr(studies.Ruler, "measure", never)
    monkeypatch.setattr(retraining.loop, "run", never)
    again = plasticity(base_run, data, output, tell=lambda _: None, **ASKED)
    assert json.loads(again.to_json())["arms"] == json.loads(report.to_json())["arms"]


def test_a_study_that_was_stopped_goes_on(report, base_run, data, output, tmp_path, monkeypatch):
    there = tmp_path / "study"
    shutil.copytree(output, there)
    for step in (2, 4):
        (there / "measured" / f"untouched-0-{step}.json").unlink()
    shutil.rmtree(there / "runs" / "untouched-0")

    def stopped(config, folder, **_):
        return loop.Result(folder, 1, 4, "interrupted", None, saved=True)

    asked = ASKED | {"tell": lambda _: None}
    with monkeypatch.context() as patch:
        patch.setattr(retraining.loop, "run", stopped)
        with pytest.raises(retraining.Interrupted, match="the same command goes on from here"):
            plasticity(base_run, data, there, **asked)
    trained = []
    real = loop.run

    def watched(config, folder, **kept):
        trained.append(folder.name)
        return real(config, folder, **kept)

    monkeypatch.setattr(retraining.loop, "run", watched)
    again = plasticity(base_run, data, there, **asked)
    assert trained == ["untouched-0"]
    assert json.loads(again.to_json())["arms"] == json.loads(report.to_json())["arms"]


def test_a_concept_that_the_text_lacks_is_one_line(base_run, data, tmp_path):
    asked = ASKED | {"concept": "position in line >= 40"}
    with pytest.raises(InputError, match=r"of [\d,]+ bytes of train that are read none have it"):
        plasticity(base_run, data, tmp_path / "study", **asked)


def test_another_question_in_the_same_folder_is_refused(report, base_run, data, output):
    with pytest.raises(InputError, match="holds another study: concept was 'keyword' and is 'st"):
        plasticity(base_run, data, output, **ASKED | {"concept": "string"})
