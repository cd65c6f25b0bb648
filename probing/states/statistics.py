"""What one pass over the states accumulates: moments and histograms, per half and concept.

Each accumulator is a pytree with init, update, merge and finalize; update is pure and compiled,
merge is exact for counts and to rounding for sums, so parts may come from chunks or hosts.
Everything is indexed by fold (here: 0 select, 1 test), so that a fold is left out by subtraction.
"""

# N rows (bytes), F folds, K labels (the first is 1 for every byte), H units, Q bins

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BINS = 256


class Sum(NamedTuple):
    """A float32 sum with what rounding has lost so far (Neumaier).

    Adding is exact to about 1e-14; the terms are what they are. One that is itself the float32
    sum over a window has an error of about 1e-7 of its magnitude. Many windows add up to no more
    than that, where the error of a plain sum would grow with their number.
    """

    total: jax.Array
    lost: jax.Array

    @staticmethod
    def zeros(shape) -> Sum:
        return Sum(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))

    def add(self, x: jax.Array) -> Sum:
        new = self.total + x
        larger = jnp.abs(self.total) >= jnp.abs(x)
        lost = jnp.where(larger, (self.total - new) + x, (x - new) + self.total)
        return Sum(new, self.lost + lost)

    def merge(self, other: Sum) -> Sum:
        joined = self.add(other.total)
        return joined._replace(lost=joined.lost + other.lost)

    def value(self) -> np.ndarray:
        return np.asarray(self.total, np.float64) + np.asarray(self.lost, np.float64)


class Moments(NamedTuple):
    """Sums of y, y², yx and yx² over the bytes of each fold, x centred and scaled by the pilot."""

    y: Sum  # (F, K)
    yy: Sum  # (F, K)
    yx: Sum  # (F, K, H)
    yxx: Sum  # (F, K, H)

    @staticmethod
    def init(folds: int, labels: int, units: int) -> Moments:
        few, many = (folds, labels), (folds, labels, units)
        return Moments(Sum.zeros(few), Sum.zeros(few), Sum.zeros(many), Sum.zeros(many))

    def update(self, x_NH: jax.Array, y_NK: jax.Array, fold_N: jax.Array) -> Moments:
        """fold -1: the row does not count."""
        folds, labels = self.y.total.shape
        in_fold = jax.nn.one_hot(fold_N, folds, dtype=jnp.float32)
        y_NFK = in_fold[:, :, None] * y_NK[:, None, :].astype(jnp.float32)
        flat = y_NFK.reshape(-1, folds * labels)
        yx, yxx = (
            jnp.matmul(flat.T, x, precision="highest").reshape(self.yx.total.shape)
            for x in (x_NH, x_NH * x_NH)
        )
        return Moments(
            self.y.add(y_NFK.sum(0)),
            self.yy.add((y_NFK * y_NFK).sum(0)),
            self.yx.add(yx),
            self.yxx.add(yxx),
        )

    def merge(self, other: Moments) -> Moments:
        return Moments(*(a.merge(b) for a, b in zip(self, other, strict=True)))


class Histogram(NamedTuple):
    """How many bytes of each fold and label fall in each bin of each unit, and the extreme values.

    Bins are the pilot's quantiles, so that they are about equally full: bin 0 lies below the
    first edge, the last above the last. Q is a power of two. Counts are exact.
    """

    edges: jax.Array  # (H, Q - 1), ascending
    counts: jax.Array  # (H, F, Q, K) int32
    low: jax.Array  # (H,)
    high: jax.Array  # (H,)

    @staticmethod
    def init(edges: np.ndarray, folds: int, labels: int) -> Histogram:
        units, inner = edges.shape
        return Histogram(
            jnp.asarray(edges, jnp.float32),
            jnp.zeros((units, folds, inner + 1, labels), jnp.int32),
            jnp.full(units, jnp.inf, jnp.float32),
            jnp.full(units, -jnp.inf, jnp.float32),
        )

    def update(self, x_NH: jax.Array, y_NK: jax.Array, fold_N: jax.Array) -> Histogram:
        """y: 0 or 1. fold -1: the row does not count."""
        units, folds, bins, labels = self.counts.shape
        bin_HN = _bins(self.edges, x_NH.T)

        def count(unit):
            counts_RK, bin_N = unit
            row_N = jnp.where(fold_N < 0, folds * bins, fold_N * bins + bin_N)
            return counts_RK.at[row_N].add(y_NK, mode="drop")

        # One unit after another stays in the cache of a CPU: 8 times faster there than at once.
        counts = jax.lax.platform_dependent(
            self.counts.reshape(units, folds * bins, labels),
            bin_HN,
            cpu=lambda *arrays: jax.lax.map(count, arrays),
            default=lambda *arrays: jax.vmap(lambda *unit: count(unit))(*arrays),
        )
        counted = fold_N[:, None] >= 0
        return Histogram(
            self.edges,
            counts.reshape(self.counts.shape),
            jnp.minimum(self.low, jnp.where(counted, x_NH, jnp.inf).min(0)),
            jnp.maximum(self.high, jnp.where(counted, x_NH, -jnp.inf).max(0)),
        )

    def merge(self, other: Histogram) -> Histogram:
        """Both must have the same edges."""
        return Histogram(
            self.edges,
            self.counts + other.counts,
            jnp.minimum(self.low, other.low),
            jnp.maximum(self.high, other.high),
        )


