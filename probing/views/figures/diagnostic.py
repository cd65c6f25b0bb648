"""The figures of the diagnostic classifiers: classes by F1, numbers by correlation."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from probing.protocols.diagnostic import DiagnosticReport, Hypothesis, Told
from probing.views.figures import style
from probing.views.figures.style import SOFT, STYLE


def figures(report: DiagnosticReport) -> dict[str, Figure]:
    """Those of classes and of numbers, as far as there are any."""
    found = {}
    if classes_of(report):
        found["diagnostic_classes"] = classes(report)
    if numbers_of(report):
        found["diagnostic_numbers"] = numbers(report)
    return found


def classes_of(report: DiagnosticReport) -> list[Hypothesis]:
    return [h for h in report.hypotheses if not np.isnan(h.positives)]


def numbers_of(report: DiagnosticReport) -> list[Hypothesis]:
    return [h for h in report.hypotheses if np.isnan(h.positives)]


@rc_context(STYLE)
def classes(report: DiagnosticReport) -> Figure:
    """F1 of the probe, of its most responsible neuron alone, and of always saying yes."""
    shown = classes_of(report)
    figure, (axes,) = style.rows_figure(len(shown))
    style.dot_rows(
        axes,
        [_name(h) for h in shown],
        {
            "probe": ([_f1(h.plain) for h in shown], style.BEST),
            "probe, classes weighed equally": ([_f1(h.balanced) for h in shown], style.THIRD),
            "its largest neuron alone": ([h.neuron_f1 for h in shown], style.OTHER),
            "always yes": ([h.always for h in shown], style.LEVEL),
        },
        0.3,
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("F1 on test")
    style.key(figure, axes)
    return figure


@rc_context(STYLE)
def numbers(report: DiagnosticReport) -> Figure:
    """Correlation of the probe's value, and of the most responsible neuron's, with the number."""
    shown = numbers_of(report)
    figure, (axes,) = style.rows_figure(len(shown))
    style.dot_rows(
        axes,
        [_name(h) for h in shown],
        {
            "probe": ([h.correlation for h in shown], style.BEST),
            "its largest neuron alone": ([h.neuron_correlation for h in shown], style.OTHER),
        },
        0.2,
    )
    axes.axvline(0, color=SOFT, linewidth=0.8)
    axes.set_xlim(-1.02, 1.02)
    axes.set_xlabel("correlation with the number on test")
    style.key(figure, axes)
    return figure


def _f1(told: Told | None) -> float:
    return told.f1 if told else float("nan")


def _name(hypothesis: Hypothesis) -> str:
    return style.named(hypothesis.concept, hypothesis.neuron, style.ROW)
