"""The independent judge of what a model writes: how much of a concept a text has.

It is the task's own labelling function where the task has one, and knows then what it judges. Else
it is the surface model, a classifier of character n-grams, trained on the train documents, which
people wrote; how well it tells the test documents is part of what it says. It never sees a state.
"""

# n positions

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.metrics import balanced_accuracy_score

from mlstm.errors import InputError
from probing.evidence import intervals
from probing.evidence.surface import SurfaceModel
from probing.tasks.labelled import LabelledData, LabelledDocument, Labels, every_byte, stored

ROWS = 20_000  # labelled positions that a classifier is trained on, at most
TESTED = 20_000  # and those that it is tested on

# Of a language whose words a space parts; what is no letter is a word of its own.
_WORD = re.compile(rb"[\w\x80-\xff]+|[^\w\s\x80-\xff]")


@dataclass(frozen=True)
class Judge:
    """Says of any text how much of the concept it has."""

    concept: str
    kind: str  # "labelling function" or "classifier"
    measure: str  # what a score is, in words
    tested: dict[str, float]
    """How well a classifier tells test documents: balanced accuracy, AUC with its interval, and the
    share of the most frequent value; r of a number. Empty of a function, which is exact."""
    score: Callable[[bytes, int], float] = dataclasses.field(compare=False, repr=False)

    def scores(self, texts: Sequence[bytes], starts: Sequence[int]) -> np.ndarray:
        """(texts,) float64: how much of the concept each has from its byte `start` on; what is
        before is read, and not judged. NaN where nothing in it can be judged."""
        return np.array(
            [self.score(text, start) for text, start in zip(texts, starts, strict=True)]
        )

    def plain(self) -> dict:
        """As a result has it."""
        return {
            "kind": self.kind,
            "concept": self.concept,
            "measure": self.measure,
            "tested": self.tested,
        }

    def __str__(self) -> str:
        said = ", ".join(f"{name} {value:.3f}" for name, value in self.tested.items())
        return f"{self.kind}: {self.measure}" + (f"; on test documents {said}" if said else "")


def judge_of(
    data: LabelledData,
    concept: str | None = None,
    *,
    seed: int = 0,
    rows: int = ROWS,
) -> Judge:
    """The judge of a concept of the data; needed where there are several.

    rows: of train positions for a classifier, at most, drawn by the seed; its penalty is that of
    the best accuracy on dev. InputError for an unknown concept, or a classifier of one that has one
    value in the train documents.
    """
    data = data.one(concept)
    concept, is_class = data.concepts[0], bool(data.classes)
    if data.judge:
        label = data.judge
        what = {"byte": "bytes", "token": "words", "document": "texts"}[data.unit]
        measure = f"share of {what} in the concept" if is_class else f"mean over its {what}"

        def exact(text: bytes, start: int) -> float:
            labels = label(text)
            here = (labels.starts if data.unit == "token" else labels.positions) >= start
            return _mean(data.target(labels, concept)[here])

        return Judge(concept, "labelling function", measure, {}, exact)
    surface = SurfaceModel(seed, rows)
    surface = surface.fit_classifier(data) if is_class else surface.fit(data)
    if not surface.known_[0]:
        raise InputError(
            f'{data.origin}: train documents have one value of "{concept}", and no classifier can '
            "learn it"
        )

    def classified(text: bytes, start: int) -> float:
        labels = _unlabelled(data, text, start)
        if data.unit == "document":  # on its own: it would be judged by what it goes on from
            text = text[start:]
        document = LabelledDocument("", text, stored(labels))
        values = surface.scores(dataclasses.replace(data, documents=(document,)), 0)[:, 0]
        if not is_class:
            return _mean(values)
        return _mean(expit(values) if data.unit == "document" else values > 0)

    measure = {
        "document": "probability of the concept",
        "token": "share of words told to be in the concept",
        "byte": "share of bytes told to be in the concept",
    }[data.unit]
    measure = measure if is_class else "the value that is told"
    return Judge(concept, "classifier", measure, _tested(data, surface), classified)


def _unlabelled(data: LabelledData, text: bytes, start: int) -> Labels:
    """Where a text is judged, from its byte `start` on."""
    if data.unit == "byte":
        every = every_byte(*_empty(data, len(text)))
        return Labels(*(part[start:] for part in every))
    if data.unit == "document":
        spans = [(0, len(text) - start)] if len(text) > start else []
    else:
        spans = [match.span() for match in _WORD.finditer(text) if match.start() >= start]
    starts, ends = np.array(spans, np.int32).reshape(-1, 2).T
    return Labels(ends - 1, starts, ends, *_empty(data, len(spans)))


def _empty(data: LabelledData, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((n, len(data.classes)), bool), np.zeros((n, len(data.numbers)), np.float32)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=float)) if len(values) else math.nan


def _tested(data: LabelledData, surface: SurfaceModel) -> dict[str, float]:
    """How well it tells test documents, in the order of their hashes until there are enough."""
    tests = data.indices("test")
    tests = tests[np.argsort(data.hashes[tests], kind="stable")]
    enough = int(np.searchsorted(np.cumsum(data.counts[tests]), TESTED)) + 1
    tests = tests[:enough]
    groups = np.repeat(data.hashes[tests], data.counts[tests])
    labels = [data.target(data.labels(int(i)), data.concepts[0]) for i in tests]
    if not len(groups):
        return {}
    y = np.concatenate(labels)
    values = np.concatenate([surface.scores(data, int(i))[:, 0] for i in tests])
    if not data.classes:
        r = intervals.jackknife_correlation(values, y, groups)
        return {"r": r.value, "lower": r.lower, "upper": r.upper, "positions": len(y)}
    auc = intervals.jackknife_auc(values, y, groups)
    both = 0 < y.mean() < 1
    return {
        "balanced accuracy": float(balanced_accuracy_score(y, values > 0)) if both else math.nan,
        "majority": float(max(y.mean(), 1 - y.mean())),
        "AUC": auc.value,
        "lower": auc.lower,
        "upper": auc.upper,
        "positions": len(y),
    }
