"""The sentiment protocol of Radford et al. (2017), as their released code runs it.

A document is cleaned (`cleaning="openai"`) and read from the zero state; its features are the raw
cell state after its last byte (no tanh, though the paper speaks of one). A logistic regression
with an L1 penalty is fitted on train for each C in 2^-8 ... 2^0 (liblinear, an intercept that is
penalised with the weights, features as they are); the C of the best accuracy on dev is taken, the
smallest of equals; the fit is repeated on train alone, dev is not added; and test is scored once.
The single neuron is that of the largest absolute weight; its threshold is the one of the best
accuracy on train. `radford_controls` puts beside both what the published protocol does not have.
"""

# N documents, H units

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from mlstm.errors import InputError, check_one
from mlstm.model import sites as model_sites
from mlstm.output import to_json, write_whole
from mlstm.trained import Model
from probing.evidence.controls import untrained_twin
from probing.evidence.surface import SurfaceModel
from probing.protocols.radford_controls import Comparison, compare
from probing.protocols.sparse_regression import fit_l1
from probing.tasks.labelled import SPLITS, LabelledData

FORMAT_VERSION = 1
GRID = tuple(2.0**k for k in range(-8, 1))
CLEANING = "openai"
SEED = 42  # that of the released code
USUAL = "most frequent label"
EXAMPLES = 50  # how many wrong answers the report keeps of each kind

Parts = dict[str, np.ndarray]  # of train, dev and test


@dataclass(frozen=True)
class Mistake:
    """A test document that was told wrongly."""

    text: str
    label: str
    score: float  # P(positive) of the probe, or the neuron's value beyond its threshold


@dataclass(frozen=True)
class Threshold:
    """A one-neuron classifier: positive where direction * value > direction * threshold."""

    value: float
    direction: int
    accuracy: float  # on the values it was chosen on


@dataclass(frozen=True)
class RadfordReport:
    """What the protocol finds."""

    model: str
    site: str
    data: str
    positive: str
    documents: dict[str, int]
    majority: float  # accuracy on test of the most frequent train label
    grid: dict[float, float]  # C: accuracy on dev
    C: float
    nonzero: int  # weights that are not zero
    train: float  # accuracies of the full probe
    dev: float
    test: float
    neuron: str
    weight: float
    threshold: Threshold
    neuron_test: float  # accuracy of the single neuron
    weights: np.ndarray  # (H,)
    values: np.ndarray  # (N test,) of the single neuron
    labels: np.ndarray  # (N test,) bool: positive
    curve: tuple[tuple[int, float, float], ...]  # labelled examples, mean test accuracy, its sd
    mistakes: tuple[Mistake, ...]  # of the full probe, the surest first
    neuron_mistakes: tuple[Mistake, ...]
    comparisons: tuple[Comparison, ...] = ()  # of all neurons, then of the neuron; or none

    def to_json(self) -> str:
        """The figures, weights and values as lists."""
        plain = asdict(self) | {
            "format_version": FORMAT_VERSION,
            "kind": "radford",
            "grid": {str(C): accuracy for C, accuracy in self.grid.items()},
            "weights": self.weights.tolist(),
            "values": self.values.tolist(),
            "labels": self.labels.tolist(),
        }
        return to_json(plain)

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    def __str__(self) -> str:
        sizes = ", ".join(f"{self.documents[s]:,} {s}" for s in SPLITS)
        lines = [
            f"{self.positive} or not, from {self.site} after the last byte of {self.model}",
            f"documents of {self.data}: {sizes}",
            f"{'':24}{'train':>8}{'dev':>8}{'test':>8}",
            f"{'all neurons, L1':24}{self.train:8.4f}{self.dev:8.4f}{self.test:8.4f}"
            f"   C = {self.C:g}, {self.nonzero} of {len(self.weights)} weights are not zero",
            f"{'neuron ' + self.neuron:24}{self.threshold.accuracy:8.4f}{'':8}"
            f"{self.neuron_test:8.4f}   weight {self.weight:+.3f}, threshold "
            f"{self.threshold.value:+.4f} chosen on train",
            f"{'most frequent label':24}{'':16}{self.majority:8.4f}",
            *self._baselines(),
            "labelled examples, test accuracy (sd over draws): "
            + ", ".join(f"{n:,}: {mean:.3f} ({sd:.3f})" for n, mean, sd in self.curve),
            *map(str, self.comparisons),
        ]
        return "\n".join(lines)

    def _baselines(self) -> list[str]:
        named = {name: test for each in self.comparisons for name, test in each.beside.items()}
        named.pop(USUAL, None)
        return [f"{name:40}{test:8.4f}" for name, test in named.items()]


