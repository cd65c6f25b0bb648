"""The colours of a neuron's values: diverging around its median, for light and dark grounds.

Blue below, orange above: told apart by the colour-blind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probing.states.statistics import Summary

BLUE, GREY, ORANGE = (92, 154, 212), (250, 250, 248), (240, 140, 40)
DARK_BLUE, DARK_GREY, DARK_ORANGE = (30, 100, 170), (30, 34, 38), (178, 92, 8)
LEVELS = 21  # colours of a page; odd, so that the middle one is the median's


@dataclass(frozen=True)
class Scale:
    """Values from centre - reach to centre + reach; what lies beyond has the end's colour."""

    centre: float
    reach: float

    def part(self, value: float) -> float:
        """Where a value lies: -1 at the low end, 0 at the centre, 1 at the high end."""
        return float(np.clip((value - self.centre) / self.reach, -1, 1))

    def colour(self, value: float) -> tuple[int, int, int]:
        return _between(self.part(value), BLUE, GREY, ORANGE)

    def level(self, value: float) -> int:
        """Which of a page's colours, 0 to LEVELS - 1."""
        return round((self.part(value) + 1) / 2 * (LEVELS - 1))


def scale_of(summary: Summary, unit: int) -> Scale:
    """Median and 5% to 95% range of a unit, from its quantile edges; wide enough for both ends."""
    edges = summary.edges[unit]
    centre = float(edges[len(edges) // 2])
    low, high = (float(edges[int(len(edges) * q)]) for q in (0.05, 0.95))
    return Scale(centre, max(high - centre, centre - low) or 1.0)


def palette() -> str:
    """CSS of the classes a0 ... a20 for a light and for a dark page."""

    def rules(*ends: tuple[int, int, int]) -> str:
        parts = (2 * k / (LEVELS - 1) - 1 for k in range(LEVELS))
        return "".join(
            ".a{}{{background:rgb({},{},{})}}".format(k, *_between(part, *ends))
            for k, part in enumerate(parts)
        )

    dark = rules(DARK_BLUE, DARK_GREY, DARK_ORANGE)
    return f"{rules(BLUE, GREY, ORANGE)}@media (prefers-color-scheme: dark){{{dark}}}"


def _between(
    part: float,
    low: tuple[int, int, int],
    middle: tuple[int, int, int],
    high: tuple[int, int, int],
) -> tuple[int, int, int]:
    end = high if part > 0 else low
    red, green, blue = (round(m + (e - m) * abs(part)) for m, e in zip(middle, end, strict=True))
    return red, green, blue
