"""The processes that train one model together: how one joins them, and what they agree on.

A process joins with flags, or on a cluster that it recognises (see `mlstm.cluster`). One that was
meant to be one of many never goes on alone: where it cannot join it says so.

Beneath is `jax.distributed`, whose coordination service runs in process 0. It notices a process
that is gone within the heartbeat, and ends the others. What is agreed on here goes over that
service's keys, not over the devices, so that every wait has a bound.
"""

import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
from jax._src import distributed
from jax.experimental import multihost_utils

from mlstm.cluster import recognise
from mlstm.errors import InputError, NotNow

T = TypeVar("T")

WAIT = 600.0
"""Seconds that an answer of another process is waited for, where nothing else is said."""
HEARTBEAT, START = 10, 300
"""Seconds after which a silent process is taken for gone, and in which all have to join."""

_CPU_THREADS = 32
"""At least so many threads for XLA on a CPU. A collective holds one while it waits for its peers:
with one for each core, two that wait on each other's turn can have taken all of them."""

_calls = itertools.count()


class NotJoined(NotNow):
    """The processes did not come together. Another time they may."""


class Lost(RuntimeError):
    """Another process did not answer."""


def join(
    *,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    local_devices: list[int] | None = None,
    heartbeat: int = HEARTBEAT,
    start_timeout: int = START,
    attempt: str = "",
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Join the job that the arguments name, or the cluster; with neither, this process is alone.

    Call it before anything that touches a device. `processes` = 1 trains alone, wherever it runs.

    Args:
      coordinator: HOST:PORT of process 0, which listens there.
      processes: how many there are.
      process: which one this is, from 0.
      local_devices: the GPUs of this host that are this process's; None is all.
      heartbeat: seconds after which a silent process is taken for gone.
      start_timeout: seconds in which all have to join.
      attempt: what a supervisor names one start of all processes by; one of another start is not
        taken in.

    Raises InputError where arguments are missing or contradict each other, where the cluster
    cannot be joined; as NotJoined where not all processes came, or one is of another start.
    """
    given = {"--coordinator": coordinator, "--num_processes": processes, "--process_id": process}
    if processes == 1 and not process:
        return
    explicit = None not in given.values()
    cluster = None if explicit else recognise(environ)
    if not explicit:
        missing = [name for name, value in given.items() if value is None]
        if cluster is None:
            if len(missing) == len(given):
                return
            named = [name for name in given if name not in missing]
            raise InputError(
                f"{', '.join(named)} without {', '.join(missing)}: a job of several processes "
                "needs all three, in each of them"
            )
        if cluster.method is None:
            asked = cluster.processes or "several"
            raise InputError(
                f"{cluster.name} was asked for {asked} processes, and {cluster.hint}. Give "
                "--coordinator, --num_processes and --process_id, or --num_processes=1 to train "
                "in this process alone"
            )
        processes = processes or cluster.processes
    _check(coordinator, processes, process)
    os.environ.setdefault("NPROC", str(max(_CPU_THREADS, os.cpu_count() or 1)))
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            local_device_ids=local_devices,
            cluster_detection_method=cluster.method if cluster else "deactivate",
            initialization_timeout=start_timeout,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=max(30, 2 * heartbeat),
        )
    except Exception as error:  # of many kinds, by what the cluster's own interface raises
        where = coordinator or (cluster.name if cluster else "")
        raise NotJoined(
            f"not all {processes or ''} processes came together at {where} within "
            f"{start_timeout} s ({_one_line(error)}); nothing was begun".replace("  ", " ")
        ) from error
    if count() == 1 and cluster:
        raise InputError(
            f"{cluster.name} says that this is the only process: --num_processes=1 runs alone"
        )
    _check_same("attempt", attempt, "belongs to another start of the job")
    _check_same("JAX", jax.__version__, "has another version of JAX")


def count() -> int:
    """How many processes train together."""
    return distributed.global_state.num_processes or 1


def index() -> int:
    """Which of them this is, from 0."""
    return distributed.global_state.process_id or 0


def is_first() -> bool:
    """Whether this is process 0: the one that writes what only one can write."""
    return index() == 0


def from_first(make: Callable[[], T], what: str, *, seconds: float = WAIT) -> T:
    """What `make` returns in process 0, in all processes: it is called there alone.

    The value has to be one that JSON can carry; all processes get it as JSON gives it back. An
    InputError that `make` raises is raised in all of them. Raises Lost after `seconds`.
    """
    if count() == 1:
        return make()
    key = f"mlstm/{next(_calls)}"
    if is_first():
        try:
            answer = {"value": make()}
        except InputError as error:
            put(key, {"error": str(error)})
            raise
        except BaseException as error:
            put(key, {"failed": _one_line(error)})
            raise
        put(key, answer)
    answer = get(key, what, seconds)
    if "error" in answer:
        raise InputError(answer["error"])
    if "failed" in answer:
        raise Lost(f"process 0 failed: {what}: {answer['failed']}")
    return answer["value"]


def together(make: Callable[[], T], what: str, *, seconds: float = WAIT) -> T:
    """What `make` returns in this process, once it has returned in all of them.

    An InputError that it raises in one is raised in all. Raises Lost after `seconds`.
    """
    if count() == 1:
        return make()
    try:
        made, wrong = make(), None
    except InputError as error:
        made, wrong = None, str(error)
    for process, error in enumerate(gathered(wrong, what, seconds=seconds)):
        if error is not None:
            raise InputError(error if error == wrong else f"process {process}: {error}")
    return made  # pyright: ignore[reportReturnType]


def gathered(value: Any, what: str, *, seconds: float = WAIT) -> list[Any]:
    """The values of all processes, by their number, in all of them; as JSON gives them back.

    Raises Lost where one has not given its own within `seconds`.
    """
    if count() == 1:
        return [value]
    key = f"mlstm/{next(_calls)}"
    put(f"{key}/{index()}", value)

    def collect() -> list[Any]:
        values = []
        for process in range(count()):
            values.append(get(f"{key}/{process}", f"{what} (process {process})", seconds))
            forget(f"{key}/{process}")
        return values

    return from_first(collect, what, seconds=2 * seconds)


def all_of(good: bool, what: str, *, seconds: float = WAIT) -> bool:
    """Whether `good` holds in every process. Raises Lost after `seconds`."""
    return all(gathered(bool(good), what, seconds=seconds))


def barrier(what: str, *, seconds: float = WAIT) -> None:
    """Wait until every process is here. Raises Lost after `seconds`."""
    gathered(None, what, seconds=seconds)


def told_to_stop(asked: int) -> bool:
    """Whether all processes stop here, because one of them had a SIGTERM.

    All have to ask, each time with the next number: JAX lets them agree on one that none has
    reached.
    """
    return count() > 1 and multihost_utils.reached_preemption_sync_point(asked)


def put(key: str, value: Any, *, anew: bool = False) -> None:
    """Let all processes know a value that JSON can carry; `anew` where the key may have one."""
    _client().key_value_set(key, json.dumps(value), allow_overwrite=anew)


def get(key: str, what: str, seconds: float = WAIT) -> Any:
    """The value of a key, once some process has `put` it. Raises Lost after `seconds`."""
    until = time.monotonic() + seconds
    while True:  # in pieces of a few seconds, so that Ctrl-C is answered
        left = until - time.monotonic()
        milliseconds = max(1, int(1000 * min(left, 5.0)))
        try:
            return json.loads(_client().blocking_key_value_get(key, milliseconds))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
            if left <= 0:
                raise Lost(
                    f"no answer within {seconds:.0f} s, in process {index()}: {what}"
                ) from None


def forget(key: str) -> None:
    """Remove a key, or with a / at its end all below it."""
    _client().key_value_delete(key)


def describe() -> str:
    """One line for the log of this process: who it is, and what it has. Touches the devices."""
    local, of = jax.local_devices(), jax.device_count()
    return (
        f"process {index()} of {count()} on {socket.gethostname()}: {len(local)} of {of} "
        f"{'device' if of == 1 else 'devices'} ({local[0].device_kind})"
    )


def _check(coordinator: str | None, processes: int | None, process: int | None) -> None:
    if coordinator is not None:
        host, colon, port = coordinator.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise InputError(f"--coordinator={coordinator}: it is HOST:PORT, as in host0:8476")
    if processes is not None and processes < 1:
        raise InputError(f"--num_processes={processes}: it has to be at least 1")
    if process is not None and not 0 <= process < (processes or process + 1):
        raise InputError(
            f"--process_id={process}: of {processes} processes it is one of 0 to {processes - 1}"
            if processes
            else f"--process_id={process}: it counts from 0"
        )


def _check_same(name: str, value: str, wrong: str) -> None:
    """Raises InputError, in all processes, where one has another value than process 0."""
    values = gathered(value, name)
    for process, other in enumerate(values):
        if other != values[0]:
            raise NotJoined(f"process {process} {wrong} ({other!r}) than process 0 ({values[0]!r})")


def _client() -> Any:
    return distributed.global_state.client


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
