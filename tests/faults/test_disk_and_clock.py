"""A disk that fills up, a clock that goes back, a text that changes: what a run makes of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

REPOSITORY = Path(__file__).parents[2]
FLAGS = [
    "--config=quickstart:tiny", "--config.data.batch=4", "--config.data.window=8",
    "--config.train.validate_every=0", "--config.train.validation_batch=2",
    "--config.checkpoint.every=20", "--config.checkpoint.log_spaced=False",
    "--config.checkpoint.newest=2", "--config.log.every=5", "--config.log.samples=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    text = np.random.default_rng(0).integers(97, 105, 4000).astype(np.uint8)
    (folder / "text.txt").write_bytes(text.tobytes())
    return folder


def start(place, workdir, *more, **environ):
    ours = {
        "JAX_COMPILATION_CACHE_DIR": str(place / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "launch.train", *FLAGS, f"--workdir={workdir}"]
    command += [f"--config.data.source={place / 'text.txt'}"]
    command += [f"--config.data.folder={place / 'corpus'}", *more]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | ours | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines(workdir):
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def final(workdir):
    newest = max(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal())
    path = workdir / "checkpoints" / str(newest) / "metadata" / "metadata"
    return json.loads(path.read_text())["body"]


@pytest.fixture(scope="module")
def untouched(place):
    """A run of 200 steps that nothing happened to."""
    process = start(place, place / "untouched", "--config.train.steps=200")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return place / "untouched"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if not done or done.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_disk_full_for_a_while_costs_checkpoints_and_lines_but_not_the_run(place, small_disk):
    workdir, ballast = small_disk / "run", small_disk / "ballast"
    process = start(place, workdir, "--config.train.steps=20000")
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("step 40/"):
                with ballast.open("wb", buffering=0) as file:
                    try:
                        while True:
                            file.write(bytes(1 << 16))
                    except OSError:
                        pass
            text = "".join(said)
            if ballast.exists() and "NOT saved" in text and "metrics cannot be written" in text:
                full = int(line.split("/")[0].split()[-1]) if line.startswith("step ") else None
                if full is None:
                    continue
                ballast.unlink()
                break
        assert not ballast.exists(), "".join(said)
        for line in process.stdout:
            said.append(line)
            if line.startswith(f"step {full + 100}/"):
                process.send_signal(signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
    text = "".join(said)
    assert "Traceback" not in text, text
    assert "No space left on device" in text or "ENOSPC" in text
    steps = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal())
    assert steps[-1] > full
    events = EventAccumulator(str(workdir / "tensorboard")).Reload().Scalars("train/bits_per_byte")
    assert max(event.step for event in events) > full  # in a file of its own
    again = start(place, workdir, "--config.train.steps=40")
    finished, _ = again.communicate(timeout=120)
    assert again.returncode == 0, finished
    assert f"at step {steps[-1]} of 40" in finished  # restored, and so verified


def test_a_clock_set_back_an_hour_changes_nothing_that_is_trained(place, untouched, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "real, began = time.time, time.monotonic()\n"
        "time.time = lambda: real() - 3600 * (time.monotonic() - began > 4)\n"
    )
    workdir = tmp_path / "run"
    process = start(place, workdir, "--config.train.steps=200", PYTHONPATH=str(tmp_path))
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert final(workdir) == final(untouched)
    stamps = [p.stat().st_mtime for p in (workdir / "tensorboard").iterdir()]
    assert abs(time.time() - stamps[0]) < 3600
    of_runs = [
        [{k: v for k, v in line.items() if k != "bytes_per_second"} for line in lines(run)]
        for run in (workdir, untouched)
    ]
    assert of_runs[0] == of_runs[1]


def test_a_text_of_which_a_byte_changed_between_two_starts_is_refused(place, untouched, tmp_path):
    workdir, corpus = tmp_path / "run", tmp_path / "corpus"
    shutil.copytree(place / "corpus", corpus)
    source = [f"--config.data.source={corpus}", "--config.data.folder="]
    process = start(place, workdir, *source, "--config.train.steps=20")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    shard = corpus / "train-00000.bin"
    before, times = shard.read_bytes(), shard.stat()
    shard.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had happened
    process = start(place, workdir, *source, "--config.train.steps=40")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert f"{shard} was changed" in said
    assert "Traceback" not in said
    shard.write_bytes(before)
    process = start(place, workdir, *source, "--config.train.steps=40")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