def radford(
    model: Model,
    data: LabelledData,
    *,
    site: str | None = None,
    draws: int = 5,
    controls: bool = True,
    twin_seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> RadfordReport:
    """Run the protocol on documents with one class and its opposite.

    site: the model's primary site if None. draws: subsets of train for each point of the curve of
    accuracy against labelled examples. controls: put a surface model and a twin of `twin_seed`
    beside it. InputError for labels that are not of whole documents, or not of two values.
    """
    check_one(model)
    if data.unit != "document" or len(data.classes) != 1:
        raise InputError(
            f"task {data.task}: this protocol takes documents of two kinds; these labels are of "
            f"{data.unit}s, with classes {', '.join(data.classes) or 'none'}"
        )
    data.check_labels()
    site = site or model_sites.primary(model.config)
    y, texts, tests = {}, {}, []
    for split in SPLITS:
        tests = [i for i in data.indices(split) if len(data.labels(i).positions)]
        texts[split] = [data.documents[i].data for i in tests]
        y[split] = np.array([data.labels(i).classes[-1, 0] for i in tests], bool)
        if len(np.unique(y[split])) < 2:
            raise InputError(f"{data.origin}: the {split} documents are all of one kind")
    cleaning = "none" if data.cleaning == CLEANING else CLEANING
    every = sum(map(len, texts.values())) * (2 if controls else 1)
    done = 0

    def features(of: Model) -> Parts:
        nonlocal done
        X = {}
        for split in SPLITS:
            X[split] = of.encode(texts[split], site=site, cleaning=cleaning)
            done += len(texts[split])
            if progress:
                progress(done, every)
        return X

    X = features(model)
    found = _fit(X, y)
    unit, threshold = found.unit, found.threshold
    values = X["test"][:, unit]
    beyond = threshold.direction * (values - threshold.value)
    chance = found.probe.predict_proba(X["test"])[:, 1]
    usual = y["train"].mean() >= 0.5
    comparisons = ()
    if controls:
        twin_X = features(untrained_twin(model, twin_seed))
        twin = _fit(twin_X, y)
        surface = SurfaceModel(SEED).fit_classifier(data)
        ends = np.cumsum(data.counts[tests]) - 1  # the label of a document is its last
        told = surface.told(data, tests)[ends] == data.classes[0]
        read = {"surface model": told == y["test"]}
        nothing = {USUAL: y["test"] == usual}
        own = _right(found, X, y), _right(twin, twin_X, y)
        names = "all neurons", f"neuron {site}[{unit}]"
        twins = "twin with random weights", f"its neuron {site}[{twin.unit}]"
        comparisons = tuple(
            compare(name, own[0][k], {**read, twins[k]: own[1][k], **nothing}, data.hashes[tests])
            for k, name in enumerate(names)
        )
    return RadfordReport(
        model=model.origin,
        site=site,
        data=data.origin,
        positive=data.classes[0],
        documents={split: len(y[split]) for split in SPLITS},
        majority=float((y["test"] == usual).mean()),
        grid=found.grid,
        C=found.C,
        nonzero=int(np.count_nonzero(found.weights)),
        train=float(found.probe.score(X["train"], y["train"])),
        dev=float(found.probe.score(X["dev"], y["dev"])),
        test=float(found.probe.score(X["test"], y["test"])),
        neuron=f"{site}[{unit}]",
        weight=float(found.weights[unit]),
        threshold=threshold,
        neuron_test=float(((beyond > 0) == y["test"]).mean()),
        weights=found.weights,
        values=values,
        labels=y["test"],
        curve=_curve(X, y, found.C, draws),
        mistakes=_mistakes(texts["test"], y["test"], chance, 0.5, data),
        neuron_mistakes=_mistakes(texts["test"], y["test"], beyond, 0.0, data),
        comparisons=comparisons,
    )


class _Fit(NamedTuple):
    """What the protocol chooses, on train and dev."""

    grid: dict[float, float]
    C: float
    probe: LogisticRegression
    unit: int
    threshold: Threshold

    @property
    def weights(self) -> np.ndarray:
        return self.probe.coef_[0]


def _fit(X: Parts, y: Parts) -> _Fit:
    grid = {}
    for nth, C in enumerate(GRID):
        grid[C] = float(fit_l1(X["train"], y["train"], C, SEED + nth).score(X["dev"], y["dev"]))
    C = max(GRID, key=lambda C: (grid[C], -C))
    probe = fit_l1(X["train"], y["train"], C, SEED + len(GRID))
    unit = int(np.argmax(np.abs(probe.coef_[0])))
    return _Fit(grid, C, probe, unit, best_threshold(X["train"][:, unit], y["train"]))


def _right(found: _Fit, X: Parts, y: Parts) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool: whether all neurons, and the single one, tell each test document rightly."""
    above = found.threshold.direction * (X["test"][:, found.unit] - found.threshold.value) > 0
    return np.equal(found.probe.predict(X["test"]), y["test"]), np.equal(above, y["test"])


def best_threshold(values: np.ndarray, labels: np.ndarray) -> Threshold:
    """The threshold and direction of the best accuracy on (N,) values: midway between two values
    that follow each other, or beyond them all. The lowest of equals."""
    order = np.argsort(values, kind="stable")
    x, y = values[order].astype(float), labels[order].astype(int)
    borders = np.append(True, np.diff(x) > 0)  # a threshold below x[i] parts the values there
    above = y.sum() - np.concatenate([[0], np.cumsum(y)])  # positives at or beyond place i
    below = np.concatenate([[0], np.cumsum(1 - y)])  # negatives before it
    right = above + below
    allowed = np.append(borders, True)
    places = np.concatenate([[x[0] - 1], (x[1:] + x[:-1]) / 2, [x[-1] + 1]])
    found = []
    for direction, correct in ((1, right), (-1, len(y) - right)):
        place = int(np.argmax(np.where(allowed, correct, -1)))
        found.append(Threshold(float(places[place]), direction, correct[place] / len(y)))
    return max(found, key=lambda threshold: threshold.accuracy)


def _curve(X: dict, y: dict, C: float, draws: int) -> tuple[tuple[int, float, float], ...]:
    """Test accuracy with the chosen C on seeded subsets of train: powers of two from 16 on."""
    sizes = [1 << k for k in range(4, 31) if 1 << k < len(y["train"])]
    points = []
    for size in sizes:
        scores = []
        for draw in range(draws):
            chosen = np.random.default_rng([SEED, draw]).permutation(len(y["train"]))[:size]
            if len(np.unique(y["train"][chosen])) < 2:
                continue
            probe = fit_l1(X["train"][chosen], y["train"][chosen], C, SEED)
            scores.append(probe.score(X["test"], y["test"]))
        if scores:
            points.append((size, float(np.mean(scores)), float(np.std(scores))))
    return tuple(points)


def _mistakes(
    texts: list[bytes],
    labels: np.ndarray,
    scores: np.ndarray,
    border: float,
    data: LabelledData,
) -> tuple[Mistake, ...]:
    wrong = np.flatnonzero((scores > border) != labels)
    wrong = wrong[np.argsort(-np.abs(scores[wrong] - border), kind="stable")]
    other = data.otherwise or f"not {data.classes[0]}"
    return tuple(
        Mistake(
            texts[i].decode("utf-8", "replace"),
            data.classes[0] if labels[i] else other,
            float(scores[i]),
        )
        for i in wrong[:EXAMPLES]
    )
