"""Runs killed or told to stop, and begun again: they end with the bits of one that was not.

Each run is a process of its own. They share a cache of compiled programs, for speed alone.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

STEPS = 150
KILLED_BY = 90  # so that the last kill does not race the end of the run
LOG_EVERY = 3
FLAGS = [
    "--config=quickstart:tiny",
    f"--config.train.steps={STEPS}",
    "--config.train.validate_every=50",
    "--config.train.validation_batch=2",
    "--config.checkpoint.every=7",
    f"--config.log.every={LOG_EVERY}",
    "--config.log.samples=1",
    "--config.log.sample_bytes=3",
    "--config.model.output_dropout=0.1",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    # 32 windows of 4 x 16 bytes: the runs cross the borders of five epochs.
    text = np.random.default_rng(0).integers(97, 105, 2250).astype(np.uint8)
    (folder / "text.txt").write_bytes(text.tobytes())
    return folder


def start(place: Path, workdir: Path, *more: str) -> subprocess.Popen:
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(place / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    command = [sys.executable, "-m", "launch.train", *FLAGS, f"--workdir={workdir}"]
    command += [f"--config.data.source={place / 'text.txt'}"]
    command += [f"--config.data.folder={place / 'corpus'}", *more]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        env=os.environ | cache,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=120)
    return output


def when(process: subprocess.Popen, happens) -> bool:
    """Wait until it happens, or the process has ended; True if it happened."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if happens():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.0005)
    raise AssertionError("waited two minutes in vain")


def lines(workdir: Path) -> list[dict]:
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def logged(workdir: Path) -> list[dict]:
    """What was logged, but the rates, which no two runs share."""
    return [
        {key: value for key, value in line.items() if key != "bytes_per_second"}
        for line in lines(workdir)
    ]


def samples(workdir: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (workdir / "samples").iterdir()}


def final_bits(workdir: Path, step: int = STEPS) -> dict:
    """Type, shape and digest of every array of the last checkpoint, verified when it was saved."""
    path = workdir / "checkpoints" / str(step) / "metadata" / "metadata"
    return json.loads(path.read_text())["body"]


@pytest.fixture(scope="module")
def untouched(place):
    """A run that nothing happened to."""
    process = start(place, place / "untouched")
    output = finish(process)
    assert process.returncode == 0, output
    return place / "untouched"


def test_a_run_killed_at_five_random_moments_ends_bitwise_as_one_never_killed(place, untouched):
    workdir, chance, kills = place / "killed", random.Random(17), 0
    saving = workdir / "checkpoints"

    def in_a_save() -> bool:
        return saving.is_dir() and any("tmp" in path.name for path in saving.iterdir())

    for number in range(5):
        process = start(place, workdir)
        target = KILLED_BY * (number + 1) // 5 - chance.randrange(10)

        def reached(target=target) -> bool:
            found = lines(workdir)
            return bool(found) and found[-1]["step"] >= target

        assert when(process, reached), finish(process)
        if number % 2:
            assert when(process, in_a_save), finish(process)
        else:
            time.sleep(chance.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        finish(process)
        kills += process.returncode == -signal.SIGKILL
    process = start(place, workdir)
    output = finish(process)
    assert process.returncode == 0, output
    assert "resuming from step" in output
    assert kills == 5
    assert final_bits(workdir) == final_bits(untouched)
    assert logged(workdir) == logged(untouched)
    steps = [line["step"] for line in lines(workdir) if line["kind"] == "train"]
    assert steps == list(range(LOG_EVERY, STEPS + 1, LOG_EVERY))
    assert samples(workdir) == samples(untouched)
    assert len(samples(workdir)) == 3


@pytest.mark.slow
def test_a_population_killed_once_ends_bitwise_as_one_never_killed(place):
    steps = 80  # so that the kill does not race the end of the run
    several = ["--config.seeds=2", f"--config.train.steps={steps}"]
    several += ["--config.train.validate_every=20"]
    workdir = place / "population"
    process = start(place, workdir, *several)
    assert when(process, lambda: bool(lines(workdir)) and lines(workdir)[-1]["step"] >= 24)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert process.returncode == -signal.SIGKILL
    for folder, resumed in ((workdir, True), (place / "population untouched", False)):
        process = start(place, folder, *several)
        output = finish(process)
        assert process.returncode == 0, output
        assert ("resuming from step" in output) == resumed
    assert final_bits(workdir, steps) == final_bits(place / "population untouched", steps)
    assert logged(workdir) == logged(place / "population untouched")


def test_a_run_killed_while_its_text_was_prepared_begins_again_in_the_same_folder(tmp_path):
    workdir, text = tmp_path / "run", tmp_path / "text.txt"
    text.write_bytes(b"abcdefgh" * (4 << 20))
    more = ["--config.train.steps=2", "--config.optimizer.warmup=0", "--config.data.splits=1,0,0"]
    more += [f"--config.data.source={text}", "--config.data.folder="]
    process = start(tmp_path, workdir, *more)
    assert when(process, lambda: any(workdir.glob(".corpus.*.partial"))), finish(process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert not (workdir / "config.json").exists()
    assert any(workdir.glob(".corpus.*.partial"))
    process = start(tmp_path, workdir, *more)
    output = finish(process)
    assert process.returncode == 0, output
    assert not any(workdir.glob(".corpus.*.partial"))


def test_sigterm_and_ctrl_c_save_exit_with_42_and_resume_bitwise(place, untouched):
    workdir = place / "told"
    for number, target in ((signal.SIGTERM, 20), (signal.SIGINT, 80)):
        process = start(place, workdir)

        def reached(target=target) -> bool:
            found = lines(workdir)
            return bool(found) and found[-1]["step"] >= target

        assert when(process, reached)
        process.send_signal(number)
        output = finish(process)
        assert process.returncode == 42, output
        assert "saving, then stopping" in output
        assert "the same command goes on from here" in output
        assert "Traceback" not in output
        newest = max(int(p.name) for p in (workdir / "checkpoints").iterdir())
        assert target <= newest < STEPS
    process = start(place, workdir)
    output = finish(process)
    assert process.returncode == 0, output
    assert final_bits(workdir) == final_bits(untouched)
    assert logged(workdir) == logged(untouched)
