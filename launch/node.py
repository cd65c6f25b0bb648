"""Keep a training alive on this host: start its processes, start them again when one fails.

    python -m launch.node --processes=gpu --config=radford_amazon \\
        --config.data.source=data/reviews --config.mesh.data=8 --workdir=runs/reviews  # 8 GPUs
    python -m launch.node --nodes=4 --node_rank=0 --coordinator=host0:8476 --processes=gpu \\
        --config=radford_amazon --config.data.source=/shared/data/reviews \\
        --config.mesh.data=32 --workdir=/shared/runs/reviews  # each of 4 hosts with 8 GPUs

The mesh takes all devices of all hosts: config.mesh.data x config.mesh.model is their number, and
config.mesh.data divides config.data.batch.

Flags that are not its own are those of launch.train (python -m launch.train --help) and are passed
on to it. What each process says is appended to WORKDIR/logs/rank-I.log; process 0 is seen here too.

When a process ends in any other way than those below, all are killed and start again from the
newest checkpoint. SIGTERM, Ctrl-C and a hang-up make them save and stop; once more kills them.

Several hosts need a WORKDIR that all of them see; they know of each other through small files in
WORKDIR/.gang. Each attempt listens on another port: the coordinator's and the 15 after it must be
open between the hosts. Under SLURM (srun --ntasks-per-node=1) --nodes, --node_rank and
--coordinator are found by themselves.

Exit codes:
    0    the training is done
    1    given up: crashed too often, a host has gone, or not ended in --grace seconds
    2    what it was given is wrong
    3    loss or gradient not finite
    42   told to stop, and saved: run it again
    130, 143   killed at once by a second Ctrl-C or SIGTERM
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from launch import program
from mlstm.errors import InputError

PROCESSES = flags.DEFINE_string(
    "processes", "", "gpu: one for each GPU; node: one with all devices; or how many. "
    "Without it: gpu where there are any, else node",
)  # fmt: skip
NODES = flags.DEFINE_integer("nodes", None, "hosts of the job (1)", lower_bound=1)
NODE_RANK = flags.DEFINE_integer("node_rank", None, "which of them this is, from 0", lower_bound=0)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of node 0; on one host a free port is found"
)
MAX_RESTARTS = flags.DEFINE_integer("max_restarts", 20, "restarts within 24 hours", lower_bound=0)
FRUITLESS = flags.DEFINE_integer(
    "fruitless", 3, "attempts in a row without a new checkpoint that end the job", lower_bound=1
)
HEARTBEAT = flags.DEFINE_integer(
    "heartbeat", 10, "seconds after which processes miss one that says nothing", lower_bound=1
)
START_TIMEOUT = flags.DEFINE_integer(
    "start_timeout", 300, "seconds in which all hosts and processes must have joined", lower_bound=1
)
GRACE = flags.DEFINE_integer(
    "grace", 300, "seconds to save and stop in, before SIGKILL", lower_bound=0
)
NODE_TIMEOUT = flags.DEFINE_integer(
    "node_timeout", None, "seconds without a sign of life after which a host counts as gone "
    "(6 heartbeats, at least 60)", lower_bound=1,
)  # fmt: skip
LOGS = flags.DEFINE_string("logs", "", "folder of the logs (WORKDIR/logs)")

_OWN = {
    flag.name
    for flag in (
        PROCESSES, NODES, NODE_RANK, COORDINATOR, MAX_RESTARTS, FRUITLESS, HEARTBEAT,
        START_TIMEOUT, GRACE, NODE_TIMEOUT, LOGS,
    )
}  # fmt: skip
_MOST = 256  # processes of a host
# -P: a working directory may have a folder `launch` of its own.
TRAIN = ("-P", "-m", "launch.train")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is ours of a command line, and what is launch.train's, each in its order."""
    own: list[str] = []
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, _ = word.lstrip("-").partition("=")
        if word == "--":
            others += [word, *words]
        elif not word.startswith("-") or name not in _OWN | {"help", "h"}:
            others.append(word)
        else:
            own.append(word)
            if name in _OWN and not equals:
                own += [value for value in [next(words, None)] if value is not None]
    return own, others


