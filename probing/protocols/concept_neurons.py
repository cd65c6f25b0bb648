"""The protocol of concept_neurons (de Carvalho, 2018): one probe for each tag, then few neurons.

Every byte of a word has the word's tag, and what lies between words is SPACE. For each tag a
logistic regression with an L1 penalty, one against the rest, on the raw cell state after each byte;
C in 2^-4 ... 2^0, chosen on validation; then refits on the 1, 2 and 3 neurons of the largest
absolute weights. The tag of a byte is that of the most probable of all its probes.

The published split draws bytes at random, so that the bytes of one word are in train and test
alike. It is run as published, and beside it the same on a split by document.
"""

# N bytes, H units, K tags

from __future__ import annotations

import dataclasses
import itertools
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_fscore_support

from mlstm.errors import InputError, check_one
from mlstm.model import sites as model_sites
from mlstm.output import to_json, write_whole
from mlstm.trained import Model
from probing.protocols.sparse_regression import fit_l1
from probing.states.arrays import arrays
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import SPLITS, LabelledData, Labels

FORMAT_VERSION = 1
GRID = tuple(2.0**k for k in range(-4, 1))
TOP = (1, 2, 3)
SPACE = "SPACE"
SEED = 1  # that of the published split
ZERO: Any = 0.0  # of a tag that is never told; scikit-learn's annotation is narrower
TESTED, VALIDATED = 0.1, 0.1  # shares of the published split: of all bytes, and of the rest


@dataclass(frozen=True)
class TagProbe:
    """The probe of one tag, on one split."""

    tag: str
    C: float
    nonzero: int
    neurons: tuple[str, ...]  # of the largest absolute weights, the largest first
    positives: int  # bytes of the tag in test
    accuracy: dict[str, float]  # "all", "top 1", "top 2", "top 3"
    precision: dict[str, float]
    recall: dict[str, float]


@dataclass(frozen=True)
class Multiclass:
    """Scores of the most probable tag."""

    accuracy: float
    balanced_accuracy: float
    precision: float  # weighted by tag, as published
    recall: float


@dataclass(frozen=True)
class OneSplit:
    """All probes on one split of the bytes."""

    split: str
    rows: dict[str, int]
    majority: float  # share in test of the most frequent train tag
    tags: tuple[TagProbe, ...]
    multiclass: dict[str, Multiclass]  # "all", "top 1" ...


