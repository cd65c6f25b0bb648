import json

import pytest

from mlstm.corpus.shards import prepare_source

ONE = "--dynamic", "--dynamic_learning_rate=0.1", "--dynamic_decay=0"


def test_static_and_dynamic_figures_stand_side_by_side_tuned_on_validation(
    launch, trained_run, tmp_path
):
    figures, tune_on = tmp_path / "out.json", tmp_path / "tune.txt"
    tune_on.write_bytes(b"some other words, and once again\n" * 12)
    usual = f"--model={trained_run}", "--dynamic"
    # All parts of this run's text are the same.
    result = launch("evaluate", *usual)
    assert result.returncode == 2, result.stderr
    assert b"the validation split is the very text that is scored" in result.stderr
    flags = (
        f"--dynamic_tune_on={tune_on}",
        *usual,
        "--dynamic_learning_rate=0.0001,0.001",
        "--dynamic_decay=0.001",
        "--dynamic_batches=3",
        "--dynamic_bytes=400",
        f"--json={figures}",
    )
    result = launch("evaluate", *flags)
    assert result.returncode == 0, result.stderr
    record = json.loads(figures.read_text())
    assert record["bytes"] == 399
    assert record["tuned_on"] == str(tune_on)
    (model,) = record["models"]
    tried = {each["learning_rate"]: each["bits_per_byte"] for each in model["validation"]}
    assert tried.keys() == {0.0001, 0.001}
    assert model["learning_rate"] == min(tried, key=lambda rate: tried[rate])
    assert (
        model["dynamic_bits_per_byte"] < model["static_bits_per_byte"] - 0.02
    )  # a repetitive text
    printed = result.stdout.decode()
    for word in ("static", "dynamic", "tuned on", "the best of 2", "at the edge"):
        assert word in printed


def test_rates_that_are_given_are_taken_and_each_of_a_population_adapts(
    launch, trained_run, trained_population, tmp_path
):
    (tmp_path / "book.txt").write_bytes(b"word " * 200)
    prepare_source(
        tmp_path / "book.txt", tmp_path / "book", splits=(1, 0, 0), cleaning="concept_neurons"
    )
    figures = tmp_path / "out.json"
    result = launch(
        "evaluate",
        f"--model={trained_population}",
        f"--data={tmp_path / 'book'}",
        "--split=train",
        "--dynamic",
        "--dynamic_rule=sgd",
        "--dynamic_learning_rate=0.1",
        "--dynamic_decay=0",
        f"--json={figures}",
    )
    assert result.returncode == 0, result.stderr
    record = json.loads(figures.read_text())
    assert [model["seed"] for model in record["models"]] == [5, 6]
    assert record["tuned_on"] is None
    assert all(model["validation"] == [] for model in record["models"])
    assert record["dynamic_bits_per_byte"] < record["static_bits_per_byte"]
    assert "as given" in result.stdout.decode()
    assert "note: the text was cleaned as concept_neurons" in result.stdout.decode()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dynamic_decay=0.1"], "--dynamic_decay says nothing without --dynamic"),
        (["--dynamic", "--reset_every=10"], "--reset_every: dynamic evaluation is of one stream"),
        (["--dynamic", "--dynamic_decay=x"], "--dynamic_decay=x: it is a number"),
        (["--dynamic", "--dynamic_decay=2"], "decay 2.0 goes beyond the trained parameters"),
        (["--dynamic", "--split=validation"], "tuned on is not clear"),
        (["--dynamic", "--dynamic_segment=0"], "--dynamic_segment=0"),
        (["--dynamic", "--dynamic_bytes=-1"], "--dynamic_bytes=-1"),
        (["--dynamic", "--dynamic_decay=-1"], "--dynamic_decay=-1: it has to be finite"),
        (["--dynamic", "--dynamic_rule=sgd", "--dynamic_train=x"], "nothing with the rule sgd"),
        (["--dynamic", "--dynamic_rule=sgd", "--dynamic_epsilon=1"], "nothing with the rule sgd"),
        ([*ONE, "--dynamic_tune_on=x"], "--dynamic_tune_on says nothing with one rate"),
        ([*ONE, "--dynamic_tune_bytes=9"], "--dynamic_tune_bytes says nothing with one rate"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(launch, trained_run, flags, words):
    result = launch("evaluate", f"--model={trained_run}", *flags)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count(b"\n") == 1
    assert words in result.stderr.decode()
