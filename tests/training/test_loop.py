"""The run from begin to end: what it writes, how it ends, what it refuses."""

import json
import math
import os
import resource
import shutil
import signal

import numpy as np
import pytest

from mlstm import checkpoint, loading
from mlstm.errors import InputError
from mlstm.runs import read_config
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


def without_rates(folder):
    return [
        {name: value for name, value in line.items() if name != "bytes_per_second"}
        for line in lines(folder)
    ]


def saved(folder, step):
    """What the checkpoint of a step says of its arrays, and of the run."""
    return json.loads((folder / "checkpoints" / str(step) / "metadata" / "metadata").read_text())


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
    assert read_config(first)["train"]["steps"] == 14

    with pytest.raises(InputError) as error:
        loop.run(config(**{"optimizer.b1": 0.8, "data.window": 4, "train.steps": 20}), first)
    assert "data.window was 8 and is 4; optimizer.b1 was 0.9 and is 0.8" in str(error.value)
    assert "train.steps was" not in str(error.value)

    with pytest.raises(InputError, match=r"model\.hidden is 16 there, 8 here"):
        loop.run(config(**{"model.hidden": 8}), tmp_path / "b", init_from=str(first))
    still = {"optimizer.name": "sgd", "optimizer.learning_rate": 1e-30, "train.steps": 1}
    still |= {"model.keep": "states", "model.output_dropout": 0.1}  # no array depends on these
    again = loop.run(config(**still), tmp_path / "c", init_from=str(first))
    assert again.bits_per_byte == pytest.approx(result.bits_per_byte, rel=1e-6)
    assert read_config(tmp_path / "c")["init_from"] == str(first.resolve())

    # The text has changed behind the config's back.
    record = read_config(first)
    for damage, message in (
        (record["data"] | {"digest": "another"}, "begun on another text"),
        (None, 'has no section "data"'),
    ):
        (first / "config.json").write_text(json.dumps(record | {"data": damage}))
        with pytest.raises(InputError, match=message):
            loop.run(config(**{"train.steps": 20}), first)

    # A run that cannot go on keeps all that it has.
    (first / "config.json").write_text(json.dumps(record))
    for file in (first / "checkpoints").glob("*/metadata/metadata"):
        file.write_text("{}")
    before = sorted(first.rglob("*"))
    for _ in range(2):
        with pytest.raises(InputError, match="every checkpoint is damaged"):
            loop.run(config(**{"train.steps": 20}), first)
    assert sorted(first.rglob("*")) == before
    assert read_config(first) == record


