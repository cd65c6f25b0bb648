"""Figures of neurons from the AUC of each for each class."""

# P neurons, K classes

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import rankdata

FOLLOWS = 0.75
"""AUC on train and on test, in the same direction, from which on a neuron follows a class."""
NAN = float("nan")


def areas(values: np.ndarray, on: np.ndarray) -> np.ndarray:
    """(P, K) exact AUC of values (n, P) for classes (n, K) bool, ties counting half; NaN for a
    class that has no row, or all of them."""
    n, ranks = on.sum(0), rankdata(values, axis=0)
    pairs = n * (len(on) - n)
    sums = ranks.T @ on.astype(np.float64)
    return (sums - n * (n + 1) / 2) / np.where(pairs, pairs, np.nan)


def check_dead(site: str, states: np.ndarray, dead: np.ndarray) -> None:
    """A pruned unit was 0 at every row of the states (n, H). AssertionError."""
    if states[:, dead].any():
        raise AssertionError(f"{site}: a pruned unit is not 0 in the states")


def ranks(strength: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """From 0 to 1 over all sites together, ties by the mean of their ranks; NaN stays NaN."""
    whole = np.concatenate(list(strength.values()))
    known = np.isfinite(whole)
    ranks = np.full(len(whole), np.nan)
    ranks[known] = (rankdata(whole[known]) - 1) / max(1, known.sum() - 1)
    parts = np.split(ranks, np.cumsum([len(of) for of in strength.values()])[:-1])
    return dict(zip(strength, parts, strict=True))


def best(train: np.ndarray, test: np.ndarray) -> tuple[int, float]:
    """The place of the neuron that tells the concept best on train, and its AUC on test in that
    direction; -1 and NaN where none does."""
    if np.isnan(train).all():
        return -1, NAN
    place = int(np.nanargmax(np.abs(train - 0.5)))
    direction = 1 if train[place] >= 0.5 else -1
    return place, float(0.5 + direction * (test[place] - 0.5))


def followed(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(P,) how many of the classes (P, K) each neuron follows."""
    high = (train >= FOLLOWS) & (test >= FOLLOWS)
    return (high | ((train <= 1 - FOLLOWS) & (test <= 1 - FOLLOWS))).sum(1)


def mean(values: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nothing: NaN
        return float(np.nanmean(values)) if len(values) else NAN


def rounded(values: np.ndarray) -> list[float]:
    return [round(value, 6) for value in values.tolist()]
