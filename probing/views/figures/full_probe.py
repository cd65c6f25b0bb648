"""The figures of the full probe: every way to tell the classes, and class by class."""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.figure import Figure

from probing.protocols.full_probe_report import FullProbeReport, Row
from probing.views.figures import style
from probing.views.figures.style import INK, STYLE

NAN = float("nan")


def figures(report: FullProbeReport) -> dict[str, Figure]:
    return {"full_probe_ways": ways(report), "full_probe_classes": classes(report)}


@rc_context(STYLE)
def ways(report: FullProbeReport) -> Figure:
    """Accuracy on test of all neurons, and of each thing that is beside them, with its interval."""
    every = report.every
    names = [row.name if seed is None else f"{row.name}, seed {seed}" for seed, row in every]
    figure, (axes,) = style.rows_figure(len(every))
    own, other = (
        [row.accuracy if (row is report.probe) == is_own else NAN for _, row in every]
        for is_own in (True, False)
    )
    series = {"all neurons": (own, style.BEST), "beside them": (other, style.OTHER)}
    style.dot_rows(axes, names, series)
    axes.hlines(
        range(len(every)),
        [row.interval.lower for _, row in every],
        [row.interval.upper for _, row in every],
        color=INK,
        linewidth=1,
        zorder=1.5,
        label="95% interval",
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(f"accuracy on {report.rows['test']:,} test {report.unit}s")
    style.key(figure, axes)
    return figure


@rc_context(STYLE)
def classes(report: FullProbeReport) -> Figure:
    """F1 of each class: all neurons beside the surface model, and random weights' first seed."""
    names = [score.name for score in report.probe.classes]

    def f1(row: Row) -> list[float]:
        found = {score.name: score.f1 for score in row.classes}
        return [found.get(name, NAN) for name in names]

    series = {
        "all neurons": (f1(report.probe), style.BEST),
        "surface model": (f1(report.surface), style.THIRD),
    }
    if report.twins:
        seed = report.twins.seeds[0]
        series[f"random weights, seed {seed}"] = (f1(report.twins.rows[0]), style.OTHER)
    if report.word:
        series["most frequent of the word"] = (f1(report.word), style.FOURTH)
    figure, (axes,) = style.rows_figure(len(names))
    style.dot_rows(axes, [style.named(name, "", style.ROW) for name in names], series, 0.3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("F1 on test")
    style.key(figure, axes)
    return figure
