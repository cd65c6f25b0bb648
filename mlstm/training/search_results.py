"""The table of a search so far, best first, and the choice: by the mean over seeds of the best
validation of each run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from mlstm.output import to_json, write_whole
from mlstm.run_comparison import write_csv
from mlstm.training.search import FORMAT_VERSION, Ended, Search
from mlstm.training.search_space import Values


@dataclass(frozen=True)
class Row:
    """A trial, over its seeds."""

    trial: int
    values: Values
    bits: tuple[float, ...]
    """Of the seeds that finished."""
    troubles: tuple[str, ...]
    """How the others ended, and why."""
    waiting: int

    @property
    def mean(self) -> float:
        return float(np.mean(self.bits)) if self.bits else math.nan

    @property
    def reach(self) -> float:
        """Half the 95% interval of the mean, Student's over seeds; nan with fewer than two."""
        n = len(self.bits)
        if n < 2:
            return math.nan
        return float(student.ppf(0.975, n - 1) * np.std(self.bits, ddof=1) / math.sqrt(n))


@dataclass(frozen=True)
class Results:
    """The table of a search so far, best first."""

    search: Search
    rows: tuple[Row, ...]

    @staticmethod
    def of(search: Search, now: dict[tuple[int, int], Ended] | None = None) -> Results:
        """From what is on the disk, and what ended just now, for good or not."""
        rows = []
        for trial, values in enumerate(search.trials):
            found = {
                seed: (now or {}).get((trial, seed)) or search.ended(trial, seed)
                for t, seed in search.plan
                if t == trial
            }
            told = [ended for ended in found.values() if ended]
            rows.append(
                Row(
                    trial,
                    values,
                    tuple(ended.bits for ended in told if ended.bits is not None),
                    tuple(ended.told for ended in told if ended.bits is None),
                    sum(ended is None for ended in found.values()),
                )
            )
        rows.sort(key=lambda row: (math.isnan(row.mean), row.mean, row.trial))
        return Results(search, tuple(rows))

    @property
    def best(self) -> Row | None:
        """The lowest mean of those of which every seed finished."""
        whole = [row for row in self.rows if len(row.bits) == self.search.seeds]
        return min(whole, key=lambda row: row.mean, default=None)

    def records(self) -> list[dict[str, Any]]:
        return [
            {
                "trial": row.trial + 1,
                **row.values,
                "validation_bits_per_byte": None if math.isnan(row.mean) else row.mean,
                "interval": None if math.isnan(row.reach) else row.reach,
                "finished": len(row.bits),
                "of_seeds": list(row.bits),
                "troubles": list(row.troubles),
            }
            for row in self.rows
        ]

    def save(self) -> None:
        write_whole(self.search.folder / "results.csv", write_csv(self.records()))
        best = self.best
        record = {
            "format_version": FORMAT_VERSION,
            "chosen": best and {"trial": best.trial + 1, **best.values},
            "trials": self.records(),
        }
        write_whole(self.search.folder / "results.json", to_json(record, indent=2) + "\n")

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for row in self.rows for name in row.values))
        head = ["trial", *names, "validation", "95% +-", "seeds", ""]
        lines = [head]
        for row in self.rows:
            counts: dict[str, int] = {}
            for each in row.troubles:
                counts[each] = counts.get(each, 0) + 1
            told = [f"{n} {name}" if n > 1 else name for name, n in counts.items()]
            if row.waiting:
                told.append(f"{row.waiting} to be run")
            lines.append(
                [
                    str(row.trial + 1),
                    *(_shown(row.values.get(name)) for name in names),
                    "" if math.isnan(row.mean) else f"{row.mean:.4f}",
                    "" if math.isnan(row.reach) else f"{row.reach:.4f}",
                    str(len(row.bits)),
                    "; ".join(told),
                ]
            )
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False))
            + (f"  {line[-1]}" if line[-1] else "")
            for line in lines
        )


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
