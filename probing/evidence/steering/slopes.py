"""The dose-response: a line through the scores of each prompt, and what its slope is among others.

The texts of a document's prompts are not independent, the documents are: the slope is the mean over
prompts, and its interval the jackknife over documents.
"""

# N subjects, D doses, P prompts, S samples

from __future__ import annotations

import numpy as np

from probing.evidence.claims import NOTHING, Interval
from probing.evidence.effects.comparison import p_of, percentile_of
from probing.evidence.intervals import jackknife_mean


def slopes(scores: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(N, P) least-squares slopes by dose of scores (N, D, P, S) at z (D,). Scores that are not
    numbers are left out; NaN where two doses do not remain."""
    known = np.isfinite(scores)
    y = np.where(known, scores, 0)
    x = np.broadcast_to(z[:, None, None], scores.shape[1:])

    def total(part: np.ndarray) -> np.ndarray:
        return (part * known).sum((1, 3))

    n = total(np.ones_like(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = total(x * y) - total(x) * total(y) / n
        variance = total(x * x) - total(x) ** 2 / n
        # Scores that are the same at each dose leave rounding, by which equals would be ranked; one
        # dose has no variance but such.
        rounding = 1e-12 * np.sqrt(total(x * x) * total(y * y))
        covariance = np.where(np.abs(covariance) > rounding, covariance, 0.0)
        return np.where(variance > 1e-9 * total(x * x), covariance / variance, np.nan)


def interval(values: np.ndarray, groups: np.ndarray) -> Interval:
    """The mean of (P,) values of prompts with its jackknife interval over groups (P,); NaN are left
    out."""
    known = np.isfinite(values)
    if not known.any():
        return NOTHING
    found = jackknife_mean(values[known], groups[known])
    return Interval(found.value, found.lower, found.upper)


def mean_known(values: np.ndarray, axis) -> np.ndarray:
    """The mean over axes of the values that are numbers; NaN where none is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, values, 0).sum(axis) / known.sum(axis)


def standing(own: float, others: np.ndarray, expected: int) -> tuple[float, float]:
    """Percentile of a slope among those of controls (n,), and p = (1 + as extreme) / (1 + n).

    expected: 1 or -1, the sign that counts; 0 compares sizes. One that is not a number is the least
    that can be, and as extreme as any where the slope itself is none.
    """
    size = (lambda x: x * expected) if expected else np.abs
    ours, theirs = (np.where(np.isfinite(x), size(x), -np.inf) for x in (own, others))
    return percentile_of(float(ours), theirs), p_of(float(ours), theirs)
