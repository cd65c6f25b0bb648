"""A job whose training does as told, and its supervisors as processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FAKE_NODE = Path(__file__).with_name("fake_node.py")
PATIENCE = 60  # seconds; nothing here takes so long


class Job:
    """A workdir whose training does what `scenario` says; see fake_training.py."""

    def __init__(self, workdir: Path, scenario: dict[str, list[list[str]]]) -> None:
        self.workdir = workdir
        self.nodes: list[subprocess.Popen] = []
        workdir.mkdir(exist_ok=True)
        (workdir / "scenario.json").write_text(json.dumps(scenario))

    def start(self, *flags: str, **settings) -> subprocess.Popen:
        """A supervisor. Its stdout and stderr are in one pipe."""
        node = subprocess.Popen(
            [sys.executable, FAKE_NODE, f"--workdir={self.workdir}", "--heartbeat=1", *flags],
            **{
                "cwd": REPOSITORY,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.STDOUT,
                "text": True,
                "env": self.environment(),
                "start_new_session": True,
                **settings,
            },
        )
        self.nodes.append(node)
        return node

    def finish(self, node: subprocess.Popen) -> str:
        return node.communicate(timeout=PATIENCE)[0]

    def run(self, *flags: str) -> tuple[int, str]:
        node = self.start(*flags)
        said = self.finish(node)
        return node.returncode, said

    def events(self, what: str) -> list[dict]:
        path = self.workdir / "events.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [e for e in map(json.loads, whole.splitlines()) if e["what"] == what]

    def started(self, number: int) -> list[dict]:
        """Wait until so many ranks have been started in all: those."""
        self.until(lambda: len(self.events("start")) >= number)
        return self.events("start")

    def log(self, rank: int) -> str:
        return (self.workdir / "logs" / f"rank-{rank}.log").read_text()

    def clean(self) -> None:
        for node in self.nodes:
            if node.poll() is None:
                node.kill()
                node.wait()
        for event in self.events("start"):
            if self.alive(event["pid"]):
                os.kill(event["pid"], signal.SIGKILL)

    @staticmethod
    def environment() -> dict[str, str]:
        """Without what a cluster, or a test of one, may have set."""
        return {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}

    @staticmethod
    def until(happens: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happens():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.02)

    @staticmethod
    def alive(pid: int) -> bool:
        """Whether it runs; one that has ended and is not yet waited for does not."""
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state not in "ZX"


@pytest.fixture
def job(tmp_path):
    """job(scenario) -> Job; what it has started is ended with the test."""
    jobs: list[Job] = []

    def make(scenario: dict[str, list[list[str]]], folder: str = "run") -> Job:
        jobs.append(Job(tmp_path / folder, scenario))
        return jobs[-1]

    yield make
    for each in jobs:
        each.clean()
