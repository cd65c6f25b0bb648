"""A comparison of runs as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlstm.run_comparison import RunComparison
    from mlstm.run_record import Run

HEAD = (
    *("run", "step", "parameters", "bytes read", "FLOPs", "time", "kB/s", "best bits", "at step"),
    *("last", "deviation"),
)


def table(comparison: RunComparison) -> str:
    """The figures of each run, the fields of the config that differ, and what to beware of."""
    rows = [list(HEAD), *(_row(run) for run in comparison.runs)]
    if all(run.models == 1 for run in comparison.runs):
        rows = [row[:-1] for row in rows]
    lines = _aligned(rows)
    if differing := comparison.differing:
        names = [run.name for run in comparison.runs]
        fields = [[name, *(_shown(v) for v in values)] for name, values in differing.items()]
        lines += ["", *_aligned([["what differs", *names], *fields])]
    if comparison.warning:
        lines += ["", comparison.warning]
    if comparison.broken:
        lines += ["", *(f"left out: {message}" for message in comparison.broken)]
    return "\n".join(lines)


def _row(run: Run) -> list[str]:
    found = run.record()
    steps = f"{run.step:,}" if run.steps is None else f"{run.step:,} of {run.steps:,}"
    best, last, spread = run.best, run.last, run.spread
    rate = found["bytes_per_second"]
    return [
        run.name,
        steps if run.status == "finished" else f"{steps}, {run.status}",
        f"{run.parameters:,}" + (f" x {run.models}" if run.models > 1 else ""),
        _large(found["bytes"], ("", "k", "M", "G", "T")),
        f"{found['flops']:.2e}",
        _time(found["seconds"]),
        f"{rate / 1e3:.1f}" if rate and math.isfinite(rate) else "",
        f"{best[1]:.4f}" if best else "",
        f"{best[0]:,}" if best else "",
        f"{last[1]:.4f}" if last else "",
        f"{spread:.4f}" if spread is not None else "",
    ]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _shown(value: object) -> str:
    return repr(value) if value == "" else f"{value:g}" if isinstance(value, float) else str(value)


def _large(number: float, units: tuple[str, ...]) -> str:
    if not math.isfinite(number):
        return ""
    place = 0
    while number >= 1000 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    return f"{number:.3g} {units[place]}B"


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return ""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
