"""Significance over all neurons that were tried: the null distribution of the largest statistic.

The statistic is the standardised mean difference of a class, |mean on - mean off| / sd, and |r| of
a number; both from sums that one pass accumulates for the labels and for every permutation.
"""

# N rows, H units, R draws; the first of 1 + R columns are the true labels

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
    y: np.ndarray  # (1 + R,)
    yy: np.ndarray  # (1 + R,)
    yx: np.ndarray  # (1 + R, H)

    @staticmethod
    def init(draws: int, units: int) -> NullSums:
        few, many = np.zeros(units), np.zeros(1 + draws)
        return NullSums(0.0, few, few, many, many, np.zeros((1 + draws, units)))

    @staticmethod
    def nbytes(draws: int, units: int) -> int:
        return 8 * ((1 + draws) * (units + 2) + 2 * units)

    def update(self, x_NH: jax.Array, y_NR: np.ndarray, counted: np.ndarray) -> NullSums:
        """y: (N, 1 + R) float32, zero where a row is not counted; counted: (N,) bool."""
        x, xx, yx = (np.asarray(part, np.float64) for part in _products(x_NH, y_NR, counted))
        y = y_NR.astype(np.float64)
        return NullSums(
            self.n + np.count_nonzero(counted),
            self.x + x,
            self.xx + xx,
            self.y + y.sum(0),
            self.yy + (y * y).sum(0),
            self.yx + yx,
        )

    def merge(self, other: NullSums) -> NullSums:
        return replace(
            self, **{name: value + getattr(other, name) for name, value in vars(self).items()}
        )

    def statistics(self, is_class: bool) -> np.ndarray:
        """(1 + R, H): the statistic of every unit, with the true labels and with each draw. 0
        where a unit or the labels do not vary."""
        covariance = self.yx / self.n - np.outer(self.y / self.n, self.x / self.n)
        spread_x = np.sqrt(np.maximum(self.xx / self.n - (self.x / self.n) ** 2, 0))
        variance_y = np.maximum(self.yy / self.n - (self.y / self.n) ** 2, 0)
        # p (1 - p) is the variance of a class
        scale = np.outer(variance_y if is_class else np.sqrt(variance_y), spread_x)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(scale > 0, np.abs(covariance) / scale, 0.0)


@jax.jit
def _products(x_NH, y_NR, counted):
    x_NH = jnp.where(counted[:, None], x_NH, 0)
    yx = jnp.matmul(y_NR.T, x_NH, precision="highest")
    return x_NH.sum(0), (x_NH * x_NH).sum(0), yx


def max_statistic_p(observed: float | np.ndarray, largest: np.ndarray) -> np.ndarray:
    """p = (1 + draws as extreme) / (1 + draws), against (R,) largest statistics of the draws."""
    extreme = np.asarray(observed)[..., None] * (1 - 1e-6) <= largest  # as equal as float32 tells
    return (1 + extreme.sum(-1)) / (1 + len(largest))


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
