"""Diagnostic classifiers (Hupkes et al. 2018), as Char-RNN-Understanding put them to character
models: one probe for each hypothesis about the text, and the neuron most responsible for it.

A class is told by a logistic regression (L2), plain and with classes weighed equally; a number by a
ridge regression. Both on standardised states, the penalty chosen on dev, scored once on test. The
most responsible neuron is that of the largest absolute standardised weight; what it knows alone is
its own held-out score, with a threshold chosen on train.

Unlike the published program: real text and not the model's own samples; train, dev and test are
different documents; a label belongs to the state after its byte, not before it.
"""

# N positions, H units

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from sklearn.preprocessing import StandardScaler

from mlstm.errors import check_one
from mlstm.model import sites as model_sites
from mlstm.output import to_json, write_whole
from mlstm.trained import Model
from probing.states.arrays import arrays, sampled
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import SPLITS, LabelledData, Labels

FORMAT_VERSION = 1
CS = (0.001, 0.01, 0.1, 1.0)
ALPHAS = (1e5, 1e3, 10.0, 0.1)
SEED = 0
ZERO: Any = 0.0  # of a class that is never told; scikit-learn's annotation is narrower


@dataclass(frozen=True)
class Told:
    """How well a class is told on test."""

    accuracy: float
    precision: float
    recall: float
    f1: float

    @staticmethod
    def of(truth: np.ndarray, told: np.ndarray) -> Told:
        return Told(
            float(accuracy_score(truth, told)),
            float(precision_score(truth, told, zero_division=ZERO)),
            float(recall_score(truth, told, zero_division=ZERO)),
            float(f1_score(truth, told, zero_division=ZERO)),
        )


@dataclass(frozen=True)
class Hypothesis:
    """One concept: the probe of all neurons, and the most responsible one alone."""

    concept: str
    positives: float  # share of test positions; NaN of a number
    plain: Told | None  # None of a number, and of a class that train or test lacks
    balanced: Told | None
    always: float  # F1 of saying yes everywhere; NaN of a number
    correlation: float  # Pearson r of the probe's decision value with the label, on test
    neuron: str  # "" where nothing could be fitted
    neuron_f1: float  # of the neuron alone, threshold for F1 chosen on train; NaN of a number
    neuron_correlation: float


@dataclass(frozen=True)
class DiagnosticReport:
    """One hypothesis after the other."""

    model: str
    site: str
    data: str
    rows: dict[str, int]
    hypotheses: tuple[Hypothesis, ...]

    def to_json(self) -> str:
        return to_json({"format_version": FORMAT_VERSION, "kind": "diagnostic", **asdict(self)})

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    def __str__(self) -> str:
        sizes = ", ".join(f"{self.rows[split]:,} {split}" for split in SPLITS)
        lines = [
            f"diagnostic classifiers on {self.site} of {self.model}",
            f"positions of {self.data}: {sizes}",
            f"{'hypothesis':26}{'share':>7}{'yes F1':>8}{'F1':>7}{'bal. F1':>9}{'r':>8}"
            f"  {'neuron':12}{'F1':>7}{'r':>8}",
        ]
        for h in self.hypotheses:
            plain, balanced = (part.f1 if part else float("nan") for part in (h.plain, h.balanced))
            lines.append(
                f"{h.concept:26}{_figure(h.positives, 7)}{_figure(h.always, 8)}"
                f"{_figure(plain, 7)}{_figure(balanced, 9)}{_figure(h.correlation, 8)}"
                f"  {h.neuron or '-':12}{_figure(h.neuron_f1, 7)}"
                f"{_figure(h.neuron_correlation, 8)}"
            )
        return "\n".join(lines)


