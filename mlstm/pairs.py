"""Minimal pairs: how often the first of two texts is the cheaper one, and what else would say so.

As in BLiMP (Warstadt et al. 2020): a model is right where it gives the good sentence fewer bits,
the whole of it. A tie, which is a difference that rounding can make, counts half: what guessing
would get of it.
"""

# n pairs, G groups

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from mlstm.output import to_json

LEVEL, NORMAL = 0.95, 1.959963984540054  # the quantile of a two-sided interval
FEW_GROUPS = 3  # fewer give no interval
ROUNDING = 1e-5
"""Of the larger cost: what float32 and another order of sums can make of equal texts."""


def ties(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) bool: which costs are equal but for rounding."""
    return np.abs(first - second) <= ROUNDING * np.maximum(np.abs(first), np.abs(second))


@dataclass(frozen=True)
class Share:
    """How often the first of a pair costs less."""

    pairs: int
    cheaper: int
    ties: int

    @staticmethod
    def of(first: np.ndarray, second: np.ndarray) -> Share:
        """From the costs (n,) of both, which may be of any unit; nan is neither less nor equal."""
        tied = ties(first, second)
        return Share(len(first), int(np.sum((first < second) & ~tied)), int(tied.sum()))

    @property
    def share(self) -> float:
        """Of the pairs, a tie counting half; nan of none."""
        return (self.cheaper + self.ties / 2) / self.pairs if self.pairs else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95%, Wilson 1927, of pairs that are drawn one by one; nan of none."""
        if not self.pairs:
            return math.nan, math.nan
        p, n, z = self.share, self.pairs, NORMAL
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - reach), min(1.0, middle + reach)

    def record(self) -> dict:
        low, high = self.interval
        counts = {"pairs": self.pairs, "cheaper": self.cheaper, "ties": self.ties}
        return counts | {"share": self.share, "low": low, "high": high}


@dataclass(frozen=True)
class PairScores:
    """A model's choices on pairs, by group, with what other figures of the same texts would say."""

    first: str
    second: str
    shares: Mapping[str, Share]
    """By what the pairs are compared by: "bits" first, of the model."""
    groups: Mapping[str, Share]
    """By the group of a pair, in their order; of the model's bits."""
    across: tuple[float, float, float] | None
    """The mean of the groups' shares and its 95% interval, Student's over groups: what holds for
    groups of this kind, and not for these alone. None of fewer than two groups, and an interval of
    nan of fewer than `FEW_GROUPS`."""

    def to_json(self) -> str:
        return to_json(
            {
                "format_version": 1,
                "first": self.first,
                "second": self.second,
                "shares": {name: share.record() for name, share in self.shares.items()},
                "groups": {name: share.record() for name, share in self.groups.items()},
                "across_groups": self.across
                and dict(zip(("mean", "low", "high"), self.across, strict=True)),
            },
            indent=2,
        )

    def __str__(self) -> str:
        rows = {**self.shares, **{f"  {name}": share for name, share in self.groups.items()}}
        wide = max(14, *(len(name) for name in rows)) + 2
        lines = [
            f"how often {self.first} costs less than {self.second}; a tie counts half",
            f"{'':{wide}}{'share':>8}{'95% interval':>18}{'pairs':>9}{'ties':>7}",
            *(_row(name, share, wide) for name, share in self.shares.items()),
        ]
        if self.groups:
            lines.append("bits, by group")
            lines += [_row(f"  {name}", share, wide) for name, share in self.groups.items()]
        if self.across:
            mean, low, high = self.across
            told = "too few groups" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
            lines.append(
                f"{'mean of groups':{wide}}{mean:8.3f}{told:>18}{len(self.groups):9,} groups"
            )
        return "\n".join(lines)


def compare(
    names: tuple[str, str],
    costs: Mapping[str, tuple[np.ndarray, np.ndarray]],
    groups: Sequence[str] | None = None,
) -> PairScores:
    """Of pairs whose costs are (n,) each, by what they are; the first of `costs` is the model's,
    and is shown by group."""
    shares = {name: Share.of(*both) for name, both in costs.items()}
    first, second = next(iter(costs.values()))
    found: dict[str, Share] = {}
    if groups is not None:
        of = np.array(groups, object)
        for name in dict.fromkeys(groups):
            found[name] = Share.of(first[of == name], second[of == name])
    return PairScores(*names, shares, found, _across(list(found.values())))


def _across(groups: list[Share]) -> tuple[float, float, float] | None:
    if len(groups) < 2:
        return None
    shares = np.array([group.share for group in groups])
    mean, count = float(shares.mean()), len(shares)
    if count < FEW_GROUPS:
        return mean, math.nan, math.nan
    spread = float(shares.std(ddof=1)) / math.sqrt(count)
    reach = float(student.ppf((1 + LEVEL) / 2, count - 1)) * spread
    return mean, max(0.0, mean - reach), min(1.0, mean + reach)


def _row(name: str, share: Share, wide: int) -> str:
    low, high = share.interval
    return (
        f"{name:{wide}}{share.share:8.3f}{f'{low:.3f} to {high:.3f}':>18}{share.pairs:9,}"
        f"{share.ties:7,}"
    )


class ByteCounts:
    """A byte unigram code of texts: what a model costs that knows letters and no order."""

    def __init__(self) -> None:
        self.counts = np.ones(256)  # add one

    def add(self, text: bytes) -> None:
        self.counts += np.bincount(np.frombuffer(text, np.uint8), minlength=256)

    def bits(self, text: bytes) -> float:
        cost = -np.log2(self.counts / self.counts.sum())
        # By counts of bytes, so that two texts of the same letters are a tie whatever their order.
        return float(np.bincount(np.frombuffer(text, np.uint8), minlength=256) @ cost)
