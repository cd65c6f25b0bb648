"""Runs of two processes with four devices each: begun, stopped, killed, moved, refused."""

import importlib.util
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

READS = Path(__file__).with_name("reads.py")
STEPS = 24
FLAGS = [
    "--config=quickstart:tiny", f"--config.train.steps={STEPS}", "--config.data.batch=8",
    "--config.data.window=4", "--config.mesh.data=4", "--config.mesh.model=2",
    "--config.train.validate_every=8", "--config.train.validation_batch=3",
    "--config.train.validation_window=8", "--config.checkpoint.every=6",
    "--config.checkpoint.log_spaced=False", "--config.log.every=2", "--config.log.samples=1",
    "--config.log.sample_bytes=3", "--config.model.output_dropout=0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    text = np.random.default_rng(0).integers(97, 105, 500).astype(np.uint8)
    (folder / "text.txt").write_bytes(text.tobytes())
    return folder


def command(place, workdir, *more):
    data = [f"--config.data.source={place / 'text.txt'}"]
    data += [f"--config.data.folder={place / 'corpus'}", f"--workdir={workdir}"]
    return ["-m", "launch.train", *FLAGS, *data, *more]


def lines(workdir):
    path = workdir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def logged(workdir):
    return [{k: v for k, v in line.items() if k != "bytes_per_second"} for line in lines(workdir)]


def final(workdir, step=STEPS):
    path = workdir / "checkpoints" / str(step) / "metadata" / "metadata"
    return json.loads(path.read_text())["body"]


def wait_for(workdir, job, step):
    until = time.monotonic() + 120
    while not any(line["step"] >= step for line in lines(workdir)):
        assert all(process.poll() is None for process in job)
        assert time.monotonic() < until
        time.sleep(0.05)


def codes(job):
    return [process.returncode for process in job]


def test_a_job_told_to_stop_or_robbed_of_a_process_goes_on_to_the_same_bits(place, start, finish):
    whole, hurt = place / "whole", place / "hurt"
    job = start(command(place, whole), 2, 4)
    said = finish(job)
    assert codes(job) == [0, 0], said
    assert "process 0 of 2" in said[0]
    assert "process 1 of 2" in said[1]
    assert "mesh 4 x 2 of 8 in 2 processes (cpu), 2 of 8 streams on each" in said[0]
    assert str(whole) not in said[1]  # one of them writes

    job = start(command(place, hurt), 2, 4)
    wait_for(hurt, job, 4)
    job[1].send_signal(signal.SIGTERM)  # to one of them
    said = finish(job)
    assert codes(job) == [42, 42], said
    assert "interrupted; the same command goes on from here" in said[0]
    stopped = max(int(path.name) for path in (hurt / "checkpoints").iterdir())
    assert 4 <= stopped < STEPS

    job = start(command(place, hurt), 2, 4)
    wait_for(hurt, job, stopped + 4)
    job[1].send_signal(signal.SIGKILL)
    finish(job)  # the other does not wait for it for ever
    assert codes(job) == [-signal.SIGABRT, -signal.SIGKILL]

    job = start(command(place, hurt), 2, 4)
    said = finish(job)
    assert codes(job) == [0, 0], said
    assert "resuming from step" in said[0]
    assert final(hurt) == final(whole)
    assert logged(hurt) == logged(whole)


def test_a_process_that_is_stopped_is_missed_by_the_other(place, start):
    job = start(command(place, place / "stopped", "--config.train.steps=4000"), 2, 4)
    wait_for(place / "stopped", job, 4)
    job[1].send_signal(signal.SIGSTOP)
    assert job[0].wait(timeout=90) == -signal.SIGABRT


def test_what_is_wrong_for_one_process_ends_all_with_one_line(place, start, finish):
    for more, wrong in [
        (["--config.mesh.data=2"], "config.mesh 2 x 2 takes 4 of the 8 devices of 2 processes"),
        ([f"--config.data.source={place / 'nowhere.txt'}"], "no such file or folder"),
    ]:
        job = start(command(place, place / "refused", *more), 2, 4)
        said = finish(job)
        assert codes(job) == [2, 2], said
        for text in said:
            assert wrong in text
            assert "Traceback" not in text


@pytest.mark.slow
def test_a_second_job_in_the_same_folder_is_refused_while_the_first_runs(place, start, finish):
    first = start(command(place, place / "taken", "--config.train.steps=4000"), 2, 4)
    wait_for(place / "taken", first, 8)
    second = start(command(place, place / "taken"), 2, 4)
    said = finish(second)
    assert codes(second) == [2, 2], said
    assert all("another process is training in it" in text for text in said)
    for process in first:
        process.send_signal(signal.SIGKILL)
    finish(first)
    checkpoints = place / "taken" / "checkpoints"
    saved = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdecimal())
    third = start(command(place, place / "taken", f"--config.train.steps={saved + 2}"), 2, 4)
    said = finish(third)
    assert codes(third) == [0, 0], said  # the lock fell with its process
    assert f"resuming from step {saved}" in said[0]


def bits(workdir):
    """Bits per byte of every step."""
    return [line["bits_per_byte"] for line in lines(workdir) if line["kind"] == "train"]


def reads_of(text, workdir, steps, mesh):
    specification = importlib.util.spec_from_file_location("reads", READS)
    module = importlib.util.module_from_spec(specification)
    sys.modules["reads"] = module
    specification.loader.exec_module(module)
    return module.run(str(text), str(workdir), steps, mesh)


@pytest.mark.slow
def test_a_run_moved_over_meshes_and_processes_reads_every_byte_once(place, start, finish):
    moved, still = place / "moved", place / "still"
    text = place / "text.txt"
    legs = [(5, "8x1", 1), (10, "2x2", 1), (15, "2x1", 1), (20, "1x1", 1), (25, "4x2", 2),
            (30, "1x8", 2), (36, "8x1", 1)]  # fmt: skip
    for steps, mesh, processes in legs:
        if processes == 1:
            reads_of(text, moved, steps, mesh)
            continue
        job = start([str(READS), str(text), str(moved), str(steps), mesh], processes, 4)
        said = finish(job)
        assert codes(job) == [0] * processes, said
    want = reads_of(text, still, 36, "8x1")
    read = Counter()
    for log in place.glob("moved-reads-*.jsonl"):
        for line in log.read_text().splitlines():
            epoch, window, first, behind = json.loads(line)
            read.update((epoch, window, row) for row in range(first, behind))
    windows = 14  # of 450 bytes in 8 streams
    everything = {(step // windows, step % windows, row) for step in range(36) for row in range(8)}
    # With the units split over both processes each of them reads the whole batch.
    twice = {(step // windows, step % windows, row) for step in range(25, 30) for row in range(8)}
    assert set(read) == everything
    assert {key for key, times in read.items() if times != 1} == twice
    assert {read[key] for key in twice} == {2}
    assert bits(moved) == pytest.approx(bits(still), rel=1e-5)
    assert len(bits(still)) == want.step == 36
