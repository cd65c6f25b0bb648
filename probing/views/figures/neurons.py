"""The figures of the neuron table: the best neuron of each concept, and its values."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlstm.model.sites import parse_neuron
from probing.evidence.scores import TEST, NeuronTable, Row
from probing.views.figures import style
from probing.views.figures.style import BLUE, ORANGE, SOFT, STYLE, WIDTH

BARS = 40
COLUMNS = 3


def figures(table: NeuronTable) -> dict[str, Figure]:
    """The best neurons, and their values where the table has its summaries."""
    found = {}
    if any(row.neuron for row in table.rows()):
        found["neurons_best"] = best(table)
    if drawable(table):
        found["neurons_values"] = values(table)
    return found


def drawable(table: NeuronTable) -> list[Row]:
    """The rows of classes whose best neuron's values are at hand."""
    return [
        row
        for row in table.rows()
        if row.concept in table.classes
        and row.neuron
        and str(parse_neuron(row.neuron).site) in table.summaries
    ]


@rc_context(STYLE)
def best(table: NeuronTable) -> Figure:
    """The test figure of the best neuron of each concept with its 95% interval, beside the random
    twin's best, the surface model and the control task: AUC of classes, correlation of numbers."""
    rows = [row for row in table.rows() if row.neuron]
    parts = [(m, part) for m in ("AUC", "r") if (part := [r for r in rows if r.metric == m])]
    heights = [max(len(part), 2) + 1.5 for _, part in parts]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.3 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (metric, part) in zip(panels, parts, strict=True):
        _best(axes, metric, part)
    style.key(figure, panels[0])
    return figure


def _best(axes: Axes, metric: str, rows: list[Row]) -> None:
    places = np.arange(len(rows))
    series = {
        "best neuron": ([row.test for row in rows], style.BEST),
        "random twin": ([row.twin_test for row in rows], style.OTHER),
        "surface model": ([row.surface for row in rows], style.THIRD),
        "control task": ([row.control_test for row in rows], style.FOURTH),
    }
    shown = {name: pair for name, pair in series.items() if not np.isnan(pair[0]).all()}
    names = [style.named(row.concept, row.neuron, style.ROW) for row in rows]
    style.dot_rows(axes, names, shown)
    axes.hlines(
        places,
        [row.low for row in rows],
        [row.high for row in rows],
        color=ORANGE,
        linewidth=2,
        zorder=1.5,
        label="95% interval" if metric == "AUC" else "",
    )
    chance = 0.5 if metric == "AUC" else 0.0
    axes.axvline(chance, color=SOFT, linewidth=1, linestyle=":", label="chance")
    axes.set_xlabel("AUC on test" if metric == "AUC" else "correlation on test")


@rc_context(STYLE)
def values(table: NeuronTable) -> Figure:
    """A panel for each class: the values of its best neuron, in the class and elsewhere."""
    rows = drawable(table)
    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    size = (WIDTH * columns / COLUMNS if columns > 1 else WIDTH / 2, 0.5 + 1.7 * lines)
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, row in zip(panels, rows, strict=False):
        _values(axes, table, row)
    for axes in panels[len(rows) :]:
        axes.remove()
    figure.supylabel(f"share of the {table.unit}s of each side", fontsize=8.5)
    style.key(figure, figure.axes[0])
    return figure


@rc_context(STYLE)
def histogram(table: NeuronTable, concept: str) -> Figure:
    """The values of the best neuron of one class, in the class and elsewhere, on test.

    Each side is scaled to its own sum: a class that is rare is as tall as the rest.
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    _values(axes, table, table.best(concept))
    axes.set_ylabel(f"share of the {table.unit}s of each side")
    axes.legend()
    return figure


def _values(axes: Axes, table: NeuronTable, row: Row) -> None:
    neuron = parse_neuron(row.neuron)
    summary = table.summaries[str(neuron.site)]
    label = 1 + table.classes.index(row.concept)
    borders, on, off = summary.density(neuron.unit, label, slice(TEST, None), BARS)
    axes.stairs(off, borders, fill=True, facecolor=BLUE, alpha=0.45, label="elsewhere")
    axes.stairs(on, borders, edgecolor=ORANGE, linewidth=1.4, hatch="////", label="in the class")
    axes.set_title(style.named(row.concept, row.neuron, style.PANEL), fontsize=8.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=8)
    axes.locator_params(axis="x", nbins=4)
