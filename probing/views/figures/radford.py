"""The figures of the sentiment protocol: the neuron's values, all weights, the curve of labels."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from probing.protocols.radford import RadfordReport
from probing.views.figures.style import BLUE, INK, ORANGE, SOFT, STYLE, WIDTH

BINS = 50


def figures(report: RadfordReport) -> dict[str, Figure]:
    """All of them; without the curve where train was too small for a point of it."""
    found = {"radford_values": values(report), "radford_weights": weights(report)}
    if report.curve:
        found["radford_labelled_examples"] = labelled_examples(report)
    return found


@rc_context(STYLE)
def values(report: RadfordReport) -> Figure:
    """How many test documents of each kind have which value of the single neuron."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    borders = np.histogram_bin_edges(report.values, BINS)
    positive = np.histogram(report.values[report.labels], borders)[0]
    negative = np.histogram(report.values[~report.labels], borders)[0]
    axes.stairs(
        negative, borders, fill=True, facecolor=BLUE, alpha=0.45, label=f"not {report.positive}"
    )
    axes.stairs(
        positive, borders, edgecolor=ORANGE, linewidth=1.6, hatch="////", label=report.positive
    )
    threshold = report.threshold.value
    axes.axvline(
        threshold, color=INK, linestyle="--", linewidth=1.2, label=f"threshold {threshold:+.3f}"
    )
    axes.set_title(
        f"Neuron {report.neuron} alone: {report.neuron_test:.1%} of {len(report.labels):,} "
        "test documents right"
    )
    axes.set_xlabel(f"value of {report.neuron} after the last byte")
    axes.set_ylabel("test documents")
    axes.legend()
    return figure


@rc_context(STYLE)
def weights(report: RadfordReport) -> Figure:
    """All weights of the full probe against the number of the unit, the largest by name."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    units = np.arange(len(report.weights))
    used = report.weights != 0
    axes.vlines(units[used], 0, report.weights[used], color=SOFT, linewidth=1, label="weights")
    largest = int(np.argmax(np.abs(report.weights)))
    weight = float(report.weights[largest])
    axes.plot([largest], [weight], "o", color=ORANGE, markersize=7)
    left = largest < 0.6 * len(units)
    axes.annotate(
        report.neuron,
        (largest, weight),
        xytext=(8 if left else -8, 0),
        textcoords="offset points",
        ha="left" if left else "right",
        va="center",
        fontweight="bold",
    )
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.margins(y=0.1)
    axes.set_xlim(-0.02 * len(units), 1.02 * len(units) - 1)
    axes.set_title(
        f"L1 probe on {report.site}: {report.nonzero} of {len(units):,} weights are not zero"
    )
    axes.set_xlabel("unit")
    axes.set_ylabel("weight")
    return figure


@rc_context(STYLE)
def labelled_examples(report: RadfordReport) -> Figure:
    """Test accuracy against the number of labelled documents."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    sizes, means, deviations = np.array(report.curve, float).T
    axes.plot(sizes, means, "o-", color=ORANGE, label="all neurons, so many labelled documents")
    axes.fill_between(
        sizes,
        means - deviations,
        means + deviations,
        color=ORANGE,
        alpha=0.25,
        linewidth=0,
        label="standard deviation over draws",
    )
    trained = report.documents["train"]
    for share, who, color, line in (
        (report.test, f"all neurons, all {trained:,}", INK, "-"),
        (report.neuron_test, f"{report.neuron} alone, all {trained:,}", INK, "--"),
        (report.majority, "most frequent label", SOFT, ":"),
    ):
        axes.axhline(share, color=color, linewidth=1.2, linestyle=line, label=f"{who}: {share:.3f}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.set_title("Accuracy on test against labelled documents")
    axes.set_xlabel("labelled train documents (log scale)")
    axes.set_ylabel("accuracy on test")
    axes.grid(axis="y")
    figure.legend(loc="outside lower left", ncols=2)
    return figure
