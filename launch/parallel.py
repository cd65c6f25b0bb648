"""The flags of programs that run a trained model on several devices, or in several processes."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

from absl import flags

from mlstm.errors import InputError

if TYPE_CHECKING:
    from jax.sharding import Mesh

_MESH = flags.DEFINE_string(
    "mesh",
    None,
    "DATAxMODEL devices, as 8x1: DATA share the streams, MODEL the units (default: one device, or "
    "all of a job as DATA).",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0 of a job.")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "Processes of the job; 1 is alone, whatever started this one."
)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
_HEARTBEAT = flags.DEFINE_integer(
    "heartbeat", 10, "Seconds after which a silent process is taken for gone.", lower_bound=1
)
_START_TIMEOUT = flags.DEFINE_integer(
    "start_timeout", 300, "Seconds in which all processes have to join.", lower_bound=1
)


def join() -> None:
    """Take the place in a job that the flags or the cluster give; say which it is.

    Before anything that touches a device. Raises InputError as `mlstm.job.join` does, and for a
    --mesh that is none.
    """
    from mlstm import job

    _shape()
    job.join(
        coordinator=_COORDINATOR.value,
        processes=_NUM_PROCESSES.value,
        process=_PROCESS_ID.value,
        heartbeat=_HEARTBEAT.value,
        start_timeout=_START_TIMEOUT.value,
    )
    if job.count() > 1:
        with contextlib.suppress(OSError):
            print(job.describe(), file=sys.stderr, flush=True)


def mesh() -> Mesh | None:
    """The mesh that the flags ask for; None for one device. Raises InputError."""
    import jax

    from mlstm import devices, job

    shape = _shape() or ((jax.device_count(), 1) if job.count() > 1 else None)
    if shape is None:
        return None
    try:
        return devices.mesh(*shape)
    except InputError as error:
        raise InputError(str(error).replace("config.mesh", "--mesh")) from None


def _shape() -> tuple[int, int] | None:
    if _MESH.value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", _MESH.value)
    if match is None:
        raise InputError(f"--mesh={_MESH.value}: it is DATAxMODEL, as in 8x1 or 4x2")
    return int(match[1]), int(match[2])
