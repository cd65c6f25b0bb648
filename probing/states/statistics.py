"""What one pass over one site accumulates for scores: moments and histograms, by slot and concept.

Each accumulator is a pytree with nbytes, init, update, merge and finalize; update is pure and
compiled, merge is exact for counts and to rounding for sums, so parts may come from chunks or
hosts. Slots are train, dev, then the folds of test, so that a fold is left out by subtraction.
"""

# N rows (labelled positions), S slots, H units, Q bins, K classes, M numbers,
# L = 1 + K (+ M) labels: the first is 1 for every row

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probing.states.activations import LabelledWindow
from probing.states.blocks import Blocks, blocks_of
from probing.states.histogram import Histogram, quantile_edges
from probing.states.moments import Moments
from probing.tasks.labelled import SPLITS

TEST = SPLITS.index("test")
"""The first slot of test; the slots before are the splits before it."""


class Statistics(NamedTuple):
    """Everything that one pass over one site accumulates."""

    centre: jax.Array  # (H,) subtracted before sums are taken
    scale: jax.Array  # (H,) and divided by
    low: jax.Array  # (H,) least and largest value of the pilot: the range that is shown
    high: jax.Array  # (H,)
    number_centre: jax.Array  # (M,) centre and scale of the numeric concepts
    number_scale: jax.Array  # (M,)
    moments: Moments  # of every label and number
    histogram: Histogram  # of every class

    @staticmethod
    def nbytes(units: int, folds: int, classes: int, numbers: int) -> int:
        """What `init` will take on the device."""
        labels = 1 + classes
        return Histogram.nbytes(units, TEST + folds, labels) + Moments.nbytes(
            TEST + folds, labels + numbers, units
        )

    @staticmethod
    def init(pilot: np.ndarray, folds: int, classes: int, numbers: np.ndarray) -> Statistics:
        """pilot: (rows, H) states, and numbers: (rows, M) values, that say where the values lie."""
        slots, units = TEST + folds, pilot.shape[1]
        return Statistics(
            *centre_and_scale(pilot),
            jnp.asarray(pilot.min(0)),
            jnp.asarray(pilot.max(0)),
            *centre_and_scale(numbers),
            Moments.init(slots, 1 + classes + numbers.shape[1], units),
            Histogram.init(quantile_edges(pilot), slots, 1 + classes),
        )

    def update(self, x_NH, classes_NK, numbers_NM, slot_N) -> Statistics:
        """slot: on the host; -1: the row does not count. What it was must not be used again."""
        blocks = blocks_of(np.asarray(slot_N), len(self.moments.y.total))
        return _update(self, x_NH, classes_NK, numbers_NM, slot_N, blocks)

    def _updated(
        self,
        x_NH: jax.Array,
        classes_NK: jax.Array,
        numbers_NM: jax.Array,
        slot_N: jax.Array,
        blocks: Blocks,
    ) -> Statistics:
        ones = jnp.ones((len(slot_N), 1), jnp.int32)
        y_NL = jnp.concatenate([ones, classes_NK.astype(jnp.int32)], 1)
        numbers = (numbers_NM - self.number_centre) / self.number_scale
        every = jnp.concatenate([y_NL.astype(jnp.float32), numbers], 1)
        return self._replace(
            moments=self.moments.update((x_NH - self.centre) / self.scale, every, blocks),
            histogram=self.histogram.update(x_NH, y_NL, slot_N),
        )

    def take(self, window: LabelledWindow, site: str) -> Statistics:
        """The labelled positions of the window."""
        return self.update(window.states[site], window.classes, window.numbers, window.slots())

    def merge(self, other: Statistics) -> Statistics:
        """Both must come from the same pilot."""
        return self._replace(
            moments=self.moments.merge(other.moments),
            histogram=self.histogram.merge(other.histogram),
        )

    def finalize(self) -> Summary:
        moments, histogram = self.moments, self.histogram
        return Summary(
            np.asarray(self.centre, np.float64),
            np.asarray(self.scale, np.float64),
            np.asarray(self.number_centre, np.float64),
            np.asarray(self.number_scale, np.float64),
            moments.y.value(),
            moments.yy.value(),
            moments.yx.value(),
            moments.yxx.value(),
            np.asarray(histogram.edges, np.float64),
            np.asarray(histogram.counts),
            np.asarray(self.low, np.float64),
            np.asarray(self.high, np.float64),
        )


_update = jax.jit(Statistics._updated, donate_argnums=0)


def centre_and_scale(rows: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of each column, (columns,) float32; 1 where it never varies."""
    rows = np.asarray(rows, np.float64)
    if not len(rows):
        return jnp.zeros(rows.shape[1]), jnp.ones(rows.shape[1])
    scale = rows.std(0)
    return (
        jnp.asarray(rows.mean(0), jnp.float32),
        jnp.asarray(np.where(scale > 0, scale, 1), jnp.float32),
    )


class Summary(NamedTuple):
    """Finished statistics of one site, in host float64.

    Axes: H units, S slots (train, dev, folds of test), L labels (1 for every row, then classes,
    and in the moments numbers), Q bins. x in the moments is (state - centre) / scale, and so are
    the numbers.
    """

    centre: np.ndarray  # (H,)
    scale: np.ndarray  # (H,)
    number_centre: np.ndarray  # (M,)
    number_scale: np.ndarray  # (M,)
    y: np.ndarray  # (S, L)
    yy: np.ndarray  # (S, L)
    yx: np.ndarray  # (S, L, H)
    yxx: np.ndarray  # (S, L, H)
    edges: np.ndarray  # (H, Q - 1)
    counts: np.ndarray  # (H, S, Q, 1 + K)
    low: np.ndarray  # (H,) of the pilot
    high: np.ndarray  # (H,)

    def by_split(self) -> Summary:
        """The same with a slot for each of SPLITS: the folds of test are summed."""

        def summed(part: np.ndarray, axis: int) -> np.ndarray:
            return np.add.reduceat(part, np.arange(len(SPLITS)), axis)

        sums = {name: summed(getattr(self, name), 0) for name in ("y", "yy", "yx", "yxx")}
        return self._replace(counts=summed(self.counts, 1), **sums)

    def density(self, unit: int, label: int, slots, bars: int) -> tuple[np.ndarray, ...]:
        """Share of the rows in equal bars over the unit's range: (borders, on, off).

        slots: an index of the slot axis. label: counted from 1; 0 is every row. The range is that
        of 99.8% of the values, and of the pilot's; what lies outside goes to the outermost bars.
        A quantile bin is spread evenly over its width. A side that has no row is all zeros.
        """
        counts = self.counts[unit, slots].sum(0).astype(float)
        borders = np.concatenate([[self.low[unit]], self.edges[unit], [self.high[unit]]])
        borders = np.maximum.accumulate(borders)
        every = np.cumsum(counts[:, 0]) / counts[:, 0].sum()
        first, last = (
            borders[np.searchsorted(every, 0.001)],
            borders[1 + min(np.searchsorted(every, 0.999), len(every) - 1)],
        )
        if not first < last:
            first, last = first - 0.5, last + 0.5
        shown = np.linspace(first, last, bars + 1)
        shares = []
        for part in (counts[:, label], counts[:, 0] - counts[:, label]):
            below = np.concatenate([[0], np.cumsum(part)])
            at = np.interp(shown, borders, below)
            at[0], at[-1] = 0, below[-1]
            shares.append(np.diff(at) / max(below[-1], 1))
        return shown, shares[0], shares[1]