@dataclass(frozen=True)
class ConceptNeuronsReport:
    """The published split, and the one by document."""

    model: str
    site: str
    data: str
    published: OneSplit
    by_document: OneSplit

    def to_json(self) -> str:
        return to_json(
            {"format_version": FORMAT_VERSION, "kind": "concept_neurons", **asdict(self)}
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    def __str__(self) -> str:
        names = list(self.by_document.multiclass)
        lines = [
            f"tags from {self.site} after each byte of {self.model}, in {self.data}",
            f"{'accuracy over all tags':32}{'majority':>9}" + "".join(f"{n:>8}" for n in names),
        ]
        for part in (self.published, self.by_document):
            figures = "".join(f"{part.multiclass[n].accuracy:8.3f}" for n in names)
            lines.append(f"{part.split:32}{part.majority:9.3f}{figures}")
        lines.append("balanced over tags")
        for part in (self.published, self.by_document):
            figures = "".join(f"{part.multiclass[n].balanced_accuracy:8.3f}" for n in names)
            lines.append(f"{part.split:32}{'':9}{figures}")
        lines.append(
            f"by document, {'tag':8}{'bytes':>7}{'C':>8}{'used':>6}  precision and recall of all, "
            "of the top neuron"
        )
        for probe in self.by_document.tags:
            lines.append(
                f"{'':13}{probe.tag:8}{probe.positives:7,}{probe.C:8g}{probe.nonzero:6}  "
                f"{probe.precision['all']:.3f} {probe.recall['all']:.3f}, "
                f"{probe.precision['top 1']:.3f} {probe.recall['top 1']:.3f} {probe.neurons[0]}"
            )
        return "\n".join(lines)


def with_spaces(data: LabelledData) -> LabelledData:
    """The same data with a class SPACE for the bytes between words. Words must have their label at
    every byte. InputError otherwise."""
    if data.unit != "token" or not data.exclusive:
        raise InputError(
            f"task {data.task}: this protocol takes words with one tag each, as part_of_speech "
            "gives them"
        )

    def read(document) -> Labels:
        labels = document.read()
        places = np.arange(len(document.data), dtype=np.int32)
        between = np.setdiff1d(places, labels.positions)
        covered = np.zeros(len(document.data) + 1, np.int32)
        np.add.at(covered, labels.starts, 1)
        np.add.at(covered, labels.ends, -1)
        if (np.cumsum(covered)[between] > 0).any():
            raise InputError(
                f"{document.name}: this protocol needs the tag at every byte of a word: "
                "--position=every"
            )
        classes = np.zeros((len(labels.positions) + len(between), len(data.classes) + 1), bool)
        classes[: len(labels.positions), :-1] = labels.classes
        classes[len(labels.positions) :, -1] = True
        order = np.argsort(np.concatenate([labels.positions, between]), kind="stable")
        return Labels(
            np.concatenate([labels.positions, between])[order],
            np.concatenate([labels.starts, between])[order],
            np.concatenate([labels.ends, between + 1])[order],
            classes[order],
            np.zeros((len(order), 0), np.float32),
        )

    return dataclasses.replace(
        data,
        classes=(*data.classes, SPACE),
        numbers=(),
        documents=tuple(dataclasses.replace(d, read=lambda d=d: read(d)) for d in data.documents),
    )


def concept_neurons(
    model: Model,
    data: LabelledData,
    *,
    site: str | None = None,
    rows: int = 20_000,
    progress: Callable[[int, int], None] | None = None,
) -> ConceptNeuronsReport:
    """Run the protocol on words with one tag each.

    site: the model's primary site if None. rows: of a seeded sample of documents, of each split
    about so many bytes. progress: called with the probes fitted and all probes.
    InputError for labels that are not one tag for each byte of a word.
    """
    check_one(model)
    site = site or model_sites.primary(model.config)
    data = for_model(model, with_spaces(data))
    parts = {split: arrays(model, data, site, split, rows=rows, seed=SEED) for split in SPLITS}
    X = np.concatenate([parts[split][0] for split in SPLITS])
    y = np.concatenate([parts[split][1] for split in SPLITS])
    borders = np.cumsum([0, *(len(parts[split][1]) for split in SPLITS)])
    by_document = [np.arange(a, b) for a, b in itertools.pairwise(borders)]
    order = np.random.default_rng(SEED).permutation(len(y))
    tested = round(TESTED * len(y))
    validated = round(VALIDATED * (len(y) - tested))
    by_byte = [order[tested + validated :], order[tested : tested + validated], order[:tested]]
    fitted = 0

    def one_more() -> None:
        nonlocal fitted
        fitted += 1
        if progress:
            progress(fitted, 2 * len(data.classes))

    return ConceptNeuronsReport(
        model.origin,
        site,
        data.origin,
        _probes("bytes at random (as published)", X, y, by_byte, data.classes, site, one_more),
        _probes("by document", X, y, by_document, data.classes, site, one_more),
    )


def _probes(
    name: str,
    X: np.ndarray,
    y: np.ndarray,
    splits: list[np.ndarray],
    tags: tuple[str, ...],
    site: str,
    one_more: Callable[[], None],
) -> OneSplit:
    train, validation, test = splits
    named = ["all", *(f"top {k}" for k in TOP)]
    chances = {way: np.zeros((len(test), len(tags))) for way in named}
    probes = []
    for k, tag in enumerate(tags):
        on = y == tag
        if len(np.unique(on[train])) < 2:
            one_more()
            continue  # no byte of the tag to learn from: its chance stays 0
        fits = [fit_l1(X[train], on[train], C, SEED) for C in GRID]
        scores = [fit.score(X[validation], on[validation]) for fit in fits]
        best = max(range(len(GRID)), key=lambda i: (scores[i], -GRID[i]))
        weights = fits[best].coef_[0]
        largest = np.argsort(-np.abs(weights), kind="stable")
        units = {"all": np.arange(X.shape[1])} | {f"top {n}": largest[:n] for n in TOP}
        figures = {"accuracy": {}, "precision": {}, "recall": {}}
        for way in named:
            columns = units[way]
            fit = (
                fits[best]
                if way == "all"
                else fit_l1(X[train][:, columns], on[train], GRID[best], SEED)
            )
            chance = fit.predict_proba(X[test][:, columns])[:, 1]
            chances[way][:, k] = chance
            told = chance > 0.5
            figures["accuracy"][way] = float((told == on[test]).mean())
            precision, recall, _, _ = precision_recall_fscore_support(
                on[test], told, average="binary", zero_division=ZERO
            )
            figures["precision"][way] = float(precision)
            figures["recall"][way] = float(recall)
        probes.append(
            TagProbe(
                tag,
                GRID[best],
                int(np.count_nonzero(weights)),
                tuple(f"{site}[{unit}]" for unit in largest[: max(TOP)]),
                int(on[test].sum()),
                **figures,
            )
        )
        one_more()
    truth = y[test]
    multiclass = {}
    for way in named:
        told = np.array(tags)[chances[way].argmax(1)]
        precision, recall, _, _ = precision_recall_fscore_support(
            truth, told, average="weighted", zero_division=ZERO
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a tag that test lacks
            balanced = balanced_accuracy_score(truth, told)
        multiclass[way] = Multiclass(
            float(accuracy_score(truth, told)), float(balanced), float(precision), float(recall)
        )
    values, counts = np.unique(y[train], return_counts=True)
    majority = float((truth == values[counts.argmax()]).mean())
    rows: dict[str, int] = dict(zip(SPLITS, map(len, splits), strict=True))
    return OneSplit(name, rows, majority, tuple(probes), multiclass)
