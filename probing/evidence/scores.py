"""The table of the best neurons: for each concept the neuron that tells it best by itself.

A class is read by the AUC, a number by the correlation, both in either direction. Neurons are
chosen on the train split; the test split gives the test figures, once for each concept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

import numpy as np

from mlstm.model.sites import Neuron, parse_neuron, parse_site
from mlstm.output import write_whole
from probing.evidence.figures import Scores
from probing.evidence.permutations import Significance
from probing.evidence.surface import TABLE_ROWS
from probing.states.statistics import Summary
from probing.tasks.labelled import SPLITS

FORMAT_VERSION = 3
ALPHA = 0.05  # of q, the false discovery rate
TRAIN, TEST = SPLITS.index("train"), SPLITS.index("test")


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
    low: float = float("nan")  # 95% interval of the test AUC in that direction; NaN for r
    high: float = float("nan")
    information: float = float("nan")  # bits that the value tells of the class on test; NaN for r
    twin_direction: int = 0
    majority: float = float("nan")  # share of test positions of the more frequent side; NaN for r
    surface: float = float("nan")  # test figure of the surface model; NaN where it was left out
    control_neuron: str = ""  # the best for the control task
    control_test: float = float("nan")  # its test figure there; NaN for labels of documents
    p: float = float("nan")  # of the neuron, against the largest statistic of all neurons
    found: int = -1  # neurons of q below ALPHA; -1 where the null was left out


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
    control: Scores | None = None  # of the same neurons for the control task
    surface: np.ndarray | None = None  # (K,) test figures of the surface model
    significance: Significance | None = None
    notes: tuple[str, ...] = ()

    @property
    def concepts(self) -> tuple[str, ...]:
        return self.classes + self.numbers

    def neuron(self, index: int) -> Neuron:
        """The neuron of that place on the neuron axis of the scores."""
        return Neuron(parse_site(self.sites[index // self.units]), index % self.units)

    def best(self, concept: str, neuron: str | None = None) -> Row:
        """The neuron that tells the concept best on train, or the one that is named, with its test
        figures. Its direction is that of train."""
        k = self.concepts.index(concept)
        named = None if neuron is None else self._place(neuron)
        index, direction, train, test, bound = self._choose(self.scores, k, named)
        twin_index, twin_direction, twin_train, twin_test, twin_bound = self._choose(self.twin, k)
        control_index, _, _, control_test, _ = self._choose(self.control, k)
        nan = float("nan")
        on, off = int(self.scores.n_on[TEST, k]), int(self.scores.n_off[TEST, k])
        is_class, null = concept in self.classes, self.significance
        d, r, low, high, information = nan, nan, nan, nan, nan
        if index >= 0:
            d, r, information = (
                float(part[TEST, index, k])
                for part in (
                    self.scores.cohen_d,
                    self.scores.correlation,
                    self.scores.information,
                )
            )
            low, high = float(self.scores.auc_low[index, k]), float(self.scores.auc_high[index, k])
            if direction < 0:
                low, high = 1 - high, 1 - low
        return Row(
            concept,
            "AUC" if concept in self.classes else "r",
            str(self.neuron(index)) if index >= 0 else "",
            direction,
            train,
            test,
            bound,
            d,
            r,
            on,
            off,
            str(self.neuron(twin_index)) if twin_index >= 0 else "",
            twin_train,
            twin_test,
            twin_bound,
            low,
            high,
            information,
            twin_direction,
            max(on, off) / (on + off) if is_class and on + off else nan,
            nan if self.surface is None else float(self.surface[k]),
            str(self.neuron(control_index)) if control_index >= 0 else "",
            control_test,
            nan if null is None or index < 0 else float(null.p_max[index, k]),
            -1
            if null is None or np.isnan(null.q[:, k]).all()
            else int((null.q[:, k] < ALPHA).sum()),
        )

    def _place(self, neuron: str) -> int:
        """Where a neuron is on the neuron axis of the scores."""
        named = parse_neuron(neuron)
        return self.sites.index(str(named.site)) * self.units + named.unit

    def _choose(
        self, scores: Scores | None, k: int, named: int | None = None
    ) -> tuple[int, int, float, float, float]:
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
        index = int(np.nanargmax(np.abs(train - centre))) if named is None else named
        direction = 1 if train[index] >= centre else -1
        bound = scores.auc_bound[TEST, index, k] if is_class else 0.0
        figures = [centre + direction * (part[index] - centre) for part in (train, test)]
        return index, direction, float(figures[0]), float(figures[1]), float(bound)

    def rows(self) -> list[Row]:
        """One for each concept."""
        return [self.best(concept) for concept in self.concepts]

    def to_frame(self) -> list[dict[str, str | int | float]]:
        """The rows as plain records: what pandas.DataFrame or csv.DictWriter takes."""
        return [dict(vars(row)) for row in self.rows()]

    def __str__(self) -> str:
        head = (
            f"{self.task} in {self.model}: the best of {len(self.sites) * self.units} neurons "
            f"({', '.join(self.sites)}) for each concept\n"
            f"chosen on {self.documents[TRAIN]} train documents ({self.bytes[TRAIN]:,} bytes), "
            f"tested on {self.documents[TEST]} test documents ({self.bytes[TEST]:,} bytes) of "
            f"{self.data}\n"
        )
        lines = [
            f"{'concept':<23}{'neuron':<10}{'':<2}{'train':>6}{'test':>6}{'95%':>12}{'twin':>6}"
            f"{'surface':>8}{'control':>8}{'majority':>9}{'p':>6}{'q<.05':>6}{'d':>7}"
            f"{'on':>11}"
        ]
        metric = ""
        for row in self.rows():
            if row.metric != metric:
                metric = row.metric
                lines.append("- classes: AUC" if metric == "AUC" else "- numbers: correlation |r|")
            if not row.neuron:
                lines.append(f"{row.concept:<23}none in the train split")
                continue
            sign = "+" if row.direction > 0 else "-"
            lines.append(
                f"{row.concept:<23}{row.neuron:<10}{sign:<2}{_figure(row.train, 6)}"
                f"{_figure(row.test, 6)}{_interval(row):>12}{_figure(row.twin_test, 6)}"
                f"{_figure(row.surface, 8)}{_figure(row.control_test, 8)}"
                f"{_figure(row.majority, 9)}{_figure(row.p, 6)}"
                f"{row.found if row.found >= 0 else '-':>6}{_figure(row.cohen_d)}{row.n_on:>11,}"
            )
        bounds = [row.bound for row in self.rows() if row.metric == "AUC" and row.neuron]
        tail = (
            "95%: of the test AUC, over documents drawn anew (jackknife); every AUC is exact to "
            f"{max(bounds, default=0):.4f}\n(binning); "
            "majority: share of the more frequent side; d: Cohen's d on the test split"
        )
        tail += "\n" + self._null_line() + "\n" + self._controls_line()
        if self.twin is not None:
            tail += (
                "\ntwin: the best neuron of the same architecture with random parameters (of a "
                "model that was imported: its own, shuffled) "
                f"(seed {self.twin_seed}), chosen and tested in the same way"
            )
        if self.skipped:
            names = ", ".join(name for name, _ in self.skipped[:5])
            more = ", ..." if len(self.skipped) > 5 else ""
            tail += f"\n{len(self.skipped)} documents could not be labelled: {names}{more}"
        tail += "".join(f"\nnote: {note}" for note in self.notes)
        return head + "\n".join(lines) + "\n" + tail

    def _null_line(self) -> str:
        if self.significance is None:
            return "p left out: no draws of the null"
        draws, tried = self.significance.draws, len(self.sites) * self.units
        least = -(-tried // (ALPHA * (1 + draws)))
        return (
            f"p: {draws} draws, against the largest of all {tried} neurons (at least "
            f"{1 / (1 + draws):.3g}); q<.05: neurons found at that\nfalse discovery rate, which "
            f"so few draws can show of about {least:.0f} or more at once"
        )

    def _controls_line(self) -> str:
        if self.surface is None:
            return "controls left out: no surface model, no control task"
        none = "" if self.control is not None else " (-: labels of documents have none)"
        return (
            "surface: regression on the bytes alone, fitted on about "
            f"{TABLE_ROWS:,} train {self.unit}s at most;\ncontrol: the best neuron for random "
            f"labels of types{none}"
        )

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
            "axes_of_auc_low_and_high": ["neuron", "concept"],
            "neurons": {name: _plain(part) for name, part in vars(self.scores).items()},
            "control": self.control and {n: _plain(part) for n, part in vars(self.control).items()},
            "surface": _plain(self.surface),
            "significance": self.significance
            and {name: _plain(part) for name, part in vars(self.significance).items()},
            "axes_of_p_and_q": ["neuron", "concept"],
            "twin": self.twin and {name: _plain(part) for name, part in vars(self.twin).items()},
            **({"notes": list(self.notes)} if self.notes else {}),
        }

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")


def _interval(row: Row) -> str:
    return "-" if np.isnan(row.low) else f"{row.low:.3f}-{row.high:.3f}"


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
