"""What all figures share: size of the type, colours and markers, and the plot of dots in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Dark, middle and light in print as well as on the screen; orange and blue for every eye.
INK, SOFT, GRID = "#1b1f24", "#626a73", "#dfe1e0"
ORANGE, BLUE = "#b45309", "#5b8fc7"

STYLE: Any = {  # keys of matplotlib.rcParams
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans", "sans-serif"],  # the first one comes with matplotlib
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],  # for where the SVG is shown
    "font.size": 9,
    "grid.color": GRID,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "figures",  # the same figure is the same file
    "text.color": INK,
    "text.parse_math": False,  # "$" in the name of a concept is a dollar
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
WIDTH = 7.0  # inches
LETTERS = 98  # that fit beside each other in it

ROW, PANEL = 48, 34  # letters that the name of a row and of a small panel may have

Marks = dict[str, Any]
BEST: Marks = {"marker": "o", "color": ORANGE, "markersize": 7}
OTHER: Marks = {"marker": "D", "color": INK, "markerfacecolor": "white", "markersize": 5.5}
THIRD: Marks = {"marker": "s", "color": BLUE, "markersize": 5}
FOURTH: Marks = {"marker": "^", "color": INK, "markerfacecolor": "white", "markersize": 5.5}
LEVEL: Marks = {"marker": "|", "color": SOFT, "markersize": 12, "markeredgewidth": 2}


def named(concept: str, neuron: str, letters: int) -> str:
    """A concept and its neuron on so many letters: a longer concept is cut."""
    room = letters - len(neuron) - 2
    return f"{concept if len(concept) <= room else concept[: room - 1] + '…'}  {neuron}".rstrip()


def rows_figure(rows: int, panels: int = 1) -> tuple[Figure, np.ndarray]:
    """A figure with room for so many rows of dots, and its panels, which share rows and values."""
    figure = Figure(figsize=(WIDTH, 1.5 + 0.3 * max(rows, 2)), layout="constrained")
    return figure, figure.subplots(1, panels, sharex=True, sharey=True, squeeze=False)[0]


def dot_rows(
    axes: Axes,
    names: Sequence[str],
    series: Mapping[str, tuple[Sequence[float], Marks]],
    spread: float = 0.0,
) -> None:
    """A row for each name, the first at the top, with a dot of each series: its values and marks.
    NaN draws none.

    spread: how far apart the dots of a row lie, in rows, so that equal ones are seen; a level is
    in the middle.
    """
    places = np.arange(len(names), dtype=float)
    dots = [label for label, (_, marks) in series.items() if marks is not LEVEL]
    asides = dict(zip(dots, np.linspace(-spread / 2, spread / 2, len(dots)), strict=True))
    for label, (values, marks) in series.items():
        there = places + asides.get(label, 0.0)
        axes.plot(values, there, linestyle="none", label=label, **marks)
    axes.set_yticks(places, list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)


def key(figure: Figure, axes: Axes) -> None:
    """The key of a panel above all panels, in as many lines as its names need."""
    handles, labels = axes.get_legend_handles_labels()
    wide = [len(label) + 7 for label in labels]  # with the mark and its margins
    columns = len(labels) if sum(wide) <= LETTERS else max(1, LETTERS // max(wide))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, numpoints=1)
