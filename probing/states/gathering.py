"""States that lie on many devices, brought to one of each process."""

# T steps of a window, B streams, H hidden, N rows

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from mlstm import devices
from mlstm.model import on_mesh


def rows_of(
    states_TBH: jax.Array, cell_N: np.ndarray, streams: int, mesh: Mesh | None
) -> jax.Array:
    """(N, H) on one device, from states that may lie on many, and have streams without text."""
    if mesh is None and np.array_equal(cell_N, np.arange(states_TBH.shape[0] * streams)):
        return states_TBH.reshape(len(cell_N), -1)
    rows_NH = _gather(states_TBH, cell_N // streams, cell_N % streams, mesh)
    return devices.on_one_device(rows_NH) if mesh else rows_NH


@partial(jax.jit, static_argnames="mesh")
def _gather(states_TBH, step_N, stream_N, mesh):
    return on_mesh.whole(mesh, states_TBH[step_N, stream_N])


class Whole(Mapping[str, jax.Array]):
    """States of a mesh, (T, B, H) of each site, which come to one device once they are asked for.

    All processes of a job have to ask for the same ones.
    """

    def __init__(self, spread: Mapping[str, jax.Array], streams: int):
        self._spread, self._streams = spread, streams
        self._whole: dict[str, jax.Array] = {}

    def __getitem__(self, name: str) -> jax.Array:
        if name not in self._whole:
            self._whole[name] = devices.on_one_device(self._spread[name])[:, : self._streams]
        return self._whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._spread)

    def __len__(self) -> int:
        return len(self._spread)
