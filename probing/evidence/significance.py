"""Significance over all neurons that were tried: the null distribution of the largest statistic.

The statistic is the standardised mean difference of a class, |mean on - mean off| / sd, and |r| of
a number; both from sums that one pass accumulates for the labels and for every permutation.
"""

# N rows, H units, R draws, K concepts; the first of 1 + R columns are the true labels.
# Where there is one concept, the axis K may be left out everywhere.

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class NullSums:
    """Sums of states beside the true labels and R permutations, in host float64. Merge is a sum."""

    n: float
    x: np.ndarray  # (H,)
    xx: np.ndarray  # (H,)
    y: np.ndarray  # (1 + R, K)
    yy: np.ndarray  # (1 + R, K)
    yx: np.ndarray  # (1 + R, K, H)

    @staticmethod
    def init(draws: int, units: int, concepts: int | None = None) -> NullSums:
        """concepts: K, or None for labels without that axis."""
        columns = (1 + draws,) if concepts is None else (1 + draws, concepts)
        few, many = np.zeros(units), np.zeros(columns)
        return NullSums(0.0, few, few, many, many, np.zeros((*columns, units)))

    @staticmethod
    def nbytes(draws: int, units: int, concepts: int = 1) -> int:
        return 8 * ((1 + draws) * concepts * (units + 2) + 2 * units)

    def update(self, x_NH: jax.Array, y_NR: np.ndarray, counted: np.ndarray) -> NullSums:
        """y: (N, 1 + R, K) float32, zero where a row is not counted; counted: (N,) bool."""
        flat = y_NR.reshape(len(y_NR), -1)
        x, xx, yx = (np.asarray(part, np.float64) for part in _products(x_NH, flat, counted))
        y = y_NR.astype(np.float64)
        return NullSums(
            self.n + np.count_nonzero(counted),
            self.x + x,
            self.xx + xx,
            self.y + y.sum(0),
            self.yy + (y * y).sum(0),
            self.yx + yx.reshape(self.yx.shape),
        )

    def merge(self, other: NullSums) -> NullSums:
        return replace(
            self, **{name: value + getattr(other, name) for name, value in vars(self).items()}
        )

    def statistics(self, is_class: bool | np.ndarray) -> np.ndarray:
        """(1 + R, K, H): the statistic of every unit, with the true labels and with each draw. 0
        where a unit or the labels do not vary. is_class: of each concept (K,), or of all."""
        mean_y, mean_x = self.y[..., None] / self.n, self.x / self.n
        covariance = self.yx / self.n - mean_y * mean_x
        spread_x = np.sqrt(np.maximum(self.xx / self.n - mean_x**2, 0))
        variance_y = np.maximum(self.yy / self.n - mean_y[..., 0] ** 2, 0)
        # p (1 - p) is the variance of a class
        spread_y = np.where(is_class, variance_y, np.sqrt(variance_y))
        scale = spread_y[..., None] * spread_x
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(scale > 0, np.abs(covariance) / scale, 0.0)


@jax.jit
def _products(x_NH, y_NR, counted):
    x_NH = jnp.where(counted[:, None], x_NH, 0)
    yx = jnp.matmul(y_NR.T, x_NH, precision="highest")
    return x_NH.sum(0), (x_NH * x_NH).sum(0), yx


def max_statistic_p(observed: float | np.ndarray, largest: np.ndarray) -> np.ndarray:
    """p = (1 + draws as extreme) / (1 + draws), against the largest statistics of the draws.

    observed (...) against largest (R,), or (..., K) against (R, K), each concept its own. NaN
    observed has p NaN; a largest of NaN counts as extreme.
    """
    observed = np.asarray(observed, np.float64)
    by_concept = observed if largest.ndim == 2 else observed[..., None]
    ordered = np.sort(largest.reshape(len(largest), -1), axis=0)
    least = by_concept * (1 - 1e-6)  # as equal as float32 tells
    below = np.stack(
        [np.searchsorted(ordered[:, k], least[..., k]) for k in range(ordered.shape[1])], -1
    )
    p = (1 + len(largest) - below) / (1 + len(largest))
    return np.where(np.isnan(by_concept), np.nan, p).reshape(observed.shape)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """(m,) q values: the false discovery rate at which each is found (Benjamini and Hochberg
    1995). NaN stays NaN and is not counted."""
    q = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    order = np.argsort(p[known])
    ranked = p[known][order] * known.sum() / np.arange(1, known.sum() + 1)
    lowest = np.minimum.accumulate(ranked[::-1])[::-1].clip(max=1)
    found = np.empty(len(order))
    found[order] = lowest
    q[known] = found
    return q
