"""Real training under launch.node: told to stop, killed, left without its supervisor."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlstm.training.interrupts import Interrupts

FLAGS = [
    "--processes=node",
    "--config=quickstart:tiny",
    "--config.train.steps=1000000",
    "--config.train.validate_every=1000000",
    "--config.checkpoint.every=10",
    "--config.log.every=1",
    "--config.log.samples=0",
]


@pytest.fixture
def start(tmp_path):
    """start() -> a supervisor of a long training in WORKDIR=tmp_path/run."""
    text = np.random.default_rng(0).integers(97, 105, 2250).astype(np.uint8)
    (tmp_path / "text.txt").write_bytes(text.tobytes())
    # Strangers of the same names as ours, where the supervisor and its ranks are started.
    for package in ("configs", "launch"):
        (tmp_path / package).mkdir()
        for module in ("__init__", "train", "node", "quickstart"):
            (tmp_path / package / f"{module}.py").write_text("raise RuntimeError('a stranger')\n")
    nodes = []

    def make():
        cache = {
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        }
        flags = ["--config.data.source=text.txt", "--workdir=run"]
        nodes.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "launch.node", *FLAGS, *flags],
                cwd=tmp_path,
                env=os.environ | cache,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        return nodes[-1]

    yield make
    for node in nodes:
        if node.poll() is None:
            node.kill()
        node.wait()


def newest_step(run: Path) -> int:
    path = run / "metrics.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return json.loads(whole.splitlines()[-1])["step"] if whole else 0


def until(happens) -> None:
    deadline = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < deadline, "waited two minutes in vain"
        time.sleep(0.05)


def rank_of(node: subprocess.Popen) -> int | None:
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
    return int(children[0]) if children else None


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_training_is_stopped_resumed_restarted_and_ended_through_its_supervisor(start, tmp_path):
    run, log = tmp_path / "run", tmp_path / "run" / "logs" / "rank-0.log"
    node = start()
    until(lambda: newest_step(run) >= 12)
    rank = rank_of(node)
    for pid in (
        rank,
        node.pid,
    ):  # a cluster may tell both; the second of the rank's changes nothing
        os.kill(pid, signal.SIGTERM)
    assert node.wait(120) == 42, log.read_text()
    stopped = max(int(p.name) for p in (run / "checkpoints").iterdir() if p.name.isdecimal())
    assert stopped >= 12

    node = start()
    until(lambda: newest_step(run) >= stopped + 15)
    assert f"resuming from step {stopped}" in log.read_text()
    rank = rank_of(node)
    os.kill(rank, signal.SIGKILL)
    until(lambda: log.read_text().count("resuming from step") == 2)
    assert log.read_text().count("=== rank 0, attempt 2 ") == 1

    until(lambda: rank_of(node) not in (None, rank))
    rank = rank_of(node)
    node.kill()
    until(lambda: not running(rank))


def test_a_second_sigterm_changes_nothing_where_a_supervisor_may_have_passed_it_on(monkeypatch):
    for supervised in (False, True):
        if supervised:
            monkeypatch.setenv("MLSTM_SUPERVISOR", "1")
        with Interrupts() as interrupts:
            interrupts.saving = True
            signal.raise_signal(signal.SIGTERM)
            assert interrupts.requested == "SIGTERM"
            if supervised:
                signal.raise_signal(signal.SIGTERM)
            else:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGTERM)
