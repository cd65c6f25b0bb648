"""The direction of a concept among all neurons, and in how many of them it lies.

Legend: n rows, P neurons of all sites, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

from probing.evidence.probes.linear import deviations
from probing.plasticity.neurons import areas
from probing.plasticity.rows import Kept

PENALTY = 0.01
"""Of ridge regression, in the variance of a neuron: the same for every model that is compared."""


class Directions(NamedTuple):
    """Of each class the weights of a probe on train rows, and how well it tells test rows."""

    weights: np.ndarray  # (K, P) for neurons in standard deviations; NaN for a class without rows
    test: np.ndarray  # (K,) AUC


def directions(kept: Kept) -> Directions:
    """Ridge regression of every class on all neurons, standardised on train."""
    x, y = kept.x("train").astype(np.float64), kept.y("train").astype(np.float64)
    mean, scale = deviations(x)
    x = (x - mean) / scale
    gram = x.T @ x / len(x) + PENALTY * np.eye(x.shape[1])
    covariance = x.T @ (y - y.mean(0)) / len(x)
    weights = scipy.linalg.solve(gram, covariance, assume_a="pos").T
    told = (kept.x("test") - mean) / scale @ weights.T
    area = np.diagonal(areas(told, kept.y("test")))
    weights[(y.min(0) == y.max(0))] = np.nan
    return Directions(weights, area)


def participation(weights: np.ndarray) -> np.ndarray:
    """(K,) the participation ratio (sum w²)² / sum w⁴ of each direction (K, P): as many neurons as
    would have this spread if all had the same weight. NaN for a direction of zeros."""
    squares = weights**2
    fourth = (squares**2).sum(1)
    return np.where(fourth > 0, squares.sum(1) ** 2 / np.where(fourth > 0, fourth, 1), np.nan)


def angles(weights: np.ndarray, k: int) -> np.ndarray:
    """(K - 1,) degrees from 0 to 90 between the line of direction k and those of the others."""
    norms = np.linalg.norm(weights, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.abs(weights @ weights[k]) / (norms * norms[k])
    return np.degrees(np.arccos(np.clip(np.delete(cosines, k), 0, 1)))
