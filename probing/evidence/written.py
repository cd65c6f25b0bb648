"""How results are printed and saved."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from mlstm.output import to_json, write_whole

if TYPE_CHECKING:
    from probing.evidence.claims import Interval


class Saved:
    """A result that is saved as what its `plain` gives."""

    def plain(self) -> dict[str, Any]:
        raise NotImplementedError

    def to_json(self) -> str:
        return to_json(self.plain(), indent=2)

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")


def signed(part: Interval) -> str:
    """A change, with its sign."""
    if math.isnan(part.value):
        return "-"
    return f"{part.value:+.4f} [{part.lower:+.4f}, {part.upper:+.4f}]"


def figure(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if math.isnan(value) else f"{value:.3f}"