def diagnostic(
    model: Model,
    data: LabelledData,
    *,
    site: str | None = None,
    rows: int = 20_000,
    progress: Callable[[int, int], None] | None = None,
) -> DiagnosticReport:
    """Run the protocol for every concept of the data.

    site: the model's primary site if None. rows: of a seeded sample of documents, of each split
    about so many positions. progress: called with the concepts done and all of them.
    """
    check_one(model)
    data = for_model(model, data)
    data.check_labels()
    site = site or model_sites.primary(model.config)
    X: dict[str, np.ndarray] = {}
    labels: dict[str, list[Labels]] = {}
    for split in SPLITS:
        X[split] = arrays(model, data, site, split, data.concepts[0], rows=rows, seed=SEED).x
        labels[split] = [data.labels(int(i)) for i in sampled(data, split, rows, SEED)]
    scaler = StandardScaler().fit(X["train"])
    X = {split: np.asarray(scaler.transform(part)) for split, part in X.items()}
    found = []
    for nth, concept in enumerate(data.concepts):
        y = {
            split: np.concatenate([data.target(part, concept) for part in labels[split]])
            for split in SPLITS
        }
        found.append(_hypothesis(concept, X, y, site, concept in data.classes))
        if progress:
            progress(nth + 1, len(data.concepts))
    sizes = {split: len(part) for split, part in X.items()}
    return DiagnosticReport(model.origin, site, data.origin, sizes, tuple(found))


def _hypothesis(
    concept: str,
    X: dict[str, np.ndarray],
    y: dict[str, np.ndarray],
    site: str,
    is_class: bool,
) -> Hypothesis:
    nan = float("nan")
    test = y["test"]
    share = float(test.mean()) if is_class else nan
    always = 2 * share / (1 + share)
    if len(np.unique(y["train"])) < 2 or len(np.unique(test)) < 2:
        return Hypothesis(concept, share, None, None, always, nan, "", nan, nan)
    told = {}
    if is_class:
        fits = {
            weight: _best(
                [LogisticRegression(C=C, class_weight=weight, max_iter=1000) for C in CS], X, y
            )
            for weight in (None, "balanced")
        }
        told = {w: Told.of(test, fit.predict(X["test"])) for w, fit in fits.items()}
        weights = fits[None].coef_[0]
        values = fits[None].decision_function(X["test"])
    else:
        fit = _best([Ridge(alpha) for alpha in ALPHAS], X, y)
        weights, values = fit.coef_, fit.predict(X["test"])
    unit = int(np.argmax(np.abs(weights)))
    train, alone = X["train"][:, unit], X["test"][:, unit]
    f1 = nan
    if is_class:
        threshold, direction = _f1_threshold(train, y["train"])
        f1 = float(f1_score(test, direction * (alone - threshold) > 0, zero_division=ZERO))
    return Hypothesis(
        concept,
        share,
        told.get(None),
        told.get("balanced"),
        always,
        _pearson(values, test),
        f"{site}[{unit}]",
        f1,
        _pearson(alone, test),
    )


def _best(fits: list, X: dict[str, np.ndarray], y: dict[str, np.ndarray]):
    """The one that scores best on dev, the most penalised of equals."""
    for fit in fits:
        fit.fit(X["train"], y["train"])
    return max(fits, key=lambda fit: fit.score(X["dev"], y["dev"]))


def _f1_threshold(values: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """The threshold and direction of the best F1: what lies beyond is told to be of the class."""
    found = []
    for direction in (1, -1):
        order = np.argsort(-direction * values, kind="stable")
        x, y = values[order], labels[order]
        hits, told = np.cumsum(y), np.arange(1, len(y) + 1)
        f1 = 2 * hits / (told + y.sum())
        f1[:-1][x[1:] == x[:-1]] = -1  # a threshold does not part equal values
        place = int(np.argmax(f1))
        after = x[place + 1] if place + 1 < len(x) else x[place] - direction
        found.append((float(f1[place]), float((x[place] + after) / 2), direction))
    _, threshold, direction = max(found, key=lambda one: one[0])
    return threshold, direction


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else float("nan")


def _figure(value: float, width: int) -> str:
    return f"{'-' if np.isnan(value) else f'{value:.3f}':>{width}}"
