"""The reports of the protocols as csv, for spreadsheets: undefined figures are empty fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from probing.protocols.concept_neurons import ConceptNeuronsReport
from probing.protocols.diagnostic import DiagnosticReport, Told
from probing.protocols.full_probe_report import FullProbeReport, Row
from probing.protocols.radford import USUAL, RadfordReport
from probing.views.tables import to_csv

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what spreadsheets take for a formula's start
NAN = float("nan")


def of(report: Any) -> dict[str, str]:
    """The csv texts of a report by file name, without ".csv"; none of another thing."""
    if isinstance(report, RadfordReport):
        return {"radford": accuracies(report), "radford_mistakes": mistakes(report)}
    if isinstance(report, ConceptNeuronsReport):
        return {"concept_neurons": tags(report), "concept_neurons_all_tags": all_tags(report)}
    if isinstance(report, FullProbeReport):
        return {"full_probe": ways(report), "full_probe_classes": classes(report)}
    return {"diagnostic": hypotheses(report)} if isinstance(report, DiagnosticReport) else {}


def accuracies(report: RadfordReport) -> str:
    """Every accuracy of the report: of the chosen probe, the single neuron and the most frequent
    label; of each C on dev; of the chosen C with fewer labels, with its deviation over draws."""
    every, C = report.documents["train"], report.C
    probe, neuron = "all neurons", f"neuron {report.neuron}"
    rows: list[tuple] = [
        (probe, C, every, "train", report.train, NAN),
        (probe, C, every, "dev", report.dev, NAN),
        (probe, C, every, "test", report.test, NAN),
        (neuron, NAN, every, "train", report.threshold.accuracy, NAN),
        (neuron, NAN, every, "test", report.neuron_test, NAN),
        ("most frequent label", NAN, every, "test", report.majority, NAN),
    ]
    beside = {name: test for each in report.comparisons for name, test in each.beside.items()}
    rows += [
        (name, NAN, every, "test", test, NAN) for name, test in beside.items() if name != USUAL
    ]
    rows += [("C tried", tried, every, "dev", right, NAN) for tried, right in report.grid.items()]
    rows += [("fewer labels", C, size, "test", mean, sd) for size, mean, sd in report.curve]
    return to_csv(["what", "C", "labelled_documents", "split", "accuracy", "sd"], rows)


def mistakes(report: RadfordReport) -> str:
    """The test documents that the full probe, then the single neuron, gets wrong, the surest first.

    Texts are strangers': one that a spreadsheet would run as a formula has a "'" before it.
    """
    wrong = [("all neurons", m) for m in report.mistakes]
    wrong += [(f"neuron {report.neuron}", m) for m in report.neuron_mistakes]
    rows = ((name, inert(m.text), m.label, m.score) for name, m in wrong)
    return to_csv(["told_by", "text", "label", "score"], rows, quote_all=True)


def inert(text: str) -> str:
    """The text, with "'" before it where it begins as a formula does."""
    return f"'{text}" if text.startswith(FORMULA) else text


def tags(report: ConceptNeuronsReport) -> str:
    """A row for each split, tag and number of neurons."""

    def rows() -> Iterable[tuple]:
        for part in (report.published, report.by_document):
            for probe in part.tags:
                for way, accuracy in probe.accuracy.items():
                    few = int(way.removeprefix("top ")) if way != "all" else 0
                    yield (
                        part.split,
                        probe.tag,
                        way,
                        probe.C,
                        probe.nonzero,
                        probe.positives,
                        accuracy,
                        probe.precision[way],
                        probe.recall[way],
                        " ".join(probe.neurons[:few]),
                    )

    names = ["split", "tag", "neurons_used", "C", "nonzero", "positives"]
    return to_csv([*names, "accuracy", "precision", "recall", "neurons"], rows())


def all_tags(report: ConceptNeuronsReport) -> str:
    """A row for each split and number of neurons: the most probable of all tags."""
    return to_csv(
        [
            "split",
            "neurons_used",
            "majority",
            "accuracy",
            "balanced_accuracy",
            "precision",
            "recall",
        ],
        (
            (part.split, way, part.majority, *vars(told).values())
            for part in (report.published, report.by_document)
            for way, told in part.multiclass.items()
        ),
    )


def hypotheses(report: DiagnosticReport) -> str:
    """A row for each hypothesis."""
    figures = ("accuracy", "precision", "recall", "f1")

    def told(part: Told | None) -> list[float]:
        return [getattr(part, name) if part else NAN for name in figures]

    return to_csv(
        [
            *("hypothesis", "share", "always_yes_f1"),
            *figures,
            *(f"equal_weights_{name}" for name in figures),
            *("r", "neuron", "neuron_f1", "neuron_r"),
        ],
        (
            (
                *(h.concept, h.positives, h.always),
                *told(h.plain),
                *told(h.balanced),
                *(h.correlation, h.neuron, h.neuron_f1, h.neuron_correlation),
            )
            for h in report.hypotheses
        ),
    )


def every_way(report: FullProbeReport) -> list[Row]:
    """All that was tried, each of the random models among them."""
    twins = report.twins.rows if report.twins else ()
    others = (report.surface, report.word, report.usual, report.control)
    return [report.probe, *twins, *(row for row in others if row)]


def ways(report: FullProbeReport) -> str:
    """A row for each way that was tried; lead: of all neurons over it, in accuracy."""
    names = ["way", "fitted_on", "C", "accuracy", "lower", "upper"]
    names += ["balanced_accuracy", "macro_f1", "lead", "lead_lower", "lead_upper"]
    return to_csv(
        names,
        (
            (
                *(row.name, row.fitted, row.C, row.accuracy),
                *(row.interval.lower, row.interval.upper, row.balanced_accuracy, row.macro_f1),
                *((row.lead.value, row.lead.lower, row.lead.upper) if row.lead else 3 * [NAN]),
            )
            for row in every_way(report)
        ),
    )


def classes(report: FullProbeReport) -> str:
    """A row for each way and class that test has."""
    return to_csv(
        ["way", "class", "positives", "precision", "recall", "f1"],
        ((row.name, *score) for row in every_way(report) for score in row.classes),
    )
