"""The figure of steering: how much of the concept is written by dose, and how well it reads."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probing.evidence.claims import Interval
from probing.evidence.steering.result import Dose, Steering
from probing.views.figures.style import BLUE, INK, LETTERS, ORANGE, SOFT, STYLE, WIDTH

CROWDED = 0.07  # of the width


def figures(result: Steering) -> dict[str, Figure]:
    return {"steering": response(result)}


@rc_context(STYLE)
def response(result: Steering) -> Figure:
    """The score by dose among those of matched controls, and bits per byte beneath."""
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    z = np.array([dose.z for dose in result.doses])
    order = np.argsort(z, kind="stable")
    _controls(above, result, z[order], order)
    _curve(above, z[order], [result.doses[k].level.score for k in order], result.subject)
    _unedited(above, result.unedited.score)
    what = "a direction" if result.subject.endswith("[direction]") else "a neuron"
    sign = f"slope {result.slope.value:+.4f} [{result.slope.lower:+.4f}, {result.slope.upper:+.4f}]"
    p = f", p = {result.p:.3f} among {len(result.slopes)} controls" if result.slopes else ""
    title = f'"{result.concept}" in texts under {what} at doses\n{sign}{p}'
    above.set_title("\n".join(line[:LETTERS] for line in title.split("\n")))
    above.set_ylabel(result.judge["measure"].replace(" in the concept", "\nin the concept"))
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    _curve(below, z[order], [result.doses[k].level.bits for k in order], result.subject)
    _unedited(below, result.unedited.bits)
    below.set_ylabel("bits per byte,\nunedited model")
    verb = "set to" if result.how == "set" else "moved to, each step"
    below.set_xlabel(f"value {verb}: standard deviations from the mean of train text (quantile)")
    below.set_xticks(z[order], _ticks([result.doses[k] for k in order]))
    return figure


def _ticks(doses: list[Dose]) -> list[str]:
    """z and quantile of each; of those that lie too near to one another the first."""
    labels, last = [], -np.inf
    for dose in doses:
        crowded = dose.z - last < CROWDED * (doses[-1].z - doses[0].z)
        labels.append("" if crowded else f"{dose.z:+.2f}\n({dose.quantile:g})")
        last = last if crowded else dose.z
    return labels


def _controls(axes: Axes, result: Steering, z: np.ndarray, order: np.ndarray) -> None:
    """The middle 90% of the controls at each dose, and their median."""
    scores = np.array([result.doses[k].controls for k in order], float)
    if not scores.size or np.isnan(scores).all(1).any():
        return
    low, middle, high = np.nanquantile(scores, [0.05, 0.5, 0.95], axis=1)
    label = f"middle 90% of {scores.shape[1]} matched controls"
    axes.fill_between(z, low, high, color=BLUE, alpha=0.3, linewidth=0, label=label)
    axes.plot(z, middle, color=BLUE, linewidth=1.2, linestyle="--", label="their median")


def _curve(axes: Axes, z: np.ndarray, levels: list[Interval], name: str) -> None:
    values = np.array([[level.value, level.lower, level.upper] for level in levels], float).T
    axes.plot(z, values[0], "o-", color=ORANGE, label=f"{name}, 95% interval")
    axes.vlines(z, values[1], values[2], color=ORANGE, linewidth=1.6)
    axes.grid(axis="y")


def _unedited(axes: Axes, level: Interval) -> None:
    axes.axhline(level.value, color=INK, linewidth=1.2, linestyle=":", label="unedited")
    if np.isfinite([level.lower, level.upper]).all():
        axes.axhspan(level.lower, level.upper, color=SOFT, alpha=0.12, linewidth=0)
