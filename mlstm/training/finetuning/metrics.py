"""Accuracy, F1 and Matthews' correlation with intervals, and the thresholds that make them best.

All are functions of the table of counts (true class, told class), so that the interval comes from
the tables of resampled texts: the percentile bootstrap over texts.
"""

# N texts, K classes, D draws

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlstm.classifier import BINARY, EXCLUSIVE, Labelling
from mlstm.training.finetuning.examples import has

DRAWS, LEVEL = 1000, 0.95


@dataclass(frozen=True)
class Figure:
    """A value, and the interval that holds it with a probability of LEVEL."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.lower:.4f}, {self.upper:.4f}]"


@dataclass(frozen=True)
class Measured:
    """How well labels are told. Of several labels each figure is the mean over them, and `labels`
    has those of each."""

    accuracy: Figure
    f1: Figure
    """Of the positive class; of more than two classes the mean over them (macro)."""
    mcc: Figure
    """Matthews' correlation coefficient; of more than two classes Gorodkin's (2004)."""
    texts: int
    labels: dict[str, Measured] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measured(
    labelling: Labelling, labels: np.ndarray, told: np.ndarray, seed: int = 0, draws: int = DRAWS
) -> Measured:
    """Labels as `Examples` has them, against (N, K) bool of what was told."""
    members, known = has(labelling, labels)
    draw = np.random.default_rng(seed)
    if labelling.kind in (BINARY, EXCLUSIVE):
        K = len(labelling.classes)
        cells = members.argmax(1) * K + told.argmax(1)
        return _measured(cells[:, None], K, draw, draws)
    cells = np.where(known, 2 * members + told, -1)
    whole = _measured(cells, 2, draw, draws)
    of = {
        name: _measured(cells[:, k : k + 1], 2, draw, draws)
        for k, name in enumerate(labelling.classes)
    }
    return Measured(whole.accuracy, whole.f1, whole.mcc, whole.texts, of)


def accuracy(tables: np.ndarray) -> np.ndarray:
    """The share of the texts of (..., K, K) counts that are told as they are."""
    return _over(np.trace(tables, axis1=-2, axis2=-1), tables.sum((-2, -1)))


def f1(tables: np.ndarray) -> np.ndarray:
    """Of two classes that of the second; of more the mean over those that occur, or are told. 0
    where nothing is to be found."""
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    sums = tables.sum(-1) + tables.sum(-2)
    each = _over(2 * hits, sums)
    if tables.shape[-1] == 2:
        return each[..., 1]
    return _over(each.sum(-1), (sums > 0).sum(-1))


def mcc(tables: np.ndarray) -> np.ndarray:
    """Matthews' correlation; 0 where all texts are of one class, or all are told to be."""
    total = tables.sum((-2, -1))
    true, told = tables.sum(-1), tables.sum(-2)
    hits = np.trace(tables, axis1=-2, axis2=-1)
    spread = (total**2 - (true**2).sum(-1)) * (total**2 - (told**2).sum(-1))
    return _over(hits * total - (true * told).sum(-1), np.sqrt(np.maximum(spread, 0)))


MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": accuracy,
    "f1": f1,
    "mcc": mcc,
}


def best_threshold(
    probabilities: np.ndarray, on: np.ndarray, measure: Callable[[np.ndarray], np.ndarray]
) -> float:
    """The threshold at which (n,) probabilities tell (n,) bool best: in the middle between two
    that occur; of equals the one nearest to 0.5, which it also is where there is no text."""
    values = np.unique(probabilities)
    middles = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2, [1.0]])
    thresholds = np.unique(np.append(middles[(middles >= 0) & (middles <= 1)], 0.5))
    order = np.sort(probabilities[on]), np.sort(probabilities[~on])
    below = [np.searchsorted(each, thresholds, side="left") for each in order]
    missed, right = below
    found, wrong = len(order[0]) - missed, len(order[1]) - right
    tables = np.stack([right, wrong, missed, found], -1).reshape(-1, 2, 2).astype(float)
    reached = measure(tables)
    best = thresholds[reached >= reached.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


def _measured(cells: np.ndarray, K: int, draw: np.random.Generator, draws: int) -> Measured:
    """Means over labels. cells: (N, labels), which cell of its table each text is in; -1 where it
    is not labelled so.

    To draw N texts is to draw how many there are of each kind, the kinds being the rows of `cells`.
    """
    kinds, counts = np.unique(cells, axis=0, return_counts=True)
    drawn = draw.multinomial(len(cells), counts / len(cells), draws)
    among = (kinds[..., None] == np.arange(K * K)).astype(float)  # (kinds, labels, K * K)

    def tables(of: np.ndarray) -> np.ndarray:
        """(..., kinds) counts to (..., labels, K, K)."""
        found = np.tensordot(of.astype(float), among, 1)
        return found.reshape(*found.shape[:-1], K, K)

    def figure(measure: Callable[[np.ndarray], np.ndarray]) -> Figure:
        value, values = (measure(tables(of)).mean(-1) for of in (counts, drawn))
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Figure(float(value), float(low), float(high))

    texts = int((cells >= 0).any(1).sum())
    return Measured(figure(accuracy), figure(f1), figure(mcc), texts)


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.asarray(above, float), np.asarray(below, float)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
