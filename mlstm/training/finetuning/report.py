"""How well texts are told by a fine-tuned classifier, beside what is told without it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstm.output import to_json, write_whole
from mlstm.training.finetuning.loop import Finetuned
from mlstm.training.finetuning.metrics import Measured

FORMAT_VERSION = 1
FILE = "results.json"


@dataclass(frozen=True, eq=False)
class Report:
    """A row for each way to tell; `print` it."""

    made: Finetuned
    rows: dict[str, Measured]

    def __str__(self) -> str:
        width = max(24, *(len(name) + 2 for name in self._labels()))
        lines = [f"{'':{width}}{'accuracy':>24}{'F1':>26}{'MCC':>26}"]
        for name, measured in self.rows.items():
            lines.append(_row(name, measured, width))
            for label, of in (measured.labels or {}).items():
                lines.append(_row(f"  {label}", of, width))
        texts = next(iter(self.rows.values())).texts
        lines.append(
            f"{texts:,} test texts; 95% intervals by the bootstrap over texts; epoch "
            f"{self.made.best} chosen on dev"
        )
        return "\n".join([*lines, *self._thresholds(), *self._limit()])

    def _thresholds(self) -> list[str]:
        classifier = self.made.classifier
        measure = classifier.about["of"]["config"]["thresholds"]
        labels = classifier.labelling.labels
        if not labels:
            return []
        if measure == "none":
            return ["thresholds stay at 0.5"]
        told = ", ".join(
            f"{label} from {at:.3f} on"
            for label, at in zip(labels, classifier.thresholds, strict=True)
        )
        others = "; those of probe and n-grams as well" if len(self.rows) > 1 else ""
        return [f"thresholds ({told}) chosen on dev for {measure}{others}"]

    def _limit(self) -> list[str]:
        limit = self.made.classifier.limit
        what = "bytes" if self.made.classifier.model.vocabulary.bytewise else "tokens"
        return [f"of each text the last {limit:,} {what} are read, in every row"] if limit else []

    def _labels(self) -> list[str]:
        return ["", *self.rows, *self.made.classifier.labelling.classes]

    def to_json(self) -> dict[str, Any]:
        about = self.made.classifier.about
        return {
            "format_version": FORMAT_VERSION,
            "test": {name: measured.to_json() for name, measured in self.rows.items()},
            "classes": self.made.classifier.classes,
            "thresholds": list(self.made.classifier.thresholds),
            "epochs": list(self.made.epochs),
            "epoch": self.made.best,
            "model": about["model"],
            "config": about["of"]["config"],
        }

    def save(self, folder: Path) -> Path:
        """Write results.json to the folder."""
        write_whole(folder / FILE, to_json(self.to_json(), indent=2) + "\n")
        return folder / FILE


def _row(name: str, measured: Measured, width: int) -> str:
    figures = measured.accuracy, measured.f1, measured.mcc
    return f"{name:{width}}" + "  ".join(f"{figure!s:>24}" for figure in figures)
