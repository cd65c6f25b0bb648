"""What the full probe found: one table, all of the same test positions."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

import numpy as np

from mlstm.output import to_json, write_whole
from probing.evidence.claims import Interval
from probing.evidence.probes.metrics import ClassScore
from probing.tasks.labelled import SPLITS

FORMAT_VERSION = 1
SCORES = ("accuracy", "balanced_accuracy", "macro_f1")
TWIN = "random weights"


@dataclass(frozen=True)
class Row:
    """How well one way tells the classes of the test positions."""

    name: str
    fitted: int  # on how many positions; where C was chosen, dev has others
    C: float | None  # of a probe, the best on dev
    dev: dict[float, float]  # of a probe, C: accuracy on dev
    accuracy: float
    interval: Interval  # of the accuracy, 95%, by document
    balanced_accuracy: float  # mean recall of the classes that test has
    macro_f1: float
    classes: tuple[ClassScore, ...]
    lead: Interval | None  # of all neurons over this in accuracy, paired; None of all neurons

    def to_dict(self) -> dict:
        return asdict(self) | {"classes": [score._asdict() for score in self.classes]}


@dataclass(frozen=True)
class Twins:
    """The same probe on models with random weights."""

    seeds: tuple[int, ...]
    rows: tuple[Row, ...]  # of each seed
    lead: Interval  # of all neurons over the mean of the seeds, in accuracy, paired

    def mean(self, score: str) -> float:
        """Over the seeds; score: one of SCORES."""
        return float(np.mean([getattr(row, score) for row in self.rows]))

    def sd(self, score: str) -> float:
        """The standard deviation over the seeds, of n - 1; NaN of a single one."""
        values = [getattr(row, score) for row in self.rows]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    def to_dict(self) -> dict:
        return {
            "seeds": self.seeds,
            "rows": [row.to_dict() for row in self.rows],
            "mean": {score: self.mean(score) for score in SCORES},
            "sd": {score: self.sd(score) for score in SCORES},
            "lead": asdict(self.lead),
        }


@dataclass(frozen=True)
class FullProbeReport:
    """All neurons of a site, and what is beside them."""

    model: str
    site: str
    task: str
    unit: str  # what has a label: document, token or byte
    data: str
    split: str  # where train, dev and test come from
    classes: tuple[str, ...]
    documents: dict[str, int]  # of the sample, of each split
    rows: dict[str, int]  # labelled positions of these
    available: dict[str, int]  # labelled positions of each whole split
    probe: Row  # all neurons
    twins: Twins | None
    surface: Row
    word: Row | None  # the most frequent class of each word; None where words are not labelled
    usual: Row  # the most frequent class
    # its own labels at the same positions; None of documents, and where all of train have one class
    control: Row | None

    @property
    def selectivity(self) -> Interval | None:
        """Accuracy less that on the control task (Hewitt and Liang 2019)."""
        return self.control.lead if self.control else None

    def to_json(self) -> str:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name, value in plain.items():
            if isinstance(value, (Row, Twins)):
                plain[name] = value.to_dict()
        selectivity = asdict(self.selectivity) if self.selectivity else None
        head = {"format_version": FORMAT_VERSION, "kind": "full_probe"}
        return to_json(head | plain | {"selectivity": selectivity})

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    def __str__(self) -> str:
        sizes = [f"{self.rows[s]:,} of {self.available[s]:,} {s}" for s in SPLITS]
        if self.unit != "document":
            sizes = [
                f"{size} (of {self.documents[split]:,} documents)"
                for size, split in zip(sizes, SPLITS, strict=True)
            ]
        lines = [
            f"{self.task}: {len(self.classes)} classes told from {self.site} of {self.model}",
            f"data: {self.data}",
            f"split: {self.split}",
            f"{self.unit}s: {', '.join(sizes)}",
            f"All rows are scored on the same {self.rows['test']:,} test {self.unit}s.",
            "C is the best on dev by accuracy, raised from "
            f"{min(self.probe.dev):g} (surface model: {min(self.surface.dev):g}) until that falls.",
            f"{'':44}{'fitted on':>10}{'C':>7}  {'accuracy [95% interval]':24}{'balanced':>9}"
            f"{'macro F1':>9}  all neurons lead by",
        ]
        for row in (self.probe, self.surface, self.word, self.usual, self.control):
            if row:
                lines.append(_line(row))
            if row is self.probe and self.twins:
                lines += self._of_twins(self.twins)
        lines.append(
            "Intervals and leads (paired) are of the accuracy, 95%, by document. What is most "
            "frequent was counted on all of train and dev; the others are fitted on the sample."
        )
        if self.selectivity:
            lines.append(
                f"selectivity, the lead over the control task: {_interval(self.selectivity)}"
            )
        if self.twins:
            each = ", ".join(
                f"{seed}: {row.accuracy:.4f} (C {row.C:g})"
                for seed, row in zip(self.twins.seeds, self.twins.rows, strict=True)
            )
            lines.append(f"random weights, accuracy by seed: {each}")
        return "\n".join(lines)

    def _of_twins(self, twins: Twins) -> list[str]:
        mean, sd = ({s: of(s) for s in SCORES} for of in (twins.mean, twins.sd))
        count = f"{len(twins.seeds)} seed{'s' * (len(twins.seeds) > 1)}"
        lead = _interval(twins.lead)
        return [
            f"{f'{TWIN}, mean of {count}':44}{twins.rows[0].fitted:>10,}{'':7}  "
            f"{_figures(mean, '')}  {lead}",
            f"{'  standard deviation over the seeds':44}{'':17}  {_figures(sd, '')}",
        ]


def _line(row: Row) -> str:
    C = f"{row.C:g}" if row.C else ""
    scores = {score: getattr(row, score) for score in SCORES}
    between = f"[{_figure(row.interval.lower)}, {_figure(row.interval.upper)}]"
    lead = _interval(row.lead) if row.lead else ""
    line = f"{row.name:44}{row.fitted:>10,}{C:>7}  {_figures(scores, between)}  {lead}"
    return line.rstrip()


def _figures(scores: dict[str, float], between: str) -> str:
    accuracy, balanced, f1 = (_figure(scores[score]) for score in SCORES)
    return f"{f'{accuracy} {between}':24}{balanced:>9}{f1:>9}"


def _interval(of: Interval) -> str:
    value, lower, upper = (
        "-" if np.isnan(v) else f"{v:+.4f}" for v in (of.value, of.lower, of.upper)
    )
    return f"{value} [{lower}, {upper}]"


def _figure(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"
