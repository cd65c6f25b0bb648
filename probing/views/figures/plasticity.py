"""The figures of a study of plasticity: curves of all arms, saliency by site, and its map."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from probing.plasticity.report import PlasticityReport
from probing.views.figures import style
from probing.views.figures.style import BLUE, GRID, INK, ORANGE, SOFT, STYLE, WIDTH

LINES = {
    "concept": {"color": ORANGE, "marker": "o", "linestyle": "-", "linewidth": 2.0},
    "random": {"color": BLUE, "marker": "s", "linestyle": "-"},
    "matched": {"color": INK, "marker": "D", "linestyle": "--", "markerfacecolor": "white"},
    "untouched": {"color": SOFT, "marker": "^", "linestyle": ":", "markerfacecolor": "white"},
}
NAMES = {"concept": "pruned: the concept's", "random": "at random", "matched": "matched",
         "untouched": "nothing pruned"}  # fmt: skip
PANELS = (
    ("bits_per_byte", "bits per byte, held out"),
    ("best_auc", "AUC of the best neuron, test"),
    ("probe_auc", "AUC of a probe of all neurons, test"),
    ("roles_taken", "roles of pruned neurons taken"),
    ("participation", "spread of the concept's direction, in neurons"),
    ("concepts_followed", "concepts that a neuron follows"),
)
COLUMNS = 128  # units of a row of the map
APART = 0.012  # of the steps: between the marks of two arms
HEAT = LinearSegmentedColormap.from_list("saliency", ["white", "#f3d9bd", ORANGE, INK])


def figures(report: PlasticityReport) -> dict[str, Figure]:
    return {
        "plasticity_curves": curves(report),
        "plasticity_saliency": saliency(report),
        "plasticity_map": saliency_map(report),
    }


@rc_context(STYLE)
def curves(report: PlasticityReport) -> Figure:
    """What is measured of every arm against steps of retraining: means over seeds, 95% intervals;
    the level of the model before as a line."""
    figure = Figure(figsize=(WIDTH, 7.4), layout="constrained")
    panels = figure.subplots(3, 2, sharex=True)
    for axes, (name, title) in zip(panels.flat, PANELS, strict=True):
        axes.axhline(
            report.base.figures[name], color=INK, linewidth=0.8, label="before the pruning"
        )
        if name == "roles_taken":
            axes.lines[0].set_visible(False)
        for arm in report.names:
            _curve(axes, report, arm, name)
        axes.set_title(title)
        axes.grid(axis="y")
    for axes in panels[-1]:
        axes.set_xlabel("steps of retraining")
    style.key(figure, panels.flat[0])
    return figure


def _curve(axes: Axes, report: PlasticityReport, arm: str, figure: str) -> None:
    """Means as a line, intervals as bars; arms are a little apart, so that all bars are seen."""
    points = [report.point(arm, step, figure) for step in report.steps]
    aside = (report.names.index(arm) - (len(report.names) - 1) / 2) * APART * report.steps[-1]
    there = np.array(report.steps) + aside
    axes.plot(there, [p.mean for p in points], markersize=4, label=NAMES[arm], **LINES[arm])
    low, high = np.array([p.low for p in points]), np.array([p.high for p in points])
    seen = high > low
    axes.vlines(there[seen], low[seen], high[seen], color=LINES[arm]["color"], linewidth=1)


@rc_context(STYLE)
def saliency(report: PlasticityReport) -> Figure:
    """How salient the concept is at each site, along the retraining of every arm: the mean of
    2 |AUC - 1/2| on test, over the neurons that live."""
    sites = list(report.base.saliency)
    rows = -(-len(sites) // 3)
    figure = Figure(figsize=(WIDTH, 0.9 + 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, min(3, len(sites)), sharex=True, sharey=True, squeeze=False)
    for axes, site in zip(panels.flat, sites, strict=False):
        name = f"strength {site}"
        axes.axhline(
            report.base.figures[name], color=INK, linewidth=0.8, label="before the pruning"
        )
        for arm in report.names:
            _curve(axes, report, arm, name)
        axes.set_title(site)
        axes.grid(axis="y")
        axes.set_xlabel("steps")
    for axes in panels.flat[len(sites) :]:
        axes.set_visible(False)
    panels[0, 0].set_ylabel("mean 2 |AUC - 1/2|")
    style.key(figure, panels.flat[0])
    return figure


@rc_context(STYLE)
def saliency_map(report: PlasticityReport) -> Figure:
    """The saliency of every neuron before, right behind the pruning and at the end, of the first
    seed that pruned the concept's; pruned neurons are crossed out."""
    arm = report.seeds_of("concept")[0]
    first, last = report.steps[0], report.steps[-1]
    times = {
        "before": report.base.saliency,
        "pruned": arm.curve[first].saliency,
        f"retrained {last:,} steps": arm.curve[last].saliency,
    }
    sites = list(report.base.saliency)
    units = len(report.base.saliency[sites[0]])
    lines = len(sites) * -(-units // COLUMNS)
    figure = Figure(figsize=(WIDTH, 1.3 + 3 * (0.35 + 0.26 * lines)), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, sharey=True)
    image: Any = None
    for axes, (title, of) in zip(panels, times.items(), strict=True):
        values, dead = _grid(of, sites, units)
        image = axes.imshow(values, cmap=HEAT, vmin=0, vmax=1, aspect="auto", interpolation="none")
        rows, columns = np.nonzero(dead)
        axes.plot(columns, rows, "x", color=SOFT, markersize=3, markeredgewidth=0.8)
        axes.set_title(title)
        axes.set_facecolor(GRID)
        each = lines // len(sites)
        axes.set_yticks(each * np.arange(len(sites)) + (each - 1) / 2, sites)
        axes.tick_params(axis="y", length=0)
        for site in range(1, len(sites)):
            axes.axhline(site * each - 0.5, color=SOFT, linewidth=0.6)
    panels[-1].set_xlabel("unit" if units <= COLUMNS else f"unit, {COLUMNS} in a row; × is pruned")
    figure.colorbar(image, ax=list(panels), label="saliency (rank)", shrink=0.6, pad=0.01)
    return figure


def _grid(
    of: dict[str, list[float]], sites: list[str], units: int
) -> tuple[np.ndarray, np.ndarray]:
    """Values as lines of at most COLUMNS units, and which of them are pruned."""
    width = min(units, COLUMNS)
    rows = []
    for site in sites:
        padded = np.full(-(-units // width) * width, -1.0)
        padded[:units] = of[site]
        rows.append(padded.reshape(-1, width))
    values = np.concatenate(rows)
    dead = np.isnan(values)
    return np.ma.masked_where(dead | (values < 0), values), dead
