"""A model that reads and does not learn, on a mesh of devices; without a mesh all stays as it is.

What is computed differs by rounding alone.
"""

# B streams, T steps of a window

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mlstm import devices
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.model.readable import ALONE, Placement


def padded(mesh: Mesh | None, streams: int) -> int:
    """So many streams, and as many more as let each group of devices have an equal share."""
    return streams + -streams % mesh.shape["data"] if mesh else streams


def begin(
    mesh: Mesh | None, config: ModelConfig, parameters: Any, edits: Any, streams: int
) -> tuple[Any, Any, Any]:
    """Parameters, the zero state of so many streams, and edits, each in its place.

    Raises InputError where the mesh does not divide the hidden units or the streams.
    """
    state = language_model.initial_state(config, streams, language_model.dtype_of(parameters))
    if mesh is None:
        return parameters, state, edits
    for axis, count, what in (("data", streams, "streams"), ("model", config.hidden, "units")):
        if count % mesh.shape[axis]:
            raise InputError(
                f"{mesh.shape[axis]} devices of the mesh's {axis} do not divide {count} {what}"
            )
    return (
        devices.spread(parameters, devices.parameter_shardings(mesh, parameters)),
        devices.spread(state, devices.carry_sharding(mesh)),
        devices.spread(edits, devices.replicated(mesh)),
    )


def place(mesh: Mesh | None, batch: Any, streams: int) -> Any:
    """Arrays (T, B or fewer), which every process has whole, split by their streams; what is
    missing to `streams` is zeros."""
    if mesh is None:
        return batch
    rows = devices.local_rows(mesh, streams)

    def part(array: np.ndarray) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, streams - array.shape[1])))[:, rows]

    return devices.place_batch(mesh, jax.tree.map(part, batch), streams, rows)


def placement(mesh: Mesh | None) -> Placement:
    """What `language_model.forward` is told, inside of jit."""
    return devices.placement(mesh) if mesh else ALONE


def carried(mesh: Mesh | None, state: Any) -> Any:
    """A state as `begin` placed it, inside of jit: else the next window would be compiled anew."""
    if mesh is None:
        return state
    return jax.lax.with_sharding_constraint(state, devices.carry_sharding(mesh))


def whole(mesh: Mesh | None, result: Any) -> Any:
    """A result on every device, inside of jit; every process can then read it."""
    if mesh is None:
        return result
    return jax.lax.with_sharding_constraint(result, devices.replicated(mesh))
