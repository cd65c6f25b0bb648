"""What launch.node was asked for, and the command line of a rank that follows from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.supervised import SUPERVISOR

PORTS = 16  # an attempt takes the next port, so that nobody of the one before can join it


@dataclass(frozen=True)
class Settings:
    """One host's share of a job. Times are in seconds."""

    workdir: Path
    logs: Path
    program: Sequence[str]  # what Python runs: the training program and its arguments
    processes: int  # on this host
    by_gpu: bool  # each of them has one device, by its number
    nodes: int
    node_rank: int
    host: str  # where process 0 is found
    port: int | None  # the first of PORTS; None finds a free one, on one host
    max_restarts: int
    fruitless: int
    heartbeat: int
    start_timeout: int
    grace: int
    node_timeout: int

    @property
    def total(self) -> int:
        """Processes of all hosts."""
        return self.nodes * self.processes

    def rank(self, local: int) -> int:
        return self.node_rank * self.processes + local

    def log(self, rank: int) -> Path:
        return self.logs / f"rank-{rank}.log"


@dataclass(frozen=True)
class Attempt:
    """One start of all ranks: its number, a random word, where process 0 listens."""

    number: int
    token: str
    coordinator: str


def command(settings: Settings, attempt: Attempt, local: int) -> list[str]:
    """The command line of the process `local` of this host. A job of one process is a plain run."""
    line = [sys.executable, *settings.program]
    if settings.total == 1:
        return [*line, "--num_processes=1"]  # whatever cluster this host is part of
    line += [
        f"--coordinator={attempt.coordinator}",
        f"--num_processes={settings.total}",
        f"--process_id={settings.rank(local)}",
        f"--attempt={attempt.token}",
        f"--heartbeat={settings.heartbeat}",
        f"--start_timeout={settings.start_timeout}",
    ]
    return [*line, f"--local_devices={local}"] if settings.by_gpu else line


def environment() -> dict[str, str]:
    """Of a rank: what it prints is seen at once, and it knows whose death is its own."""
    return os.environ | {SUPERVISOR: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
