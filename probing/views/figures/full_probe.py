"""The figures of the full probe: all neurons beside what they are compared with, and by class."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from probing.protocols.full_probe_report import FullProbeReport
from probing.views.figures import style
from probing.views.figures.style import ORANGE, STYLE
from probing.views.protocol_tables import every_way


def figures(report: FullProbeReport) -> dict[str, Figure]:
    return {"full_probe_accuracy": accuracy(report), "full_probe_classes": classes(report)}


@rc_context(STYLE)
def accuracy(report: FullProbeReport) -> Figure:
    """Accuracy on test with its 95% interval, balanced accuracy and macro F1 of every way."""
    rows = every_way(report)
    figure, (axes,) = style.rows_figure(len(rows))
    style.dot_rows(
        axes,
        [style.named(row.name, "", style.ROW) for row in rows],
        {
            "accuracy": ([row.accuracy for row in rows], style.BEST),
            "balanced accuracy": ([row.balanced_accuracy for row in rows], style.OTHER),
            "macro F1": ([row.macro_f1 for row in rows], style.FOURTH),
        },
    )
    axes.hlines(
        np.arange(len(rows)),
        [row.interval.lower for row in rows],
        [row.interval.upper for row in rows],
        color=ORANGE,
        linewidth=2,
        zorder=1.5,
        label="95% interval of the accuracy",
    )
    axes.set_xlabel(f"on the same {report.rows['test']:,} test {report.unit}s")
    style.key(figure, axes)
    return figure


@rc_context(STYLE)
def classes(report: FullProbeReport) -> Figure:
    """F1 of each class that test has: of all neurons, of the surface model, of each word's most
    frequent class."""
    marks = (style.BEST, style.THIRD, style.OTHER)
    ways = [row for row in (report.probe, report.surface, report.word) if row]
    names = [score.name for score in report.probe.classes]
    figure, (axes,) = style.rows_figure(len(names))
    series = {}
    for way, mark in zip(ways, marks, strict=False):
        found = {score.name: score.f1 for score in way.classes}
        series[way.name] = ([found.get(name, float("nan")) for name in names], mark)
    style.dot_rows(axes, [style.named(name, "", style.ROW) for name in names], series, 0.3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("F1 on test")
    style.key(figure, axes)
    return figure
