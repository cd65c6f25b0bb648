"""Histograms of neurons by slot and class: what AUC and mutual information are made of."""

# N rows (labelled positions), S slots, L labels (the first is 1 for every row), H units, Q bins

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BINS = 256
COARSE = 32  # bins that are found by comparison
ROUNDING = 1e-5  # of a value, or of the unit's median: others as near may be it, rounded otherwise


def quantile_edges(pilot: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(H, bins - 1) edges that part the pilot's (rows, H) states into about equally full bins.

    Each lies in the middle of the widest gap between two states near its quantile, so that a state
    which another device rounds otherwise is in the same bin. Where the states there are all one
    value, as texts that begin alike have it, it lies just above that value.
    """
    states = np.sort(np.ascontiguousarray(pilot.T), axis=1)  # (H, rows)
    rows = states.shape[1]
    gaps = np.diff(states, append=states[:, -1:])
    near = np.arange(max(4, rows // (4 * bins)))
    first = np.arange(1, bins) * rows // bins - 1
    place = np.clip(first[:, None] + near, 0, rows - 1)  # (bins - 1, near)
    widest = gaps[:, place].argmax(2)  # (H, bins - 1)
    chosen = place[np.arange(bins - 1), widest]
    below, width = (np.take_along_axis(part, chosen, 1) for part in (states, gaps))
    usual = np.median(np.abs(states[:, :: max(1, rows // 1024)]), axis=1)
    least = ROUNDING * np.maximum(np.abs(below), usual[:, None])
    return np.sort(below + np.where(width > least, width / 2, least), axis=1)


class Histogram(NamedTuple):
    """How many rows of each slot and label fall in each bin of each unit.

    Bins are the pilot's quantiles, so that they are about equally full: bin 0 lies below the
    first edge, the last above the last. Q is a power of two. Counts are exact.
    """

    edges: jax.Array  # (H, Q - 1), ascending
    counts: jax.Array  # (H, S, Q, L) int32

    @staticmethod
    def nbytes(units: int, slots: int, labels: int) -> int:
        """What `init` will take on the device."""
        return 4 * units * (slots * BINS * labels + BINS - 1)

    @staticmethod
    def init(edges: np.ndarray, slots: int, labels: int) -> Histogram:
        units, inner = edges.shape
        return Histogram(
            jnp.asarray(edges, jnp.float32),
            jnp.zeros((units, slots, inner + 1, labels), jnp.int32),
        )

    def update(self, x_NH: jax.Array, y_NL: jax.Array, slot_N: jax.Array) -> Histogram:
        """y: 0 or 1. slot -1: the row does not count."""
        return self._replace(
            counts=jax.lax.platform_dependent(
                self.counts,
                self.edges,
                x_NH,
                y_NL,
                slot_N,
                cpu=_counted_by_unit,
                default=_counted_at_once,
            )
        )

    def merge(self, other: Histogram) -> Histogram:
        """Both must have the same edges."""
        return self._replace(counts=self.counts + other.counts)


def _counted_at_once(counts, edges, x_NH, y_NL, slot_N):
    units, slots, bins, labels = counts.shape
    bin_HN = jax.vmap(_bins)(edges, x_NH.T)
    row_HN = jnp.where(slot_N < 0, slots * bins, slot_N * bins + bin_HN)
    rows = counts.reshape(units, slots * bins, labels)
    return jax.vmap(lambda c, r: c.at[r].add(y_NL, mode="drop"))(rows, row_HN).reshape(counts.shape)


def _counted_by_unit(counts, edges, x_NH, y_NL, slot_N):
    """The same, one unit after another: its counts of these rows stay in a CPU's cache, in 16 bits
    where they fit, and are then added to the others where these are."""
    units, slots, bins, labels = counts.shape
    x_HN = jax.lax.optimization_barrier(x_NH.T)  # laid out so once, not gathered in each turn
    first_N = jnp.where(slot_N < 0, slots * bins, slot_N * bins)
    kind = jnp.uint16 if len(slot_N) < 1 << 16 else jnp.int32
    y_NL = y_NL.astype(kind)

    def count(unit, every):
        row_N = first_N + _bins(edges[unit], x_HN[unit])
        here = jnp.zeros((slots * bins, labels), kind).at[row_N].add(y_NL, mode="drop")
        return every.at[unit].add(here.reshape(slots, bins, labels).astype(jnp.int32))

    return jax.lax.fori_loop(0, units, count, counts)


def _bins(edges: jax.Array, x_N: jax.Array) -> jax.Array:
    """(N,) how many of the (Q - 1,) edges lie below each value.

    First the COARSE bins, by comparing with every edge between two of them, which fills vectors;
    then by halving, where each step is a look-up. jnp.searchsorted takes several times as long.
    """
    step = max(1, (len(edges) + 1) // COARSE)
    below = jnp.zeros(x_N.shape, jnp.int32)
    for edge in range(step - 1, len(edges), step):
        below += x_N > edges[edge]
    below *= step
    while step := step // 2:
        below = jnp.where(x_N > edges[below + step - 1], below + step, below)
    return below
