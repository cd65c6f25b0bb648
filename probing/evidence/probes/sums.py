"""Sums over rows, per fold: all that ridge, LDA and the diagonal Gaussian need of the data.

Kept in float64, so that a fold is left out by subtraction.
"""

# N rows, F folds, H features, T targets (of classes: 1 for the row's own class, else 0)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mlstm.errors import InputError


@dataclass(frozen=True)
class FoldSums:
    """Sums over the rows of each fold, float64. Parts of the data add: `a + b`."""

    n: np.ndarray  # (F,)
    x: np.ndarray  # (F, H)
    xx: np.ndarray | None  # (F, H, H): X'X; the Gaussian does without it
    y: np.ndarray  # (F, T)
    yy: np.ndarray  # (F, T): of y²
    xy: np.ndarray  # (F, H, T): X'Y
    xxy: np.ndarray  # (F, H, T): (X²)'Y

    def __post_init__(self):
        if self.xy.ndim != 3:
            raise InputError(f"sums X'Y have shape {self.xy.shape}, not (folds, features, targets)")
        F, H, T = self.xy.shape
        shapes = {
            "n": (F,),
            "x": (F, H),
            "xx": (F, H, H),
            "y": (F, T),
            "yy": (F, T),
            "xxy": (F, H, T),
        }
        for name, shape in shapes.items():
            if name == "xx" and self.xx is None:
                continue
            if getattr(self, name).shape != shape:
                raise InputError(f"sums {name} have shape {getattr(self, name).shape}, not {shape}")
            if getattr(self, name).dtype != np.float64:
                raise InputError(f"sums {name} are {getattr(self, name).dtype}, not float64")

    @staticmethod
    def of(
        X: np.ndarray, Y: np.ndarray, folds: np.ndarray, count: int, gram: bool = True
    ) -> FoldSums:
        """X: (N, H), Y: (N, T), folds: (N,) in [0, count). Without `gram` no X'X."""
        parts: list[tuple[Any, ...]] = []
        for fold in range(count):
            here = folds == fold
            x, y = X[here].astype(np.float64), Y[here].astype(np.float64)
            parts.append(
                (
                    np.float64(len(x)),
                    x.sum(0),
                    x.T @ x if gram else None,
                    y.sum(0),
                    (y * y).sum(0),
                    x.T @ y,
                    (x * x).T @ y,
                )
            )
        sums: Any = (None if a[0] is None else np.stack(a) for a in zip(*parts, strict=True))
        return FoldSums(*sums)

    @property
    def folds(self) -> int:
        return len(self.n)

    def __add__(self, other: FoldSums) -> FoldSums:
        return self._map(np.add, other)

    def all(self) -> FoldSums:
        """All rows, as one fold."""
        return self._map(lambda a: a.sum(0, keepdims=True))

    def only(self, fold: int) -> FoldSums:
        """The rows of that fold, as one fold."""
        return self._map(lambda a: a[fold : fold + 1])

    def without(self, fold: int) -> FoldSums:
        """The rows of the other folds, as one fold: all of them less that fold's."""
        return self._map(lambda a: a.sum(0, keepdims=True) - a[fold : fold + 1])

    def _map(self, function: Callable[..., np.ndarray], *others: FoldSums) -> FoldSums:
        arrays: list[list[Any]] = [
            [getattr(sums, f.name) for f in fields(self)] for sums in (self, *others)
        ]
        sums: Any = (None if a[0] is None else function(*a) for a in zip(*arrays, strict=True))
        return FoldSums(*sums)


def one_hot(places: np.ndarray, classes: int) -> np.ndarray:
    """(N, K) float64 from places (N,) in the classes."""
    return (places[:, None] == np.arange(classes)).astype(np.float64)
