"""Neurons x concepts: the figures of every neuron for every concept, from one pass over the states.

A class is scored by the AUC (the probability that a position in the class has a higher value than
another, ties counting half), Cohen's d, the correlation and mutual information; a number by the
correlation. What is not defined (a class without a position, a neuron that never moves) is NaN.
"""

# P splits (train, dev, test), K concepts (classes, then numbers), N neurons over all sites

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probing.evidence import measures
from probing.evidence.measures import or_nan
from probing.states.statistics import TEST, Summary
from probing.tasks.labelled import SPLITS

CHUNK = 256  # neurons scored at once
ROUNDING = 1e-10  # of the mean square: a smaller variance is what float32 sums leave of none


@dataclass(frozen=True)
class Scores:
    """Figures of every neuron for every concept, in each split; NaN where they are not defined."""

    auc: np.ndarray  # (P, N, K) of classes: P(value in the class > value outside); else NaN
    auc_bound: np.ndarray  # (P, N, K) the exact AUC differs by no more: half the tied mass
    cohen_d: np.ndarray  # (P, N, K) of classes
    correlation: np.ndarray  # (P, N, K) Pearson, of classes and numbers
    information: np.ndarray  # (P, N, K) of classes: mutual information in bits
    auc_low: np.ndarray  # (N, K) 95% interval of the test AUC, documents drawn anew
    auc_high: np.ndarray  # (N, K)
    n_on: np.ndarray  # (P, K) labelled positions in the class; for a number, all
    n_off: np.ndarray  # (P, K) the other positions; for a number, 0

    def __post_init__(self) -> None:
        for array in vars(self).values():
            array.flags.writeable = False


def scores(summary: Summary, classes: int) -> Scores:
    """Figures from the statistics of one site. The first label counts every row."""
    parts = [
        _from_counts(summary.counts[start : start + CHUNK])
        for start in range(0, len(summary.counts), CHUNK)
    ]
    area, bound, information, low, high = (
        np.concatenate(part, -2) for part in zip(*parts, strict=True)
    )
    d, correlation = _from_moments(summary.by_split())
    y = summary.by_split().y
    on, every = y[:, 1 : 1 + classes], y[:, :1]
    numbers = y.shape[1] - 1 - classes
    for_numbers = np.tile(every, numbers)

    def padded(part: np.ndarray) -> np.ndarray:
        undefined = np.full((*part.shape[:-1], numbers), np.nan)
        return np.concatenate([part, undefined], -1)

    return Scores(
        padded(area),
        padded(bound),
        padded(d[..., :classes]),
        correlation,
        padded(information),
        padded(low),
        padded(high),
        np.concatenate([on, for_numbers], 1).round().astype(np.int64),
        np.concatenate([every - on, 0 * for_numbers], 1).round().astype(np.int64),
    )


def join(parts: Sequence[Scores]) -> Scores:
    """The scores of several sites along one axis of neurons."""

    def together(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts], -2)

    whole = {"n_on": parts[0].n_on, "n_off": parts[0].n_off}
    return Scores(**{n: together(n) for n in vars(parts[0]) if n not in whole}, **whole)


def _from_counts(counts: np.ndarray) -> tuple[np.ndarray, ...]:
    """AUC, bound and information (P, N, classes), ends of the interval (N, classes)."""
    counts = counts.transpose(1, 0, 3, 2)  # (slots, N, 1 + classes, bins)
    on = counts[:, :, 1:]
    off = counts[:, :, :1] - on
    splits = np.arange(len(SPLITS))
    whole = [np.add.reduceat(side, splits, 0, dtype=np.int64) for side in (on, off)]
    return (
        *measures.auc(*whole),
        measures.mutual_information(*whole),
        *measures.auc_interval(on[TEST:], off[TEST:]),
    )


def _from_moments(summary: Summary) -> tuple[np.ndarray, np.ndarray]:
    """Cohen's d (of the pooled within-class deviation) and Pearson's r, both (P, N, K)."""
    n = or_nan(summary.y[:, None, :1])  # (P, 1, 1)
    y = summary.y[:, None, 1:]  # (P, 1, K)
    yy = summary.yy[:, None, 1:]
    x, xx, yx, yxx = (
        np.moveaxis(part, 1, 2)  # (P, N, 1) and (P, N, K)
        for part in (
            summary.yx[:, :1],
            summary.yxx[:, :1],
            summary.yx[:, 1:],
            summary.yxx[:, 1:],
        )
    )
    covariance = yx / n - x / n * (y / n)
    variance_x, variance_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    variance_x = np.where(variance_x > ROUNDING * xx / n, variance_x, 0)
    variance_y = np.where(variance_y > ROUNDING * yy / n, variance_y, 0)
    correlation = covariance / or_nan(np.sqrt(variance_x * variance_y))
    on, off = or_nan(y), or_nan(n - y)
    mean_on, mean_off = yx / on, (x - yx) / off
    within = (yxx - y * mean_on**2) + (xx - yxx - (n - y) * mean_off**2)
    within = np.where(within > ROUNDING * xx, within, 0)
    d = (mean_on - mean_off) / or_nan(np.sqrt(within / np.where(n > 2, n - 2, np.nan)))
    return d, correlation
