"""Responses at many places: their medians with intervals, and their half-lives."""

# L steps after a push, M places

from __future__ import annotations

import numpy as np

DRAWS = 400
LEVEL = 0.95


def half_lives(response: np.ndarray) -> tuple[np.ndarray, float]:
    """(M,) steps after which |response| is at most half, by a line between two steps; infinite
    where it never is; and the share of these."""
    size = np.abs(response)
    below = size <= 0.5
    first = np.where(below.any(0), below.argmax(0), len(size))
    t = np.clip(first, 1, len(size) - 1)
    columns = np.arange(size.shape[1])
    high, low = size[t - 1, columns], size[t, columns]
    at = t - 1 + (high - 0.5) / np.where(high > low, high - low, 1)
    half = np.where(first == 0, 0.0, np.where(first == len(size), np.inf, at))
    return half, float(np.mean(np.isinf(half)))


def medians(values: np.ndarray, document: np.ndarray, seed: int) -> np.ndarray:
    """(L, 3) median over places (L, M), and its interval by a bootstrap of whole documents."""
    draw, names = np.random.default_rng(seed), np.unique(document)
    rows = [np.flatnonzero(document == name) for name in names]
    found = []
    for _ in range(DRAWS if len(names) > 1 else 0):
        drawn = np.concatenate([rows[k] for k in draw.integers(len(rows), size=len(rows))])
        found.append(np.median(values[:, drawn], axis=1))
    middle = np.median(values, axis=1)
    if not found:
        return np.stack([middle, np.full_like(middle, np.nan), np.full_like(middle, np.nan)], 1)
    share = (1 - LEVEL) / 2
    # Of draws as they are: between an infinite half-life and another there is no number.
    low, high = np.quantile(found, [share, 1 - share], axis=0, method="nearest")
    return np.stack([middle, low, high], 1)
