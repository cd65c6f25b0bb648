"""The figures of effects: one neuron among all others, curves of many, the response to a push."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probing.evidence.effects.comparison import Comparison
from probing.evidence.effects.curves import Curves, Point
from probing.evidence.effects.effect import Effect
from probing.evidence.effects.pulse import Pulse
from probing.evidence.effects.sweep import Sweep
from probing.views.figures import style
from probing.views.figures.style import BLUE, INK, LETTERS, ORANGE, SOFT, STYLE, WIDTH

BINS = 40
SHOWN = 16  # neurons of a sweep
LEAST = 1e-9  # bits: what is less is rounding, and is not drawn


def of_effect(effect: Effect) -> dict[str, Figure]:
    """Nothing where there were no controls."""
    shown = [found for found in effect.changes if found.comparison and found.specificity]
    return {"effect_controls": controls(effect)} if shown else {}


def of_curves(found: Curves) -> dict[str, Figure]:
    return {"effect_curves": curves(found)}


def of_pulse(found: Pulse) -> dict[str, Figure]:
    return {"effect_pulse": response(found)}


def of_sweep(found: Sweep) -> dict[str, Figure]:
    return {"effect_sweep": largest(found)} if found.verified else {}


@rc_context(STYLE)
def controls(effect: Effect) -> Figure:
    """How the effects of all controls lie, and where this one is among them: of every kind a row,
    its rise on the concept's bytes and how much more that is than the rise elsewhere."""
    kinds = [found for found in effect.changes if found.comparison and found.specificity]
    figure = Figure(figsize=(WIDTH, 0.7 + 2.2 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), 2, squeeze=False)
    for (left, right), found in zip(panels, kinds, strict=True):
        how = f"{found.kind} ablation" if found.kind != "as given" else "as given"
        for axes, among, what in (
            (left, found.comparison, "on the concept"),
            (right, found.specificity, "on the concept, less elsewhere"),
        ):
            if among:
                axes.set_title(f"{how}: {what}\n{_among(axes, among)}", fontsize=8.5)
        left.set_ylabel(_plural(found.comparison), fontsize=8.5)
    for axes in panels[-1]:
        axes.set_xlabel("bits per byte more than unedited")
    title = f'{", ".join(effect.edits)} and "{effect.concept}"'
    figure.suptitle(title[:LETTERS], fontsize=10, ha="left", x=0.01)
    return figure


def _among(axes: Axes, among: Comparison) -> str:
    """Draws it, and says its p."""
    values = np.array(among.effects)
    borders = np.histogram_bin_edges(np.append(values, among.effect), BINS)
    counts = np.histogram(values, borders)[0]
    axes.stairs(counts, borders, fill=True, facecolor=BLUE, alpha=0.55)
    axes.axvline(among.effect, color=ORANGE, linewidth=2)
    axes.plot([among.effect], [0], "o", color=ORANGE, markersize=7, clip_on=False, zorder=3)
    axes.axvline(0, color=SOFT, linewidth=0.8, linestyle=":")
    axes.set_ylim(0, max(1, counts.max()) * 1.1)
    axes.locator_params(axis="x", nbins=5)
    if among.adjusted_p is None:
        return f"p = {among.p:.4f} among {among.n:,}"
    return f"adjusted p = {among.adjusted_p:.4f} among {among.n:,}"


def _plural(among: Comparison | None) -> str:
    return (among.controls if among else "").removesuffix(" of the site")


