"""Real training on two supervisors that stand for two hosts: whichever rank is killed, both go on
together, and the end has the bits of a run that nothing happened to."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

STEPS = 60
FLAGS = [
    "--processes=1", "--heartbeat=5", "--nodes=2", "--config=quickstart:tiny",
    f"--config.train.steps={STEPS}", "--config.data.window=4", "--config.mesh.data=2",
    "--config.train.validate_every=30", "--config.train.validation_window=8",
    "--config.checkpoint.every=5", "--config.log.every=1", "--config.log.samples=0",
    "--config.model.output_dropout=0.1",
]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


@pytest.fixture
def start(tmp_path):
    """start(name) -> the supervisors of two hosts that train in tmp_path/name."""
    text = np.random.default_rng(0).integers(97, 105, 900).astype(np.uint8)
    (tmp_path / "text.txt").write_bytes(text.tobytes())
    nodes = []

    def make(name):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        ours = {
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=1 "
            "--xla_backend_optimization_level=0",
        }
        flags = [*FLAGS, f"--config.data.source={tmp_path / 'text.txt'}"]
        flags += [f"--workdir={tmp_path / name}", f"--coordinator=127.0.0.1:{port}"]
        for rank in range(2):
            said = (tmp_path / f"{name}-{rank}.txt").open("w")
            nodes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "launch.node", *flags, f"--node_rank={rank}"],
                    cwd=Path(__file__).parents[2],
                    env=os.environ | ours,
                    stdout=said,
                    stderr=said,
                )
            )
        return nodes[-2:]

    yield make
    for node in nodes:
        if node.poll() is None:
            node.kill()
        node.wait()


def newest_step(run: Path) -> int:
    path = run / "metrics.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return json.loads(whole.splitlines()[-1])["step"] if whole else 0


def reach(run: Path, step: int, nodes) -> None:
    deadline = time.monotonic() + 180
    while newest_step(run) < step:
        assert all(node.poll() is None for node in nodes)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rank_of(node: subprocess.Popen) -> int:
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
    return int(children[0])


def attempts(run: Path, rank: int) -> list[tuple[str, str]]:
    """The number and the word of each start of a rank."""
    log = (run / "logs" / f"rank-{rank}.log").read_text(errors="replace")
    return re.findall(rf"=== rank {rank}, attempt (\d+) \((\w+)\)", log)


def final(run: Path) -> dict:
    return json.loads((run / "checkpoints" / str(STEPS) / "metadata" / "metadata").read_text())


def test_ranks_of_either_host_are_killed_and_the_training_ends_as_if_they_were_not(start, tmp_path):
    whole = start("whole")
    assert [node.wait(timeout=300) for node in whole] == [0, 0]

    run = tmp_path / "hurt"
    nodes = start("hurt")
    for kills, host in enumerate((1, 0)):
        reach(run, 12 + 20 * kills, nodes)
        before = [rank_of(node) for node in nodes]
        os.kill(before[host], signal.SIGKILL)
        deadline = time.monotonic() + 120
        while len(attempts(run, 0)) < kills + 2 or len(attempts(run, 1)) < kills + 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not any(Path(f"/proc/{pid}").exists() for pid in before)
    assert [node.wait(timeout=300) for node in nodes] == [0, 0]
    assert attempts(run, 0) == attempts(run, 1)
    assert len(set(attempts(run, 0))) == 3
    assert final(run) == final(tmp_path / "whole")
