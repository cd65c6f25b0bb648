"""Training runs side by side: bits per byte against steps, bytes, FLOPs and seconds.

Runs are told apart by line and marker first, by colour second: they read in black and white.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlstm.run_comparison import RunComparison
from mlstm.run_record import Run
from probing.views.figures.style import BLUE, INK, ORANGE, SOFT, STYLE, WIDTH, key

AGAINST = {
    "steps": "steps",
    "bytes": "bytes read",
    "flops": "FLOPs, six for each weight and symbol",
    "seconds": "seconds of training",
}
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
COLOURS = (INK, ORANGE, BLUE, SOFT)


def figures(comparison: RunComparison) -> dict[str, Figure]:
    """One figure, "runs"; none where nothing was validated."""
    shown = [run for run in comparison.runs if run.log.validated]
    if not shown:
        return {}
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
        panels = figure.subplots(2, 2, sharey=True)
        for axes, (unit, label) in zip(panels.flat, AGAINST.items(), strict=True):
            for number, run in enumerate(shown):
                _curve(axes, run, unit, number)
            axes.set_xlabel(label)
            axes.set_xlim(left=0)
            axes.grid(axis="y")
        for axes in panels[:, 0]:
            axes.set_ylabel("validation, bits per byte")
        bits = list(itertools.chain.from_iterable(run.log.bits for run in shown))
        if max(bits) / min(bits) > 2 > 0:
            panels[0, 0].set_ylim(min(bits) * 0.97, np.quantile(bits, 0.9) * 1.1)
        if comparison.texts != 1:
            figure.supxlabel(
                "not known to be of one text"
                if comparison.texts is None
                else "of different texts: the heights do not compare",
                fontsize=8,
            )
        key(figure, panels[0, 0])
    return {"runs": figure}


def _curve(axes: Axes, run: Run, unit: str, number: int) -> None:
    x = run.along(run.log.validated)[unit]
    colour = COLOURS[number % len(COLOURS)]
    axes.plot(
        x,
        run.log.bits,
        LINES[number % len(LINES)],
        marker=MARKERS[number % len(MARKERS)],
        markersize=4,
        markevery=max(1, math.ceil(len(x) / 12)),
        markerfacecolor="white",
        color=colour,
        linewidth=1.3,
        label=run.name + (f" ({run.models} models)" if run.models > 1 else ""),
    )
    if len(run.log.of_seeds) == len(x):  # the range of a population's models
        each = np.array(run.log.of_seeds, float)
        axes.fill_between(x, each.min(1), each.max(1), color=colour, alpha=0.15, linewidth=0)
