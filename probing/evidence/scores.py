"""Neurons x concepts: how well each neuron alone tells a concept, from one pass over the states.

A class is scored by the AUC (the probability that a byte of the class has a higher value than
another, ties counting half), a number by the correlation. Both are read in either direction.
Neurons are chosen on the train split; the test split gives the test figures, once for each
concept.
"""

# P splits (train, dev, test), K concepts (classes, then numbers), N neurons over all sites

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlstm.model.sites import Neuron, parse_site
from mlstm.output import write_whole
from probing.states.statistics import Summary
from probing.tasks.labelled import SPLITS

FORMAT_VERSION = 2
TRAIN, TEST = SPLITS.index("train"), SPLITS.index("test")


@dataclass(frozen=True)
class Scores:
    """Figures of every neuron for every concept, in each split; NaN where they are not defined."""

    auc: np.ndarray  # (P, N, K) of classes: P(value in the class > value outside); else NaN
    auc_bound: np.ndarray  # (P, N, K) the exact AUC differs by no more: half the tied mass
    cohen_d: np.ndarray  # (P, N, K) of classes
    correlation: np.ndarray  # (P, N, K) Pearson, of classes and numbers
    n_on: np.ndarray  # (P, K) labelled positions in the class; for a number, all
    n_off: np.ndarray  # (P, K) the other positions; for a number, 0

    def __post_init__(self) -> None:
        for array in vars(self).values():
            array.flags.writeable = False


