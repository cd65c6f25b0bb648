"""Which node of a SLURM job step this is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mlstm.errors import InputError


class Place(NamedTuple):
    """What --nodes, --node_rank and --coordinator say."""

    nodes: int
    node_rank: int
    coordinator: str


def place(environment: Mapping[str, str]) -> Place | None:
    """The place that srun gave this process, one of several nodes; None where it gave none.

    The coordinator is the first host of the node list. Each job has 16 ports of its own, from
    12000 on and below those that Linux hands out by itself. Raises InputError for variables that
    make no sense together, and where srun started several tasks on a node.
    """
    nodes = _number(environment, "SLURM_STEP_NUM_NODES", "SLURM_NNODES")
    rank = _number(environment, "SLURM_NODEID")
    names = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    job = _number(environment, "SLURM_JOB_ID")
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    if nodes is None or rank is None or not names or job is None:
        return None
    if tasks is not None and tasks != nodes:
        raise InputError(
            f"srun started {tasks} tasks on {nodes} nodes: one launch.node on each is needed "
            "(srun --ntasks-per-node=1)"
        )
    if nodes == 1:
        return None
    return Place(nodes, rank, f"{hosts(names)[0]}:{12000 + job % 1200 * 16}")


def hosts(names: str) -> list[str]:
    """The hosts of a node list, in order: "node[001,007-009],login" is five. Raises InputError."""
    found = []
    for piece in re.split(r",(?![^\[]*\])", names):  # commas outside brackets
        if not re.fullmatch(r"[\w.-]+|[\w.-]*(\[[\d,-]+\][\w.-]*)+", piece, re.ASCII):
            raise InputError(f"SLURM's list of nodes {names!r} cannot be read at {piece!r}")
        found += _expanded(piece, names)
    return found


def _expanded(piece: str, names: str) -> Iterator[str]:
    """One name with any number of brackets."""
    head, bracket, rest = piece.partition("[")
    if not bracket:
        yield piece
        return
    inside, _, tail = rest.partition("]")
    for part in inside.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not found:
            raise InputError(f"SLURM's list of nodes {names!r} cannot be read: [{inside}]")
        low, high = found[1], found[2] or found[1]
        for number in range(int(low), int(high) + 1):
            for end in _expanded(tail, names):
                yield f"{head}{number:0{len(low)}}{end}"


def _number(environment: Mapping[str, str], *names: str) -> int | None:
    """The first of these variables that is set. Raises InputError where it is no whole number."""
    for name in names:
        if text := environment.get(name):
            if not text.isdecimal():
                raise InputError(f"{name}={text} in the environment is not a whole number")
            return int(text)
    return None
