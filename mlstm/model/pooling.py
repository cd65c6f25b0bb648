"""One vector of each text from the states at all its positions, computed as the texts stream by.

What is kept between windows is one row for each stream; what comes to the host is one row for each
text that has ended.
"""

# B streams, T steps of a window, H hidden, K rows fetched at once

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mlstm import devices
from mlstm.model import encoding, on_mesh
from mlstm.model.config import ModelConfig

POOLINGS = ("last", "mean", "max", "min")
ROWS = 64  # K

# How two values become one, and what changes nothing.
_COMBINE = {
    "mean": (jnp.add, 0.0),
    "max": (jnp.maximum, -jnp.inf),
    "min": (jnp.minimum, jnp.inf),
}


class Ended(NamedTuple):
    """What one window brought to its end."""

    texts: np.ndarray  # (n,) int: which
    pooled: np.ndarray  # (n, sites x H) float32
    ids: int  # how many the window had read


def pool(
    config: ModelConfig,
    parameters,
    texts: Sequence[np.ndarray],
    sites: Sequence[str],
    pooling: str,
    *,
    streams: int,
    window: int,
    mesh: Mesh | None = None,
) -> Iterator[Ended]:
    """Each text of at least one id once, as it ends, with its states pooled, site beside site.

    pooling: one of `POOLINGS`, over the positions of the text: the state after its last id, or
        the mean, largest or smallest value of each unit.
    The other arguments are those of `encoding.stream_states`.
    """
    lengths = np.array([len(text) for text in texts])
    before = None
    waiting = None
    for states, text, position in encoding.stream_states(
        config, parameters, texts, sites, streams=streams, window=window, mesh=mesh
    ):
        mask = text >= 0
        pooled = tuple(states[site] for site in sites)
        if pooling != "last":
            if before is None:
                before = tuple(x[0] for x in pooled)  # never used: every stream begins a text
            pooled, before = _pool(pooled, before, mask, mask & (position == 0), pooling)
        ends = np.argwhere(mask & (position == lengths[text] - 1))
        # At least one block: to fetch it is to wait, or the windows of a long text would pile up.
        rows = [
            _rows(pooled, *_padded(ends[start : start + ROWS]), mesh)
            for start in range(0, max(1, len(ends)), ROWS)
        ]
        # The device computes this window while the rows of the one before it are fetched.
        if waiting:
            yield _ended(*waiting)
        ended = text[tuple(ends.T)]
        counts = lengths[ended] if pooling == "mean" else np.ones(len(ended))
        waiting = ended, rows, counts, int(mask.sum())
    if waiting:
        yield _ended(*waiting)


def _ended(texts: np.ndarray, rows: list[jax.Array], counts: np.ndarray, ids: int) -> Ended:
    whole = np.concatenate(devices.fetch(rows))[: len(texts)]
    return Ended(texts, (whole / counts[:, None]).astype(np.float32), ids)


def _padded(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps and streams of K cells, of which the first are `ends` (n, 2)."""
    padded = np.zeros((ROWS, 2), np.int32)
    padded[: len(ends)] = ends
    return padded[:, 0], padded[:, 1]


@partial(jax.jit, static_argnames="pooling")
def _pool(states, before, mask_TB, begins_TB, pooling):
    """Of each site (T, B, H) the value over the text so far, given those before the window (B, H);
    and these for the next one. A mean's is the sum.

    A window is summed by itself before it is added to what was before: the rounding of a sum then
    grows with the number of windows, not of positions.
    """
    combine, neutral = _COMBINE[pooling]
    goes_on_TB1 = (jnp.cumsum(begins_TB, axis=0) == 0)[..., None]

    def of_site(x_TBH, before_BH):
        def step(total_BH, now):
            x_BH, mask_B, begins_B = now
            total_BH = jnp.where(begins_B[:, None], neutral, total_BH)
            total_BH = jnp.where(mask_B[:, None], combine(total_BH, x_BH), total_BH)
            return total_BH, total_BH

        start_BH = jnp.full_like(before_BH, neutral)
        _, here_TBH = jax.lax.scan(step, start_BH, (x_TBH, mask_TB, begins_TB))
        return jnp.where(goes_on_TB1, combine(before_BH, here_TBH), here_TBH)

    found = tuple(of_site(x, b) for x, b in zip(states, before, strict=True))
    return found, tuple(x[-1] for x in found)


@partial(jax.jit, static_argnames="mesh")
def _rows(pooled, steps, streams, mesh):
    """(K, sites x H) at these steps of these streams."""
    return on_mesh.whole(mesh, jnp.concatenate([x[steps, streams] for x in pooled], axis=-1))
