"""The run from begin to end: what it writes, how it ends, what it refuses."""

import json
import resource
import shutil

import numpy as np
import pytest

from mlstm import loading
from mlstm.errors import InputError
from mlstm.training import loop, workdir
from mlstm.training.config import Config, from_config_dict, to_dict
from mlstm.training.setup import Setup
from mlstm.training.validation import Validation


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(np.random.default_rng(0).integers(97, 105, 8000).astype(np.uint8).tobytes())
    return path


@pytest.fixture
def config(text):
    def make(**changes):
        tree = to_dict(Config())
        values = {
            "model.hidden": 16, "model.embedding": 8, "data.source": str(text),
            "data.folder": str(text.parent / "corpus"), "data.batch": 4, "data.window": 8,
            "train.steps": 12, "train.validation_batch": 4, "train.validation_window": 16,
            "optimizer.learning_rate": 0.01, "log.every": 4, "log.samples": 0,
            "log.gate_saturation": False, "checkpoint.every": 5, "checkpoint.log_spaced": False,
        }  # fmt: skip
        for name, value in (values | changes).items():
            section, field = name.split(".")
            tree[section][field] = value
        return from_config_dict(tree)

    return make


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def spoil(monkeypatch, call, effect):
    """Let `effect(batch)` happen to the batch of the given step."""
    calls, place = [], Setup.place

    def spoiled(self, batch):
        effect(batch) if len(calls) == call else None
        calls.append(1)
        return place(self, batch)

    monkeypatch.setattr(Setup, "place", spoiled)


def put_nan(batch):
    batch.weights[0, 0] = np.nan


def test_a_run_its_resumption_with_more_steps_and_a_run_from_its_parameters(
    tmp_path, config, capsys, monkeypatch
):
    first = tmp_path / "first"
    result = loop.run(config(**{"log.samples": 2, "log.sample_bytes": 10,
                                "log.gate_saturation": True}), first)  # fmt: skip
    assert (result.ended, result.step, result.saved) == ("finished", 12, True)
    assert [(r["step"], r["kind"]) for r in lines(first)] == [
        (4, "train"), (8, "train"), (12, "train"), (12, "validation")
    ]  # fmt: skip
    assert set(lines(first)[0]["gates"]) == {"0.i", "0.f", "0.o"}
    assert (first / "samples" / "12.txt").exists()
    model = loading.load(first)
    assert (model.step, model.config.hidden) == (12, 16)

    result = loop.run(config(**{"train.steps": 14, "checkpoint.every": 7}), first)
    assert (result.ended, result.step) == ("finished", 14)
    assert "resuming from step 12 of 14" in capsys.readouterr().err
    assert workdir.read(first)["train"]["steps"] == 14

    with pytest.raises(InputError) as error:
        loop.run(config(**{"optimizer.b1": 0.8, "data.window": 4, "train.steps": 20}), first)
    assert "data.window was 8 and is 4; optimizer.b1 was 0.9 and is 0.8" in str(error.value)
    assert "train.steps was" not in str(error.value)

    with pytest.raises(InputError, match=r"model\.hidden is 16 there, 8 here"):
        loop.run(config(**{"model.hidden": 8}), tmp_path / "b", init_from=str(first))
    still = {"optimizer.name": "sgd", "optimizer.learning_rate": 1e-30, "train.steps": 1}
    again = loop.run(config(**still), tmp_path / "c", init_from=str(first))
    assert again.bits_per_byte == pytest.approx(result.bits_per_byte, rel=1e-6)
    assert workdir.read(tmp_path / "c")["init_from"] == str(first)

    # The text has changed behind the config's back.
    record = workdir.read(first)
    record["data"]["digest"] = "another"
    (first / "config.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="begun on another text"):
        loop.run(config(**{"train.steps": 20}), first)


def test_a_nonfinite_step_stops_the_run_and_is_never_saved(tmp_path, config, capsys, monkeypatch):
    spoil(monkeypatch, 6, put_nan)
    result = loop.run(config(), tmp_path)
    assert (result.ended, result.saved) == ("not finite", False)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["5"]
    assert "not finite at step 6: stopped" in capsys.readouterr().err


def test_a_nonfinite_step_is_skipped_where_the_config_says_so(
    tmp_path, config, capsys, monkeypatch
):
    spoil(monkeypatch, 6, put_nan)
    result = loop.run(config(**{"train.on_nonfinite": "skip"}), tmp_path)
    assert (result.ended, result.step) == ("finished", 12)
    assert [r["skipped"] for r in lines(tmp_path) if r["kind"] == "train"] == [0, 1, 1]
    assert "not finite at step 6: such steps are skipped" in capsys.readouterr().err


def test_training_goes_on_when_the_disk_is_full_and_later_saves_succeed(
    tmp_path, config, capsys, monkeypatch
):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    place, calls = Setup.place, []

    def limited(self, batch):
        if len(calls) in (3, 8):
            resource.setrlimit(resource.RLIMIT_FSIZE, (512 if len(calls) == 3 else soft, hard))
        calls.append(1)
        return place(self, batch)

    monkeypatch.setattr(Setup, "place", limited)
    try:
        result = loop.run(config(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (result.ended, result.saved) == ("finished", True)
    assert "checkpoint of step 5 was NOT saved" in capsys.readouterr().err
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [10, 12]


def test_validation_that_gets_no_better_stops_the_run_early_and_for_good(
    tmp_path, config, monkeypatch
):
    scores = iter([2.0, 1.0, 1.5, 1.25, 0.5])
    monkeypatch.setattr(Validation, "bits_per_byte", lambda *_: next(scores))
    patient = config(**{"train.validate_every": 2, "train.patience": 2})
    result = loop.run(patient, tmp_path)
    assert (result.ended, result.step) == ("early", 8)
    assert "4" in {p.name for p in (tmp_path / "checkpoints").iterdir()}  # the best
    again = loop.run(patient, tmp_path)
    assert (again.ended, again.step) == ("early", 8)
    assert loading.load(tmp_path).step == 4


def test_a_second_process_is_kept_out_of_a_workdir(tmp_path, config):
    with workdir.locked(tmp_path), pytest.raises(InputError, match="another process is training"):
        loop.run(config(), tmp_path)


def test_a_folder_that_holds_something_else_is_not_trained_in(tmp_path, config):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"not empty and not a run \(it holds thesis.tex\)"):
        loop.run(config(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("place", ["file", "/proc/nothing"])
def test_a_workdir_that_cannot_be_written_is_one_line(tmp_path, config, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        loop.run(config(), tmp_path / place)


def test_a_corrupt_config_json_is_named(tmp_path):
    with pytest.raises(InputError, match=r"is not a run: no config\.json"):
        workdir.read(tmp_path)
    (tmp_path / "config.json").write_text('{"format_version": 1, "mod')
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        workdir.read(tmp_path)
    (tmp_path / "config.json").write_text('{"format_version": 7}')
    with pytest.raises(InputError, match="format_version 7; this version reads 1"):
        workdir.read(tmp_path)


def test_a_text_shorter_than_one_window_is_one_line(tmp_path, config):
    short = tmp_path / "short.txt"
    short.write_text("short " * 5)
    with pytest.raises(InputError, match="train split has"):
        loop.run(config(**{"data.source": str(short), "data.folder": ""}), tmp_path / "run")
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
