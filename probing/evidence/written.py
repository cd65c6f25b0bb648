"""Figures and intervals as results print them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probing.evidence.claims import Interval


def signed(part: Interval) -> str:
    """A change, with its sign."""
    if math.isnan(part.value):
        return "-"
    return f"{part.value:+.4f} [{part.lower:+.4f}, {part.upper:+.4f}]"


def figure(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if math.isnan(value) else f"{value:.3f}"