def main(arguments: Sequence[str], train: Sequence[str]) -> int:
    """Supervise `python TRAIN ARGUMENTS...` as the flags say."""
    from launch.supervision import slurm
    from launch.supervision.job import supervise
    from launch.supervision.settings import Settings
    from mlstm.output import check_folder

    workdir = _workdir(arguments)
    found = slurm.place(os.environ) if None in (NODES.value, NODE_RANK.value) else None
    if found and NODES.value in (None, found.nodes):
        nodes, rank, coordinator = found
        rank = rank if NODE_RANK.value is None else NODE_RANK.value
        coordinator = COORDINATOR.value or coordinator
    else:
        nodes, rank, coordinator = NODES.value or 1, NODE_RANK.value, COORDINATOR.value
    if nodes > 1 and (rank is None or not coordinator):
        raise InputError(f"--nodes={nodes} needs --node_rank and --coordinator=HOST:PORT of node 0")
    if rank is not None and rank >= nodes:
        raise InputError(
            f"--node_rank={rank} with --nodes={nodes}: it counts from 0 to {nodes - 1}"
        )
    processes, by_gpu = _processes()
    host, port = _address(coordinator) if coordinator else ("127.0.0.1", None)
    settings = Settings(
        workdir=workdir,
        logs=Path(LOGS.value).expanduser() if LOGS.value else workdir / "logs",
        program=[*train, *arguments],
        processes=processes,
        by_gpu=by_gpu,
        nodes=nodes,
        node_rank=rank or 0,
        host=host,
        port=port,
        max_restarts=MAX_RESTARTS.value,
        fruitless=FRUITLESS.value,
        heartbeat=HEARTBEAT.value,
        start_timeout=START_TIMEOUT.value,
        grace=GRACE.value,
        node_timeout=NODE_TIMEOUT.value or max(60, 6 * HEARTBEAT.value),
    )
    check_folder(settings.logs)
    if nodes > 1:
        check_folder(workdir / ".gang")
    return supervise(settings)


def _workdir(arguments: Sequence[str]) -> Path:
    """The last --workdir of what is passed on. Raises InputError where it is none that can do."""
    value = ""
    for word, following in zip(arguments, [*arguments, ""][1:], strict=True):
        name, equals, text = word.lstrip("-").partition("=")
        if word.startswith("-") and name == "workdir":
            value = text if equals else following
    if not value:
        raise InputError("--workdir is needed: the folder of the run, as in --workdir=runs/first")
    if re.match(r"[a-z]+[a-z0-9+.-]*://", value):
        raise InputError(f"--workdir={value} must be a folder here, which all hosts share")
    if not value.startswith("~"):
        return Path(value)
    from mlstm.corpus.files import user_path

    return user_path(value)


def _processes() -> tuple[int, bool]:
    """How many on this host, and whether each has a GPU of its own."""
    from launch.supervision import gpus

    wanted = PROCESSES.value
    if wanted in ("", "gpu"):
        number = gpus.count()
        if number:
            return number, True
        if wanted:
            raise InputError(
                "--processes=gpu: JAX would find no NVIDIA GPU here (its plugin for CUDA is "
                "installed by mlstm[cuda13]); --processes=node is one process with what there is"
            )
        return 1, False
    if wanted == "node":
        return 1, False
    if not wanted.isascii() or not wanted.isdecimal() or not wanted.strip("0"):
        raise InputError(f"--processes={wanted} is neither gpu nor node nor a number from 1 on")
    number = int(wanted) if len(wanted) < 9 else _MOST + 1
    if number > _MOST:
        raise InputError(f"--processes={wanted}: a host has at most {_MOST}")
    return number, False


def _address(coordinator: str) -> tuple[str, int]:
    from launch.supervision.settings import PORTS

    host, _, port = coordinator.rpartition(":")
    highest = 65536 - PORTS
    if not host or not port.isdecimal() or not 0 < int(port) <= highest:
        raise InputError(
            f"--coordinator={coordinator} is not HOST:PORT with a port from 1 to {highest}"
        )
    return host, int(port)


def run(train: Sequence[str] = TRAIN) -> None:
    own, others = split(sys.argv[1:])
    sys.argv[1:] = own

    def with_arguments(_: list[str]) -> int:
        return main(others, train)

    program.run(with_arguments)


if __name__ == "__main__":
    run()
