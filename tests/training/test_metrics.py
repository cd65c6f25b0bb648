"""What a run writes about itself, and that a resumed one says nothing twice."""

import io
import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mlstm.training.metrics import Metrics, cut

VALUES = {"bits_per_byte": 2.5, "bytes_per_second": 125_000.0, "skipped": 0}


def write(folder, steps, start=0, terminal=None):
    metrics = Metrics(folder, start, 100, terminal=terminal or io.StringIO())
    for step in steps:
        metrics.train(step, VALUES | {"bits_per_byte": float(step)}, {"0.f": (0.25, 0.5)}, 3671)
    metrics.validation(steps[-1], 2.25, True)
    metrics.samples(steps[-1], [b"one \xff", b"two"])
    metrics.close()


def test_a_resumed_run_has_no_step_twice(tmp_path):
    write(tmp_path, [10, 20, 30])
    write(tmp_path, [20, 30, 40], start=15)
    found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in found if line["kind"] == "train"] == [10, 20, 30, 40]
    assert [line["step"] for line in found if line["kind"] == "validation"] == [40]


def test_what_is_no_line_of_a_log_is_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    good = '{"step": 1, "kind": "train"}\n{"step": 2, "kind": "train"}\n'
    path.write_bytes(good.encode() + b'[]\n3\n{"step": "4", "kind": "x"}\n{}\n\xff\n{"ste')
    cut(path, 5)
    assert path.read_text() == good


def test_a_validation_that_the_restored_state_does_not_know_of_is_cut(tmp_path):
    write(tmp_path, [10, 20])
    cut(tmp_path / "metrics.jsonl", 20, validated=10)
    found = (tmp_path / "metrics.jsonl").read_text()
    assert '"step": 20' in found
    assert "validation" not in found


def test_what_is_no_number_is_null(tmp_path):
    terminal = io.StringIO()
    metrics = Metrics(tmp_path, 0, 100, terminal=terminal)
    nan = float("nan")
    metrics.train(1, {"bits_per_byte": nan, "bytes_per_second": 1.0}, {"0.f": (nan, 0.5)}, 1)
    metrics.validation(1, float("inf"), False)
    metrics.close()
    train, validation = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (train["bits_per_byte"], train["gates"]) == (None, {"0.f": [None, 0.5]})
    assert validation["bits_per_byte"] is None
    assert "step 1/100  no bits/byte" in terminal.getvalue()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/bytes_per_second", "gates/0.f above 0.9"}


def test_of_a_population_every_seed_is_written_and_the_range_shown(tmp_path):
    terminal = io.StringIO()
    metrics = Metrics(tmp_path, 0, 100, terminal=terminal)
    of_seeds = {3: 2.0, 4: 3.0, 5: float("nan")}
    metrics.train(10, VALUES, {}, 1, of_seeds)
    metrics.validation(10, 2.5, True, of_seeds)
    metrics.close()
    for line in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines()):
        assert (line["bits_per_byte"], line["bits_per_byte_of_seeds"]) == (2.5, [2.0, 3.0, None])
    assert "2.500 bits/byte (2.000 to 3.000)" in terminal.getvalue()
    assert "validation 2.5000 bits/byte (2.000 to 3.000)  (best)" in terminal.getvalue()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {f"{kind}/bits_per_byte of seed {seed}" for kind in ("train", "validation")
            for seed in (3, 4)} <= tags  # fmt: skip


class Gone(io.StringIO):
    def write(self, _):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("terminal", [Gone(), None])
def test_a_terminal_that_cannot_be_written_costs_nothing_else(tmp_path, monkeypatch, terminal):
    monkeypatch.setattr("sys.stderr", terminal)
    metrics = Metrics(tmp_path, 0, 100)
    metrics.say("hello")
    metrics.train(1, VALUES, {}, 1)
    metrics.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_tensorboard_reads_scalars_text_and_the_restart(tmp_path):
    write(tmp_path, [10, 20, 30])
    write(tmp_path, [20, 30], start=15)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("train/bits_per_byte")
    assert [s.step for s in scalars] == [10, 20, 30]
    assert events.Scalars("gates/0.f below 0.1")[0].value == 0.25
    assert events.Scalars("validation/bits_per_byte")[-1].value == 2.25
    text = events.Tensors("samples")[-1].tensor_proto.string_val
    assert b"two" in text[1]


def test_the_progress_line_has_rate_and_time_left(tmp_path):
    terminal = io.StringIO()
    write(tmp_path, [10], terminal=terminal)
    first = terminal.getvalue().splitlines()[0]
    assert first == "step 10/100  10.000 bits/byte  125.0 kB/s  1:01:11 left"


def test_on_a_terminal_the_progress_line_is_rewritten_in_place(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    write(tmp_path, [10, 20], terminal=terminal)
    shown = terminal.getvalue()
    assert shown.count("\r\x1b[K") == 2
    assert shown.index("\n") > shown.index("step 20")


def test_samples_are_a_file_of_their_own(tmp_path):
    write(tmp_path, [10])
    assert "two" in (tmp_path / "samples" / "10.txt").read_text()


@pytest.mark.parametrize("broken", ["_lines", "_events"])
def test_a_disk_that_fails_is_said_once_and_costs_lines_only(tmp_path, broken):
    terminal = io.StringIO()
    metrics = Metrics(tmp_path, 0, 100, terminal=terminal)

    class Full:
        def fail(self, *_, **__):
            raise OSError(28, "No space left on device")

        write = add = close = fail

    getattr(metrics, broken).close()
    setattr(metrics, broken, Full())
    for step in (1, 2):
        metrics.train(step, VALUES, {}, 1)
    metrics.close()
    assert terminal.getvalue().count("metrics cannot be written") == 1
