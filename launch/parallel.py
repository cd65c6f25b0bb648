"""The flags of programs that run a trained model on several devices, or in several processes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from absl import flags

from launch import processes
from mlstm.errors import InputError

if TYPE_CHECKING:
    from jax.sharding import Mesh

_MESH = flags.DEFINE_string(
    "mesh",
    None,
    "DATAxMODEL devices, as 8x1: DATA share the streams, MODEL the units (default: one device, or "
    "all of a job as DATA).",
)
flags.adopt_module_key_flags(processes)


def join() -> None:
    """Take the place in a job that the flags or the cluster give; say which it is.

    Before anything that touches a device. Raises InputError as `mlstm.job.join` does, and for a
    --mesh that is none.
    """
    _shape()
    processes.join()


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
