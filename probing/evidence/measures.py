"""How well a value tells a class, from counts per bin: AUC, its interval, mutual information."""

# F folds, Q bins

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

COARSE = 16  # bins of mutual information: its bias grows with them


def auc(on: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC and its error bound from counts per bin (..., Q) in ascending order of value.

    Equals the Mann-Whitney U / (n_on n_off) of the values to within the bound: pairs in one bin
    count half, and at worst all of them lie on one side. NaN where a class has no row.
    """
    on, off = np.asarray(on, np.float64), np.asarray(off, np.float64)
    below = np.cumsum(off, -1) - off
    pairs = or_nan(on.sum(-1) * off.sum(-1))
    tied = (on * off).sum(-1) / 2
    return ((on * below).sum(-1) + tied) / pairs, tied / pairs


def auc_interval(on: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% interval of the AUC of all folds together, from counts (F, ..., Q): low, high.

    The jackknife that leaves out one fold of documents at a time (Efron and Tibshirani 1993, ch.
    11), with the t quantile of F - 1; folds without a row are none. Documents are drawn anew, bytes
    of one document are not. NaN where a class is in fewer than two folds.
    """
    full = (on + off).reshape(len(on), -1).any(1)
    on, off = on[full].astype(np.float64), off[full].astype(np.float64)
    all_on, all_off = on.sum(0), off.sum(0)
    folds = len(on)
    area, _ = auc(all_on, all_off)
    if folds < 2:
        return np.full_like(area, np.nan), np.full_like(area, np.nan)
    without = np.stack([auc(all_on - a, all_off - b)[0] for a, b in zip(on, off, strict=True)])
    error = np.sqrt((folds - 1) * without.var(0))
    reach = stdtrit(folds - 1, 0.975) * error
    return np.clip(area - reach, 0, 1), np.clip(area + reach, 0, 1)


def cohen_d(values: np.ndarray, on: np.ndarray) -> float:
    """Of values (n,) for an (n,) bool, by the pooled deviation within the sides; NaN where it is
    not defined."""
    sides = [np.asarray(values[side], np.float64) for side in (on, ~on)]
    if len(values) < 3 or not all(map(len, sides)):
        return float("nan")
    within = sum(((side - side.mean()) ** 2).sum() for side in sides) / (len(values) - 2)
    return float((sides[0].mean() - sides[1].mean()) / np.sqrt(within)) if within else float("nan")


def mutual_information(on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Bits that the bin of a value tells of the class, from counts (..., Q).

    Of COARSE bins, each of as many of the Q; less the bias of the counts (Miller 1955), and never
    below 0. NaN where a class has no row.
    """
    coarse = (*on.shape[:-1], COARSE, on.shape[-1] // COARSE)
    joint = np.stack([part.reshape(coarse).sum(-1) for part in (on, off)], -2).astype(np.float64)
    n = joint.sum((-2, -1))
    undefined = (joint.sum(-1) == 0).any(-1)
    sides, bins = joint.sum(-1), joint.sum(-2)
    filled = [
        np.count_nonzero(part, -1) for part in (sides, bins, joint.reshape(*n.shape, 2 * COARSE))
    ]
    plugin = _entropy(sides) + _entropy(bins) - _entropy(joint.reshape(*n.shape, 2 * COARSE))
    bias = (filled[2] - filled[0] - filled[1] + 1) / (2 * np.log(2) * or_nan(n))
    return np.where(undefined, np.nan, np.maximum(plugin - bias, 0))


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Of counts along the last axis, in bits."""
    shares = counts / or_nan(counts.sum(-1, keepdims=True))
    return -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(-1)


def or_nan(divisor: np.ndarray) -> np.ndarray:
    """0 becomes NaN, so that a quotient by it is NaN without a warning."""
    return np.where(divisor == 0, np.nan, divisor)
