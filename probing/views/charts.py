"""Small charts as inline SVG; their colours are the page's CSS classes, for light and dark."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from probing.evidence.scores import Row


def meter(row: Row) -> str:
    """A bar from chance to perfect, with a tick where the twin is."""
    chance = 0.5 if row.metric == "AUC" else 0.0

    def place(value: float) -> float:
        return 100 * float(np.clip((value - chance) / (1 - chance), 0, 1))

    test = 0.0 if np.isnan(row.test) else place(row.test)
    twin = (
        ""
        if np.isnan(row.twin_test)
        else (f'<rect class="tick" x="{place(row.twin_test):.1f}" y="0" width="1.6" height="12"/>')
    )
    said = f"test {row.test:.3f}" + (f", twin {row.twin_test:.3f}" if twin else "")
    return (
        '<svg class="meter" viewBox="0 0 102 12" preserveAspectRatio="none" role="img">'
        f"<title>{said}</title>"
        '<rect class="track" y="3" width="100" height="6" rx="1"/>'
        f'<rect class="fill" y="3" width="{test:.1f}" height="6" rx="1"/>{twin}</svg>'
    )


def histogram(borders: np.ndarray, sides: Mapping[str, tuple[str, np.ndarray]]) -> str:
    """Shares of bytes over a neuron's values: of a concept ("on") and of the others ("off").

    sides: "on", "off" or both, in the order in which they are drawn, each with its name in the key
    ("" for no key) and its shares. Each is scaled to its own sum; a concept that is rare is as
    tall as the rest.
    """
    width, height, floor = 640, 150, 24
    top = max((shares.max() for _, shares in sides.values()), default=0) or 1.0
    low, high = borders[0], borders[-1]

    def x(value: float) -> float:
        return width * float((value - low) / (high - low))

    def outline(shares: np.ndarray) -> str:
        points = [(0.0, 0.0)]
        for left, right, share in zip(borders[:-1], borders[1:], shares, strict=True):
            points += [(x(left), share), (x(right), share)]
        points.append((float(width), 0.0))
        return " ".join(f"{a:.1f},{height - (height - 8) * b / top:.1f}" for a, b in points)

    ticks = "".join(
        f'<line class="axis" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{height}" y2="{height + 4}"/>'
        f'<text x="{x(t):.1f}" y="{height + 18}" text-anchor="middle">{_short(t)}</text>'
        for t in _ticks(low, high)
    )
    keys = "".join(
        f'<span><span class="key {side}-bars"></span>{html.escape(name)}</span>'
        for side, (name, _) in reversed(list(sides.items()))
        if name
    )
    areas = "".join(
        f'<polygon class="{side}-area" points="{outline(shares)}"/>'
        for side, (_, shares) in sides.items()
    )
    return (
        '<div class="histogram">'
        + (f'<p class="keys">{keys}</p>' if keys else "")
        + f'<svg viewBox="-14 0 {width + 28} {height + floor}" '
        f'role="img"><title>values of the neuron on the test split</title>{areas}'
        f'<line class="axis" x1="0" x2="{width}" y1="{height}" y2="{height}"/>{ticks}</svg></div>'
    )


def curve(points: Sequence[tuple[int, float]]) -> str:
    """Bits per byte on validation text against training steps."""
    width, height, left, floor = 640, 180, 60, 26
    steps, bits = np.array([p[0] for p in points], float), np.array([p[1] for p in points], float)
    low, high = float(bits.min()), float(bits.max())
    pad = 0.08 * (high - low) or 0.1
    low, high, last = low - pad, high + pad, steps.max() or 1.0

    def place(step: float, bit: float) -> tuple[float, float]:
        return left + (width - left) * step / last, height - (height - 6) * (bit - low) / (
            high - low
        )

    line = " ".join("{:.1f},{:.1f}".format(*place(s, b)) for s, b in zip(steps, bits, strict=True))
    marks = ""
    for tick in _ticks(low, high):
        y = place(0, tick)[1]
        marks += (
            f'<line class="grid" x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>'
        )
    for tick in _ticks(0, last):
        x = place(tick, low)[0]
        marks += f'<text x="{x:.1f}" y="{height + 18}" text-anchor="middle">{tick:,.0f}</text>'
    end = place(steps[-1], bits[-1])
    return (
        '<div class="histogram"><p class="keys">bits per byte on validation text by step; '
        f"last {bits[-1]:.3f}</p>"
        f'<svg viewBox="0 0 {width + 24} {height + floor}" role="img">{marks}'
        f'<polyline class="line" points="{line}"/>'
        f'<circle class="dot" cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="4"/></svg></div>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between low and high."""
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    first = int(np.ceil(low / step))
    return [k * step for k in range(first, int(np.floor(high / step)) + 1)]


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−") if abs(value) > 1e-12 else "0"
