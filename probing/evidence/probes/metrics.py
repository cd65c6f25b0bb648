"""How good predictions are, by measures that a majority class cannot flatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn import metrics
from sklearn.utils import check_consistent_length

from mlstm.errors import InputError


class ClassScore(NamedTuple):
    """How one class is told."""

    name: str
    rows: int
    precision: float  # 0 where it was never predicted
    recall: float
    f1: float


@dataclass(frozen=True)
class Metrics:
    """Measures of predictions, each beside what the most frequent class alone would give."""

    rows: int
    accuracy: float
    majority: float  # accuracy of the most frequent class
    balanced_accuracy: float  # mean recall of the classes that occur; 1/K by chance
    macro_f1: float
    mcc: float  # Matthews' correlation, of several classes Gorodkin's; 0 by chance
    classes: tuple[ClassScore, ...]  # those that occur or were predicted

    @staticmethod
    def of(y: np.ndarray, predicted: np.ndarray) -> Metrics:
        """y, predicted: (N,) classes. InputError where there are none."""
        y, predicted = np.asarray(y), np.asarray(predicted)
        check_consistent_length(y, predicted)
        if not len(y):
            raise InputError("no rows to measure predictions on; at least 1 is needed")
        present, counts = np.unique(y, return_counts=True)
        names = np.union1d(present, predicted)
        settings: Any = {"labels": names, "zero_division": 0}
        table: Any = metrics.precision_recall_fscore_support(y, predicted, **settings)
        recall = table[1][np.isin(names, present)]
        return Metrics(
            rows=len(y),
            accuracy=float(metrics.accuracy_score(y, predicted)),
            majority=float(counts.max() / len(y)),
            balanced_accuracy=float(recall.mean()),
            macro_f1=float(table[2].mean()),
            mcc=float(metrics.matthews_corrcoef(y, predicted)),
            classes=tuple(
                ClassScore(str(name), int(rows), float(p), float(r), float(f1))
                for name, p, r, f1, rows in zip(names, *table, strict=True)
            ),
        )

    def __str__(self) -> str:
        width = max(5, *(len(score.name) for score in self.classes))
        lines = [
            f"accuracy {self.accuracy:.3f} (most frequent class {self.majority:.3f}), "
            f"balanced {self.balanced_accuracy:.3f}, macro F1 {self.macro_f1:.3f}, "
            f"MCC {self.mcc:.3f}; {self.rows} rows",
            f"{'class':{width}}  {'rows':>8}  precision  recall     F1",
        ]
        lines += [
            f"{s.name:{width}}  {s.rows:>8}  {s.precision:9.3f}  {s.recall:6.3f}  {s.f1:5.3f}"
            for s in self.classes
        ]
        return "\n".join(lines)
