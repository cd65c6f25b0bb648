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

STEPS = 60
FLAGS = [
    "--config=quickstart:tiny",
    f"--config.train.steps={STEPS}",
    "--config.train.validate_every=20",
    "--config.train.validation_batch=2",
    "--config.checkpoint.every=7",
    "--config.log.every=1",
    "--config.log.samples=0",
    "--config.log.gate_saturation=False",
    "--config.model.output_dropout=0.1",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    text = np.random.default_rng(0).integers(97, 105, 20_000).astype(np.uint8)
    (folder / "text.txt").write_bytes(text.tobytes())
    return folder


def start(place: Path, workdir: Path, *more: str) -> subprocess.Popen:
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(place / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": "",
    }
    command = [sys.executable, "-m", "launch.train", *FLAGS, *more]
    command += [f"--config.data.source={place / 'text.txt'}", f"--workdir={workdir}"]
    command += [f"--config.data.folder={place / 'corpus'}"]
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


def final_bits(workdir: Path) -> dict:
    """Type, shape and digest of every array of the last checkpoint, verified when it was saved."""
    path = workdir / "checkpoints" / str(STEPS) / "metadata" / "metadata"
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
        target = STEPS * (number + 1) // 7 + chance.randrange(6)

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
    assert steps == list(range(1, STEPS + 1))


def test_sigterm_and_ctrl_c_save_exit_with_42_and_resume_bitwise(place, untouched):
    workdir = place / "told"
    for number, target in ((signal.SIGTERM, 10), (signal.SIGINT, 30)):
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
        assert newest == lines(workdir)[-1]["step"]
    process = start(place, workdir)
    output = finish(process)
    assert process.returncode == 0, output
    assert final_bits(workdir) == final_bits(untouched)
    assert logged(workdir) == logged(untouched)
