"""A hundred kills at random instants of runs of one process and of two: nothing is lost beyond the
last checkpoint, and what they end with has the bits of a run never killed.

The counts are printed as a table: pytest -m "" tests/faults/test_kills.py -s
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

FLAGS = [
    "--config=quickstart:tiny", "--config.data.batch=4", "--config.data.window=4",
    "--config.train.validate_every=40", "--config.train.validation_batch=2",
    "--config.train.validation_window=8", "--config.checkpoint.every=3",
    "--config.log.every=1", "--config.log.samples=0", "--config.log.gate_saturation=False",
    "--config.model.output_dropout=0.1", "--config.optimizer.schedule=constant",
]  # fmt: skip


class Job:
    """A run of some processes, each with two devices of a CPU."""

    def __init__(self, folder: Path, workdir: Path, processes: int, steps: int):
        self.workdir = workdir
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        flags = [f"--config.data.source={folder / 'text.txt'}", f"--workdir={workdir}"]
        flags += [f"--config.data.folder={folder / 'corpus'}", f"--config.train.steps={steps}"]
        flags += [f"--config.mesh.data={2 * processes}"]
        ours = {
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2 "
            "--xla_backend_optimization_level=0",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        place = [f"--coordinator=127.0.0.1:{port}", f"--num_processes={processes}"]
        place += ["--heartbeat=5", "--start_timeout=60"]
        self.logs = [workdir.with_name(f"{workdir.name}-{i}.log") for i in range(processes)]
        self.processes = []
        for process, log in enumerate(self.logs):
            of_job = [*place, f"--process_id={process}"] if processes > 1 else []
            with log.open("w") as output:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "launch.train", *FLAGS, *flags, *of_job],
                        cwd=Path(__file__).parents[2],
                        env=os.environ | ours,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )

    def running(self) -> bool:
        return all(process.poll() is None for process in self.processes)

    def kill(self, which: list[int]) -> None:
        for process in which:
            self.processes[process].send_signal(signal.SIGKILL)

    def end(self) -> list[int]:
        return [process.wait(timeout=180) for process in self.processes]

    def said(self) -> str:
        return "\n".join(log.read_text(errors="replace") for log in self.logs)


def committed(workdir: Path) -> int:
    """The step of the newest whole checkpoint; 0 where there is none."""
    folder = workdir / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=0)


def saving(workdir: Path) -> bool:
    folder = workdir / "checkpoints"
    return folder.is_dir() and any("tmp" in path.name for path in folder.iterdir())


def resumed_from(said: str) -> int:
    found = [line for line in said.splitlines() if line.startswith("resuming from step ")]
    return int(found[0].split()[3]) if found else 0


def final(workdir: Path, step: int) -> dict:
    path = workdir / "checkpoints" / str(step) / "metadata" / "metadata"
    return json.loads(path.read_text())["body"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    text = np.random.default_rng(0).integers(97, 105, 1200).astype(np.uint8)
    (folder / "text.txt").write_bytes(text.tobytes())
    return folder


def killed_and_begun_again(folder: Path, processes: int, kills: int, steps: int) -> dict[str, int]:
    """How often it was killed, in a save, before its first step, and what was lost by it."""
    chance = random.Random(processes)
    workdir = folder / f"of-{processes}-killed-{kills}"
    table = {"kills": 0, "inside a save": 0, "before a step": 0, "checkpoints lost": 0}
    before = 0  # what the next start has to find
    while table["kills"] < kills:
        job = Job(folder, workdir, processes, steps)
        last = committed(workdir)
        aim = chance.choice(["save", "step", "start"])
        deadline = time.monotonic() + (chance.uniform(0.5, 4) if aim == "start" else 120)
        while job.running() and time.monotonic() < deadline:
            # Not before it has got on: else a run of many kills would never end.
            if aim == "save" and committed(workdir) > last and saving(workdir):
                time.sleep(chance.uniform(0, 0.03))
                break
            if aim == "step" and committed(workdir) > last:
                time.sleep(chance.uniform(0, 0.2))
                break
            time.sleep(0.001)
        if not job.running():
            break  # it is at its end already
        table["inside a save"] += saving(workdir)
        table["kills"] += 1
        which = chance.choice([[i] for i in range(processes)] + [list(range(processes))])
        job.kill(which)
        if chance.random() < 0.7:  # as a supervisor does; else the others notice by themselves
            job.kill([i for i in range(processes) if i not in which])
        job.end()
        said = job.said()
        table["before a step"] += "step " not in said.replace("resuming from step", "")
        if "resuming from" in said:
            table["checkpoints lost"] += resumed_from(said) < before
        before = committed(workdir)
    job = Job(folder, workdir, processes, steps)
    assert job.end() == [0] * processes, job.said()
    table["checkpoints lost"] += resumed_from(job.said()) < before
    whole = Job(folder, folder / f"of-{processes}-whole-{kills}", processes, steps)
    assert whole.end() == [0] * processes, whole.said()
    assert final(workdir, steps) == final(whole.workdir, steps)
    print(f"\n{processes} process(es): " + ", ".join(f"{k} {v}" for k, v in table.items()))
    return table


@pytest.mark.slow
def test_a_job_of_two_killed_three_times_loses_nothing(folder):
    table = killed_and_begun_again(folder, processes=2, kills=3, steps=200)
    assert table["kills"] == 3
    assert table["checkpoints lost"] == 0


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize(("processes", "kills", "steps"), [(1, 60, 400), (2, 40, 300)])
def test_a_hundred_kills_lose_nothing(folder, processes, kills, steps):
    table = killed_and_begun_again(folder, processes, kills, steps)
    assert table["kills"] == kills
    assert table["inside a save"] > kills // 10
    assert table["checkpoints lost"] == 0
