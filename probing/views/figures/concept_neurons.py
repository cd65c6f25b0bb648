"""The figures of concept_neurons: what all neurons and the few largest tell, on both splits."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib import rc_context
from matplotlib.figure import Figure

from probing.protocols.concept_neurons import ConceptNeuronsReport, OneSplit, TagProbe
from probing.views.figures import style
from probing.views.figures.style import STYLE, Marks

NAN = float("nan")
MARKS: tuple[Marks, ...] = (style.BEST, style.OTHER, style.THIRD, style.FOURTH)
SPREAD = 0.45


def figures(report: ConceptNeuronsReport) -> dict[str, Figure]:
    return {
        "concept_neurons_accuracy": accuracy(report),
        "concept_neurons_f1": tags_f1(report),
        "concept_neurons_tags_accuracy": tags_accuracy(report),
    }


@rc_context(STYLE)
def accuracy(report: ConceptNeuronsReport) -> Figure:
    """Of the most probable tag: accuracy, and balanced over tags, of all neurons and of few."""
    names = ["accuracy", "balanced over tags"]
    figure, panels = style.rows_figure(len(names), 2)
    for axes, part in zip(panels, (report.published, report.by_document), strict=True):
        series = {
            _way(way): ([told.accuracy, told.balanced_accuracy], marks)
            for (way, told), marks in zip(part.multiclass.items(), MARKS, strict=False)
        }
        series["most frequent tag"] = ([part.majority, NAN], style.LEVEL)
        style.dot_rows(axes, names, series, SPREAD)
        _finish(axes, part, "share of test bytes told rightly")
    style.key(figure, panels[0])
    return figure


@rc_context(STYLE)
def tags_f1(report: ConceptNeuronsReport) -> Figure:
    """F1 of each tag's probes."""
    return _tags(report, "F1 of the tag on test", f1, None)


@rc_context(STYLE)
def tags_accuracy(report: ConceptNeuronsReport) -> Figure:
    """Accuracy of each tag's probes, beside that of always saying no."""
    return _tags(
        report,
        "accuracy of yes or no on test",
        lambda probe, way: probe.accuracy[way],
        lambda probe, part: 1 - probe.positives / part.rows["test"],
    )


def f1(probe: TagProbe, way: str) -> float:
    precision, recall = probe.precision[way], probe.recall[way]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _tags(
    report: ConceptNeuronsReport,
    label: str,
    value: Callable[[TagProbe, str], float],
    always_no: Callable[[TagProbe, OneSplit], float] | None,
) -> Figure:
    parts = (report.published, report.by_document)
    names = list(dict.fromkeys(probe.tag for part in parts for probe in part.tags))
    figure, panels = style.rows_figure(len(names), 2)
    for axes, part in zip(panels, parts, strict=True):
        probes = {probe.tag: probe for probe in part.tags}
        found = [probes.get(name) for name in names]
        series = {
            _way(way): ([value(probe, way) if probe else NAN for probe in found], marks)
            for way, marks in zip(part.multiclass, MARKS, strict=False)
        }
        if always_no:
            levels = [always_no(probe, part) if probe else NAN for probe in found]
            series["always no"] = (levels, style.LEVEL)
        style.dot_rows(axes, [style.named(name, "", style.PANEL) for name in names], series, SPREAD)
        _finish(axes, part, label)
    style.key(figure, panels[0])
    return figure


def _way(way: str) -> str:
    return {"all": "all neurons", "top 1": "largest neuron"}.get(way, way.replace("top", "largest"))


def _finish(axes, part: OneSplit, label: str) -> None:
    axes.set_title(part.split)
    axes.set_xlabel(label)