@rc_context(STYLE)
def curves(found: Curves) -> Figure:
    """Bits per byte on the concept and elsewhere, and the probe, with the first k neurons ablated
    (left) or all but these (right); the band is of random sets."""
    more = "bits per byte more,\n"
    parts: list[tuple[str, Callable[[Point], Any], Callable[[Point], Any], float]] = [
        (more + "on the concept", lambda q: q.on, lambda q: q.random_on, 0.0),
        (more + "elsewhere", lambda q: q.elsewhere, lambda q: q.random_elsewhere, 0.0),
    ]
    if np.isfinite(found.accuracy):
        parts.append(
            (
                "balanced accuracy\nof the probe",
                lambda q: q.accuracy,
                lambda q: q.random_accuracy,
                found.accuracy,
            )
        )
    figure = Figure(figsize=(WIDTH, 0.9 + 1.9 * len(parts)), layout="constrained")
    panels = figure.subplots(len(parts), 2, sharex=True, squeeze=False)
    for row, (name, value, band, level) in zip(panels, parts, strict=True):
        for axes, points in zip(row, (found.drop, found.keep), strict=True):
            ks = [q.k for q in points]
            low, middle, high = np.array([band(q) for q in points], float).T
            label = f"middle 90% of {found.sets} random sets"
            axes.fill_between(ks, low, high, color=BLUE, alpha=0.3, linewidth=0, label=label)
            axes.plot(ks, middle, color=BLUE, linewidth=1.2, linestyle="--", label="their median")
            own = [value(q) for q in points]
            axes.plot(ks, own, "o-", color=ORANGE, markersize=5, label=f"by {found.order}")
            axes.axhline(level, color=INK, linewidth=1, linestyle=":", label="unedited")
            axes.grid(axis="y")
        row[0].set_ylabel(name)
    panels[0][0].set_title("the first k ablated")
    panels[0][1].set_title("all but the first k ablated")
    for axes in panels[-1]:
        axes.set_xscale("log", base=2)
        ks = [q.k for q in found.drop]
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.set_xlabel(f"k neurons of {found.site}")
    style.key(figure, panels[0][0])
    return figure


@rc_context(STYLE)
def response(found: Pulse) -> Figure:
    """What is left of a push of one deviation, step after step, and how far it moves the next
    one's distribution: medians over places with their 95% intervals."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    steps = np.arange(len(found.response))
    _curve(above, steps, found.response)
    if np.isfinite(found.time_constant):
        alone = found.forget_gate**steps
        label = f"forget gate alone, median {found.forget_gate:.3f}"
        above.plot(steps, alone, color=INK, linestyle="--", linewidth=1.2, label=label)
    half = found.half_life.value
    if np.isfinite(half) and half < steps[-1]:
        label = f"half-life {half:.1f} {found.unit}s"
        above.axvline(half, color=SOFT, linestyle=":", linewidth=1.4, label=label)
    above.axhline(0, color=SOFT, linewidth=0.8)
    above.set_ylabel("left of the push,\nits deviations")
    above.set_title(f"{found.neuron} pushed by one deviation at {found.places} places")
    above.legend()
    _curve(below, steps, np.maximum(found.divergence, LEAST))
    below.set_yscale("log")
    below.yaxis.set_major_formatter(lambda bits, _: f"{bits:g}")
    below.set_ylabel(f"KL of the next {found.unit},\nbits")
    below.set_xlabel(f"{found.unit}s after the push")
    return figure


def _curve(axes: Axes, steps: np.ndarray, values: np.ndarray) -> None:
    axes.fill_between(
        steps,
        values[:, 1],
        values[:, 2],
        color=ORANGE,
        alpha=0.25,
        linewidth=0,
        label="95% interval of the median",
    )
    axes.plot(steps, values[:, 0], color=ORANGE, linewidth=1.6, label="median over places")
    axes.grid(axis="y")


@rc_context(STYLE)
def largest(found: Sweep) -> Figure:
    """The neurons whose ablation costs most on the concept's bytes: exact, and as estimated."""
    rows = found.verified[:SHOWN]
    figure, (axes,) = style.rows_figure(len(rows))
    axes.axvline(0, color=SOFT, linewidth=0.8)
    style.dot_rows(
        axes,
        [v.neuron for v in rows],
        {
            "on the concept": ([v.on for v in rows], style.BEST),
            "elsewhere": ([v.elsewhere for v in rows], style.THIRD),
            "on the concept, by gradient": ([v.estimate for v in rows], style.OTHER),
        },
    )
    axes.set_title(f'mean ablation and "{found.concept}"')
    axes.set_xlabel("bits per byte more than unedited")
    style.key(figure, axes)
    return figure