def test_a_run_in_the_home_folder_without_validation_goes_on_when_its_text_has_moved(
    tmp_path, config, text, capsys, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copy(text, tmp_path / "text.txt")
    plain = {"data.source": "~/text.txt", "data.folder": "~/corpus", "data.splits": "1,0,0",
             "train.steps": 2, "train.validate_every": 1, "train.patience": 1,
             "train.validation_batch": 0}  # fmt: skip
    (tmp_path / "first" / ".corpus.left_by_a_kill.partial").mkdir(parents=True)
    result = loop.run(config(**plain), "~/first")
    assert (result.ended, result.bits_per_byte, result.saved) == ("finished", None, True)
    assert "the text has no validation split" in capsys.readouterr().err
    assert [line["kind"] for line in lines(tmp_path / "first")] == ["train"]

    loop.run(config(**plain), "~/second", init_from="~/first")
    (tmp_path / "moved").mkdir()
    (tmp_path / "text.txt").rename(tmp_path / "moved" / "text.txt")
    moved = {"data.source": str(tmp_path / "moved" / "text.txt"), "data.folder": "",
             "train.steps": 3}  # fmt: skip
    result = loop.run(config(**plain | moved), tmp_path / "second", init_from="first/")
    assert (result.ended, result.step) == ("finished", 3)
    with pytest.raises(InputError, match="was begun from"):
        loop.run(config(**plain | moved), "second", init_from="other")
    with pytest.raises(InputError, match="nobody's home"):
        loop.run(config(**plain), "~nosuch/run")
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", "first", "moved", "second"}


def test_a_nonfinite_step_stops_the_run_and_is_never_saved(tmp_path, config, capsys, monkeypatch):
    spoil(monkeypatch, 6, put_nan)
    result = loop.run(config(), tmp_path)
    assert (result.ended, result.saved, result.bad_step) == ("not finite", False, 7)
    assert "not finite at step 7" in str(result)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["5"]
    assert "not finite at step 7: stopped" in capsys.readouterr().err


def test_a_nonfinite_step_is_skipped_where_the_config_says_so_and_forgotten_on_resuming(
    tmp_path, config, capsys, monkeypatch
):
    spoil(monkeypatch, 6, put_nan)
    each = {"log.every": 1}
    result = loop.run(config(**each, **{"train.on_nonfinite": "skip"}), tmp_path)
    assert (result.ended, result.step) == ("finished", 12)
    trained = [r for r in lines(tmp_path) if r["kind"] == "train"]
    assert [r["skipped"] for r in trained] == [0] * 6 + [1] * 6
    assert [r["step"] for r in trained if r["bits_per_byte"] is None] == [7]
    assert "not finite at step 7: such steps are skipped" in capsys.readouterr().err
    before = saved(tmp_path, 12)["body"]["leaves"]

    result = loop.run(config(**each, **{"train.steps": 14}), tmp_path)
    assert (result.ended, result.step, result.bad_step) == ("finished", 14, None)
    after = saved(tmp_path, 14)["body"]["leaves"]
    assert before["parameters/readout/w"] != after["parameters/readout/w"]


def test_training_goes_on_when_the_disk_is_full_and_later_saves_succeed(
    tmp_path, config, capsys, monkeypatch
):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    place, say, calls = Setup.place, checkpoint.say, []

    def limited(self, batch):
        if len(calls) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
        calls.append(1)
        return place(self, batch)

    def said(line):
        if "NOT saved" in line:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        say(line)

    monkeypatch.setattr(Setup, "place", limited)
    monkeypatch.setattr(checkpoint, "say", said)
    try:
        result = loop.run(config(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (result.ended, result.saved) == ("finished", True)
    assert "checkpoint of step 5 was NOT saved" in capsys.readouterr().err
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [10, 12]


def test_a_run_resumed_on_a_full_disk_goes_on_and_its_log_has_no_step_twice(
    tmp_path, config, capsys, monkeypatch
):
    loop.run(config(**{"train.steps": 8, "log.every": 1}), tmp_path)
    # Lines that are beyond the state it resumes from.
    shutil.rmtree(tmp_path / "checkpoints" / "8")
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    place, calls = Setup.place, []

    def freed(self, batch):
        calls.append(1)
        if len(calls) == 3:  # room again, in the middle of the run
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return place(self, batch)

    monkeypatch.setattr(Setup, "place", freed)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        result = loop.run(config(**{"log.every": 1}), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (result.ended, result.step, result.saved) == ("finished", 12, True)
    said = capsys.readouterr().err
    assert "resuming from step 5" in said
    assert "the run goes on with the one it had" in said
    assert "metrics cannot be written" in said
    steps = [line["step"] for line in lines(tmp_path) if line["kind"] == "train"]
    assert steps == sorted(set(steps))
    assert {8, 9, 10, 11, 12} <= set(steps)


def test_validation_that_gets_no_better_stops_the_run_early_and_for_good(
    tmp_path, config, monkeypatch
):
    scores = iter([math.nan, 1.0, 1.5, math.nan, 0.5])  # what is no number is never the best
    monkeypatch.setattr(Validation, "bits_per_byte", lambda *_: np.array(next(scores)))
    patient = config(**{"train.validate_every": 2, "train.patience": 2})
    result = loop.run(patient, tmp_path)
    assert (result.ended, result.step, result.bits_per_byte) == ("early", 8, None)
    found = [r["bits_per_byte"] for r in lines(tmp_path) if r["kind"] == "validation"]
    assert found == [None, 1.0, 1.5, None]
    assert "4" in {p.name for p in (tmp_path / "checkpoints").iterdir()}  # the best
    again = loop.run(patient, tmp_path)
    assert (again.ended, again.step) == ("early", 8)
    assert loading.load(tmp_path).step == 4


def test_who_stops_a_run_does_not_wait_for_its_validation_which_is_made_up_for(
    tmp_path, config, monkeypatch
):
    often = config(**{"train.validate_every": 4, "log.samples": 1, "log.sample_bytes": 2})
    want = loop.run(often, tmp_path / "untouched")
    # In the validation of step 4, in the one that makes up for it, and in that of the last step.
    stops, polled = iter([True, True, False, False, True, False]), []
    validate = Validation.bits_per_byte

    def told(self, parameters, asked):
        stop = next(stops)

        def poll():
            polled.append(stop)
            if stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return asked()

        return validate(self, parameters, poll)

    monkeypatch.setattr(Validation, "bits_per_byte", told)
    for step in (4, 4, 12):
        result = loop.run(often, tmp_path / "told")
        assert (result.ended, result.step, result.saved) == ("interrupted", step, True)
        assert saved(tmp_path / "told", step)["body"]["validation"] is None
    assert polled.count(True) == 3  # a window each, of many
    result = loop.run(often, tmp_path / "told")
    assert (result.ended, result.step) == ("finished", 12)
    assert result.bits_per_byte == want.bits_per_byte
    assert saved(tmp_path / "told", 12) == saved(tmp_path / "untouched", 12)
    assert without_rates(tmp_path / "told") == without_rates(tmp_path / "untouched")
    assert loading.load(tmp_path / "told").step == loading.load(tmp_path / "untouched").step


def test_a_run_that_changes_its_mesh_twice_reads_the_same_and_learns_the_same(tmp_path, config):
    def run(folder, steps, data, model):
        changes = {"optimizer.name": "muon", "optimizer.schedule": "constant", "log.every": 1,
                   "train.validation_batch": 3, "train.validate_every": 4, "train.steps": steps,
                   "mesh.data": data, "mesh.model": model}  # fmt: skip
        return loop.run(config(**changes), tmp_path / folder)

    want = run("one", 12, 1, 1)
    for steps, mesh in ((4, (1, 1)), (8, (4, 2)), (12, (1, 1))):
        result = run("three", steps, *mesh)
        assert (result.ended, result.step) == ("finished", steps)
    assert result.bits_per_byte == pytest.approx(want.bits_per_byte, rel=1e-5)
    # The validations too: the stream that 4 groups need beyond these 3 is empty.
    one, three = ([r["bits_per_byte"] for r in lines(tmp_path / n)] for n in ("one", "three"))
    assert len(one) == 15
    assert three == pytest.approx(one, rel=1e-5)
    for name in ("position/epoch", "position/window", "step", "key"):
        here, there = (saved(tmp_path / n, 12)["body"]["leaves"][name] for n in ("one", "three"))
        assert here == there


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


def test_a_text_shorter_than_one_window_is_one_line(tmp_path, config):
    short = tmp_path / "short.txt"
    short.write_text("short " * 5)
    with pytest.raises(InputError, match="train split has"):
        loop.run(config(**{"data.source": str(short), "data.folder": ""}), tmp_path / "run")
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
