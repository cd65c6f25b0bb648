"""How long neurons stay above and below their medians: runs, which tell a switch from a ripple."""

# B streams, T steps of a window, H units, Q bins

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probing.states.activations import LabelledWindow

BINS = 24
"""Bin k has the runs of 2^k to 2^(k+1) - 1 bytes, or tokens of a model that reads longer ones; the
last also what is longer."""


class RunLengths(NamedTuple):
    """Runs of each neuron below (0) and above (1) its median; a run ends with its document."""

    median: jax.Array  # (H,)
    above: jax.Array  # (B, H) bool: of the run that is open
    length: jax.Array  # (B, H) int32: so far; 0 no run is open
    counts: jax.Array  # (H, 2, Q) int32
    bytes: jax.Array  # (H, 2) int32: in all runs that have ended

    @staticmethod
    def nbytes(units: int, streams: int) -> int:
        """What `init` will take on the device."""
        return units * (4 + 5 * streams + 4 * 2 * (BINS + 1))

    @staticmethod
    def init(pilot: np.ndarray, streams: int) -> RunLengths:
        """pilot: (rows, H) states that say where the median lies."""
        units = pilot.shape[1]
        return RunLengths(
            jnp.asarray(np.median(pilot, 0), jnp.float32),
            jnp.zeros((streams, units), bool),
            jnp.zeros((streams, units), jnp.int32),
            jnp.zeros((units, 2, BINS), jnp.int32),
            jnp.zeros((units, 2), jnp.int32),
        )

    def update(
        self, x_TBH: jax.Array, document_TB: jax.Array, position_TB: jax.Array
    ) -> RunLengths:
        """Windows in the order in which they are read. document -1: no text here."""

        def step(run, cell):
            above, length = run
            now, text, begins = cell
            ended = (length > 0) & (~text | begins | (now != above))
            new = jnp.where(ended, 0, length) + text
            return (jnp.where(text, now, above), new), (above, jnp.where(ended, length, 0))

        text_TB1 = (document_TB >= 0)[..., None]
        begins_TB1 = (position_TB == 0)[..., None]
        (above, length), (side, lengths) = jax.lax.scan(
            step, (self.above, self.length), (x_TBH > self.median, text_TB1, begins_TB1)
        )
        units = len(self.median)
        part = self._replace(above=above, length=length)
        return part._count(side.reshape(-1, units), lengths.reshape(-1, units))

    def _count(self, above_NH: jax.Array, length_NH: jax.Array) -> RunLengths:
        """Counts runs that have ended; length 0: none."""
        units = len(self.median)
        bin_NH = jnp.minimum(31 - jax.lax.clz(jnp.maximum(length_NH, 1)), BINS - 1)
        unit, side = jnp.arange(units), above_NH.astype(jnp.int32)
        ended = (length_NH > 0).astype(jnp.int32)
        return self._replace(
            counts=self.counts.at[unit, side, bin_NH].add(ended),
            bytes=self.bytes + jnp.stack([(length_NH * (side == s)).sum(0) for s in (0, 1)], 1),
        )

    def take(self, window: LabelledWindow, site: str) -> RunLengths:
        """Every step of the window, labelled or not."""
        every = window.every
        return update(self, every.states[site], every.text, every.position)

    def merge(self, other: RunLengths) -> RunLengths:
        """Both must have the same median, and have read whole documents."""
        ours, theirs = self.close(), other.close()
        return ours._replace(counts=ours.counts + theirs.counts, bytes=ours.bytes + theirs.bytes)

    def close(self) -> RunLengths:
        """The runs that are open end here: after the last window."""
        return self._count(self.above, self.length)._replace(length=jnp.zeros_like(self.length))

    def finalize(self) -> Runs:
        closed = self.close()
        return Runs(np.asarray(closed.counts), np.asarray(closed.bytes, np.int64))


class Runs(NamedTuple):
    """Axes: unit; side, below (0) or above (1) the median; bin of the length, by powers of 2."""

    counts: np.ndarray  # (H, 2, Q)
    bytes: np.ndarray  # (H, 2)

    @property
    def mean(self) -> np.ndarray:
        """(H, 2) bytes, or tokens, of a run; NaN where there is none."""
        runs = self.counts.sum(-1)
        return self.bytes / np.where(runs > 0, runs, np.nan)


update = jax.jit(RunLengths.update, donate_argnums=0)