def auc(on: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC and its error bound from counts per bin (..., bins) in ascending order of value.

    Equals the Mann-Whitney U / (n_on n_off) of the values to within the bound: pairs in one bin
    count half, and at worst all of them lie on one side. NaN where a class has no row.
    """
    on, off = np.asarray(on, np.float64), np.asarray(off, np.float64)
    below = np.cumsum(off, -1) - off
    pairs = on.sum(-1) * off.sum(-1)
    tied = (on * off).sum(-1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((on * below).sum(-1) + tied) / pairs, tied / pairs


def scores(summary: Summary, classes: int) -> Scores:
    """Figures from the statistics of one site. The first label counts every row."""
    summary = summary.by_split()
    counts = summary.counts.transpose(1, 0, 3, 2)  # (P, N, 1 + classes, bins)
    area, bound = auc(counts[:, :, 1:], counts[:, :, :1] - counts[:, :, 1:])
    n = summary.y[:, None, :1]  # (P, 1, 1)
    y = summary.y[:, None, 1:]  # (P, 1, K)
    yy = summary.yy[:, None, 1:]
    x, xx, yx, yxx = (
        np.moveaxis(part, 1, 2)  # (P, N, 1) and (F, N, K)
        for part in (
            summary.yx[:, :1],
            summary.yxx[:, :1],
            summary.yx[:, 1:],
            summary.yxx[:, 1:],
        )
    )
    numbers = y.shape[-1] - classes
    undefined = np.full((*area.shape[:2], numbers), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = yx / n - x / n * (y / n)
        variance_x, variance_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
        correlation = covariance / np.sqrt(np.maximum(variance_x * variance_y, 0))
        off = n - y
        mean_on, mean_off = yx / y, (x - yx) / off
        within = (yxx - y * mean_on**2) + (xx - yxx - off * mean_off**2)
        d = (mean_on - mean_off) / np.sqrt(np.maximum(within, 0) / (n - 2))
    correlation[~np.isfinite(correlation)] = np.nan
    d[~np.isfinite(d)] = np.nan
    n_on = np.concatenate([summary.y[:, 1 : 1 + classes], np.tile(summary.y[:, :1], numbers)], 1)
    n_off = np.concatenate(
        [summary.y[:, :1] - summary.y[:, 1 : 1 + classes], np.zeros((len(n_on), numbers))], 1
    )
    return Scores(
        np.concatenate([area, undefined], -1),
        np.concatenate([bound, undefined], -1),
        np.concatenate([d[..., :classes], undefined], -1),
        correlation,
        n_on.round().astype(np.int64),
        n_off.round().astype(np.int64),
    )


@dataclass(frozen=True)
class Row:
    """The best neuron for one concept: chosen on the train split, tested on the test split."""

    concept: str
    metric: str  # "AUC" of a class, "r" (correlation) of a number
    neuron: str  # "" where the train split cannot decide
    direction: int  # 1: higher values in the concept, -1: lower; fixed on train
    train: float  # the metric in that direction
    test: float  # the same on the test split: below .5 (or 0) where the direction turned
    bound: float  # the test AUC is exact to this; 0 for r
    cohen_d: float
    correlation: float
    n_on: int  # labelled positions of the test split
    n_off: int
    twin_neuron: str = ""
    twin_train: float = float("nan")
    twin_test: float = float("nan")
    twin_bound: float = float("nan")


@dataclass(frozen=True)
class NeuronTable:
    """What `score_neurons` returns: print it, take `.rows()` or `.best("string")`, or save it."""

    task: str
    model: str  # where the model came from
    data: str  # where the documents came from
    data_digest: str
    unit: str  # what has a label: "document", "token" or "byte"
    documents: tuple[int, ...]  # of each of SPLITS
    bytes: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    numbers: tuple[str, ...]
    sites: tuple[str, ...]
    units: int  # of each site
    scores: Scores
    twin: Scores | None = None  # of the same architecture with fresh random parameters
    twin_seed: int | None = None
    summaries: dict[str, Summary] = field(default_factory=dict, repr=False)

    @property
    def concepts(self) -> tuple[str, ...]:
        return self.classes + self.numbers

    def neuron(self, index: int) -> Neuron:
        """The neuron of that place on the neuron axis of the scores."""
        return Neuron(parse_site(self.sites[index // self.units]), index % self.units)

    def best(self, concept: str) -> Row:
        """The neuron that tells the concept best on train, with its test figures."""
        k = self.concepts.index(concept)
        index, direction, train, test, bound = self._choose(self.scores, k)
        twin_index, _, twin_train, twin_test, twin_bound = self._choose(self.twin, k)
        chosen = index if index >= 0 else 0
        return Row(
            concept,
            "AUC" if concept in self.classes else "r",
            str(self.neuron(index)) if index >= 0 else "",
            direction,
            train,
            test,
            bound,
            float(self.scores.cohen_d[TEST, chosen, k]) if index >= 0 else float("nan"),
            float(self.scores.correlation[TEST, chosen, k]) if index >= 0 else float("nan"),
            int(self.scores.n_on[TEST, k]),
            int(self.scores.n_off[TEST, k]),
            str(self.neuron(twin_index)) if twin_index >= 0 else "",
            twin_train,
            twin_test,
            twin_bound,
        )

    def _choose(self, scores: Scores | None, k: int) -> tuple[int, int, float, float, float]:
        """Index, direction, train and test figure, bound: (-1, 0, NaN, NaN, NaN) if undecided."""
        nothing = -1, 0, float("nan"), float("nan"), float("nan")
        if scores is None:
            return nothing
        is_class = k < len(self.classes)
        part = scores.auc if is_class else scores.correlation
        train, test = part[TRAIN, :, k], part[TEST, :, k]
        centre = 0.5 if is_class else 0.0
        if np.isnan(train).all():
            return nothing
        index = int(np.nanargmax(np.abs(train - centre)))
        direction = 1 if train[index] >= centre else -1
        bound = scores.auc_bound[TEST, index, k] if is_class else 0.0
        figures = [centre + direction * (part[index] - centre) for part in (train, test)]
        return index, direction, float(figures[0]), float(figures[1]), float(bound)

    def rows(self) -> list[Row]:
        """One for each concept."""
        return [self.best(concept) for concept in self.concepts]

    def __str__(self) -> str:
        head = (
            f"{self.task} in {self.model}: the best of {len(self.sites) * self.units} neurons "
            f"({', '.join(self.sites)}) for each concept\n"
            f"chosen on {self.documents[TRAIN]} train documents ({self.bytes[TRAIN]:,} bytes), "
            f"tested on {self.documents[TEST]} test documents ({self.bytes[TEST]:,} bytes) of "
            f"{self.data}\n"
        )
        lines = [
            f"{'concept':<24}{'neuron':<12}{'':<2}{'train':>7}{'twin':>7}{'test':>8}{'twin':>7}"
            f"{'±':>8}{'d':>7}{'r':>7}{self.unit + 's on':>13}"
        ]
        metric = ""
        for row in self.rows():
            if row.metric != metric:
                metric = row.metric
                lines.append("- classes: AUC" if metric == "AUC" else "- numbers: correlation |r|")
            if not row.neuron:
                lines.append(f"{row.concept:<24}none in the train split")
                continue
            sign = "+" if row.direction > 0 else "-"
            bound = f"{row.bound:8.4f}" if row.metric == "AUC" else " " * 8
            lines.append(
                f"{row.concept:<24}{row.neuron:<12}{sign:<2}{_figure(row.train)}"
                f"{_figure(row.twin_train)}{_figure(row.test, 8)}{_figure(row.twin_test)}"
                f"{bound}{_figure(row.cohen_d)}{_figure(row.correlation)}{row.n_on:>13,}"
            )
        tail = "± bounds the error from binning; d Cohen's d and r correlation on the test split"
        if self.twin is not None:
            tail += (
                "\ntwin: the best neuron of the same architecture with random parameters "
                f"(seed {self.twin_seed}), chosen and tested in the same way"
            )
        if self.skipped:
            names = ", ".join(name for name, _ in self.skipped[:5])
            more = ", ..." if len(self.skipped) > 5 else ""
            tail += f"\n{len(self.skipped)} documents could not be labelled: {names}{more}"
        return head + "\n".join(lines) + "\n" + tail

    def to_json(self) -> str:
        """The rows, and the figures of every neuron and of the twin's; NaN is null."""
        return json.dumps(self._plain(), allow_nan=False)

    def _plain(self) -> dict:
        return {
            "format_version": FORMAT_VERSION,
            "kind": "neuron_table",
            "task": self.task,
            "model": self.model,
            "data": self.data,
            "data_digest": self.data_digest,
            "unit": self.unit,
            "splits": {
                name: {"documents": self.documents[i], "bytes": self.bytes[i]}
                for i, name in enumerate(SPLITS)
            },
            "skipped": [{"document": name, "reason": reason} for name, reason in self.skipped],
            "classes": list(self.classes),
            "numbers": list(self.numbers),
            "sites": list(self.sites),
            "units": self.units,
            "twin_seed": self.twin_seed,
            "best": [{k: _plain(v) for k, v in vars(row).items()} for row in self.rows()],
            "axes": ["split", "neuron", "concept"],
            "neurons": {name: _plain(part) for name, part in vars(self.scores).items()},
            "twin": self.twin and {name: _plain(part) for name, part in vars(self.twin).items()},
        }

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")


def join(parts: Sequence[Scores]) -> Scores:
    """The scores of several sites along one axis of neurons."""

    def together(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts], 1)

    return Scores(
        together("auc"),
        together("auc_bound"),
        together("cohen_d"),
        together("correlation"),
        parts[0].n_on,
        parts[0].n_off,
    )


def _figure(value: float, width: int = 7) -> str:
    text = "-" if np.isnan(value) else f"{value:.3f}" if abs(value) < 99 else ">99"
    return f"{text:>{width}}"


def _plain(value):
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 6)
    return value