def _bins(edges: jax.Array, x_HN: jax.Array) -> jax.Array:
    """How many of a unit's edges lie below each value, by halving: 2^n - 1 edges take n steps.

    jnp.searchsorted under vmap gives the same in twice the time.
    """
    units, inner = edges.shape
    first = jnp.arange(units)[:, None] * inner
    below = jnp.zeros(x_HN.shape, jnp.int32)
    step = (inner + 1) // 2
    while step:
        here = edges.reshape(-1)[first + below + step - 1]
        below = jnp.where(x_HN > here, below + step, below)
        step //= 2
    return below


class Statistics(NamedTuple):
    """Everything that one pass over one site accumulates."""

    centre: jax.Array  # (H,) subtracted before sums are taken
    scale: jax.Array  # (H,) and divided by
    moments: Moments  # of every label and number
    histogram: Histogram  # of every class

    @staticmethod
    def init(pilot: np.ndarray, folds: int, classes: int, numbers: int) -> Statistics:
        """pilot: (rows, H) states that say where the values lie."""
        edges = np.quantile(pilot, np.arange(1, BINS) / BINS, axis=0).T
        scale = pilot.std(0)
        return Statistics(
            jnp.asarray(pilot.mean(0)),
            jnp.asarray(np.where(scale > 0, scale, 1)),
            Moments.init(folds, 1 + classes + numbers, pilot.shape[1]),
            Histogram.init(edges, folds, 1 + classes),
        )

    def update(self, x_NH: jax.Array, y_NK: jax.Array, fold_N: jax.Array) -> Statistics:
        """y: (N, K) int32, classes and then numbers, without the leading 1."""
        y_NK = jnp.concatenate([jnp.ones_like(y_NK[:, :1]), y_NK], 1)
        classes = self.histogram.counts.shape[-1]
        return self._replace(
            moments=self.moments.update((x_NH - self.centre) / self.scale, y_NK, fold_N),
            histogram=self.histogram.update(x_NH, y_NK[:, :classes], fold_N),
        )

    def merge(self, other: Statistics) -> Statistics:
        return self._replace(
            moments=self.moments.merge(other.moments),
            histogram=self.histogram.merge(other.histogram),
        )

    def finalize(self) -> Summary:
        moments, histogram = self.moments, self.histogram
        return Summary(
            np.asarray(self.centre, np.float64),
            np.asarray(self.scale, np.float64),
            moments.y.value(),
            moments.yy.value(),
            moments.yx.value(),
            moments.yxx.value(),
            np.asarray(histogram.edges, np.float64),
            np.asarray(histogram.counts),
            np.asarray(histogram.low, np.float64),
            np.asarray(histogram.high, np.float64),
        )


update = jax.jit(Statistics.update, donate_argnums=0)


class Summary(NamedTuple):
    """Finished statistics of one site, in host float64. K counts the leading 1."""

    centre: np.ndarray  # (H,)
    scale: np.ndarray  # (H,)
    y: np.ndarray  # (F, 1 + classes + numbers)
    yy: np.ndarray
    yx: np.ndarray  # (F, 1 + classes + numbers, H), of the centred and scaled x
    yxx: np.ndarray
    edges: np.ndarray  # (H, Q - 1)
    counts: np.ndarray  # (H, F, Q, 1 + classes)
    low: np.ndarray  # (H,)
    high: np.ndarray  # (H,)

    def density(self, unit: int, label: int, folds, bars: int) -> tuple[np.ndarray, ...]:
        """Share of the bytes in equal bars over the unit's range: (borders, on, off).

        label: counted from 1; 0 is every byte. The range is that of 99.8% of the values; what lies
        outside goes to the outermost bars. A quantile bin is spread evenly over its width. A side
        that has no byte is all zeros.
        """
        counts = self.counts[unit, folds].sum(0).astype(float)
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
