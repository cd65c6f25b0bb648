"""Exact scores of one neuron on kept values, with jackknife intervals by document.

A leave-one-document-out score is a subtraction: of the pairs that the document has part in, or of
its sums. The interval is Student's with one degree of freedom less than there are documents
(Efron and Tibshirani 1993, chapter 11; for AUC of clustered data compare Obuchowski 1997).
"""

# n positions, D documents

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95


@dataclass(frozen=True)
class Jackknife:
    """A score, its interval, and the score without each document in turn."""

    value: float
    lower: float
    upper: float
    left_out: np.ndarray  # (D,), by rising name of the group

    @staticmethod
    def of(value: float, left_out: np.ndarray) -> Jackknife:
        """The interval is nothing (NaN) with one document, or where one holds all of a class."""
        count = len(left_out)
        if count < 2:
            return Jackknife(value, float("nan"), float("nan"), left_out)
        error = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
        reach = student.ppf((1 + LEVEL) / 2, count - 1) * error
        return Jackknife(value, float(value - reach), float(value + reach), left_out)


def jackknife_auc(values: np.ndarray, on: np.ndarray, groups: np.ndarray) -> Jackknife:
    """The AUC of (n,) values for an (n,) bool, ties counting half; groups (n,) are documents.

    U without a document is U less its pairs with all, those within it having been taken twice.
    """
    on = np.asarray(on, bool)
    of = np.unique(groups, return_inverse=True)[1]
    documents = int(of.max()) + 1 if len(of) else 0
    beaten, beating = _against(values, on, np.zeros_like(of))
    within, _ = _against(values, on, of)

    def total(part: np.ndarray) -> np.ndarray:
        return np.bincount(of, part, documents)

    whole = beaten[on].sum()
    taken = total(np.where(on, beaten, 0)) + total(np.where(on, 0, beating))
    taken -= total(np.where(on, within, 0))
    n_on, n_off = total(on), total(~on)
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (whole - taken) / ((n_on.sum() - n_on) * (n_off.sum() - n_off))
        value = whole / (n_on.sum() * n_off.sum())
    return Jackknife.of(float(value), left_out)


def _against(values: np.ndarray, on: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each position, how many off values of its group lie below it, and how many on values
    above; ties count half."""
    order = np.lexsort((values, of))
    x, group, y = values[order], of[order], on[order]
    new_group = np.append(True, group[1:] != group[:-1])
    new = new_group | np.append(True, x[1:] != x[:-1])
    block = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    result = []
    for side, above in ((~y, False), (y, True)):
        before = np.cumsum(side) - side
        first = before[np.flatnonzero(new_group)][np.cumsum(new_group) - 1]
        inside = np.add.reduceat(side.astype(float), starts)[block]
        lower = before[starts][block] - first
        if above:
            every = np.bincount(group, side)[group]
            lower = every - lower - inside
        back = np.empty(len(x))
        back[order] = lower + inside / 2
        result.append(back)
    return result[0], result[1]


def jackknife_correlation(values: np.ndarray, numbers: np.ndarray, groups: np.ndarray) -> Jackknife:
    """Pearson's r of (n,) values and (n,) numbers; groups (n,) are documents."""
    of = np.unique(groups, return_inverse=True)[1]
    documents = int(of.max()) + 1 if len(of) else 0
    x = np.asarray(values, float) - np.mean(values)
    y = np.asarray(numbers, float) - np.mean(numbers)
    sums = np.stack(
        [np.bincount(of, part, documents) for part in (np.ones(len(x)), x, y, x * x, y * y, x * y)]
    )
    left_out = _correlation(sums.sum(1, keepdims=True) - sums)
    return Jackknife.of(float(_correlation(sums.sum(1))), left_out)


def jackknife_mean(values: np.ndarray, groups: np.ndarray) -> Jackknife:
    """The mean of (n,) values: an accuracy of bools, a lead of differences; groups (n,) are
    documents."""
    of = np.unique(groups, return_inverse=True)[1]
    sums, counts = np.bincount(of, values), np.bincount(of)
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (sums.sum() - sums) / (len(of) - counts)
    return Jackknife.of(float(np.mean(values)), left_out)


def jackknife_ratio(numerators: np.ndarray, denominators: np.ndarray) -> Jackknife:
    """A ratio of sums over documents, (D,) each: what all bytes cost by how many there are."""
    above, below = float(numerators.sum()), float(denominators.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (above - numerators) / (below - denominators)
        value = np.float64(above) / below
    return Jackknife.of(float(value), left_out)


def _correlation(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.maximum(xx - x * x / n, 0) * np.maximum(yy - y * y / n, 0)
        return (xy - x * y / n) / np.sqrt(variance)


def jackknife_lead(own: Jackknife, *others: Jackknife) -> Jackknife:
    """How far a score leads the largest of others, which is chosen anew without each document.

    All over the same documents; an other that is not a number does not lead, and without any that
    is a number there is no lead (NaN).
    """
    every = np.stack([np.append(other.value, other.left_out) for other in others])
    known = np.where(np.isnan(every), -np.inf, every).max(0)
    lead = np.append(own.value, own.left_out) - np.where(np.isinf(known), np.nan, known)
    return Jackknife.of(float(lead[0]), lead[1:])
