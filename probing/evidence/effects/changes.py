"""What an edit changes, in bits per byte, with intervals by document."""

# N edits, D documents

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from probing.evidence import intervals
from probing.evidence.claims import Interval
from probing.evidence.effects.comparison import Comparison
from probing.evidence.effects.marked import Marked
from probing.evidence.effects.tally import Tally
from probing.evidence.written import signed


@dataclass(frozen=True)
class Change:
    """Edited less unedited, in bits per byte; 95% intervals by the jackknife over documents."""

    kind: str  # "mean", "resample", "zero", or "as given"
    on: Interval  # of the bytes of the concept
    elsewhere: Interval  # of all others
    difference: Interval  # on less elsewhere, paired by document
    divergence: dict[str, float]  # KL(unedited || edited) of next bytes, bits: "on", "elsewhere"
    accuracy: dict[str, float] | None
    """Balanced accuracy of the concept's probe "before" and "after", and the "lower" and "upper"
    bound of the change; None where there is no probe."""
    comparison: Comparison | None = None  # of the change on the concept's bytes
    specificity: Comparison | None = None  # of the difference
    apart: Comparison | None = None  # of the divergence on the concept's bytes
    forgotten: Comparison | None = None  # of the fall of the probe's balanced accuracy

    def lines(self) -> list[str]:
        found = [
            f"{self.kind}",
            f"  on the concept   {signed(self.on)} bits per byte, KL {self.divergence['on']:.4f}",
            f"  elsewhere        {signed(self.elsewhere)} bits per byte, KL "
            f"{self.divergence['elsewhere']:.4f}",
            f"  difference       {signed(self.difference)}",
        ]
        if self.accuracy:
            a = self.accuracy
            found.append(
                f"  probe            {a['before']:.3f} -> {a['after']:.3f} balanced accuracy, "
                f"change [{a['lower']:+.3f}, {a['upper']:+.3f}]"
            )
        for name, compared in (
            ("rise", self.comparison),
            ("difference", self.specificity),
            ("KL", self.apart),
            ("probe", self.forgotten),
        ):
            if compared:
                found.append(f"  {name:10} at     {compared}")
        return found


def rises(tally: Tally, marked: Marked) -> np.ndarray:
    """(N, 2) bits per byte that each edit costs more: elsewhere, on the concept."""
    return (tally.nats - tally.base).sum(1) / marked.counts().sum(0) / math.log(2)


def divergences(tally: Tally, marked: Marked) -> np.ndarray:
    """(N, 2) KL(unedited || edited) in bits per byte: elsewhere, on the concept. NaN where it was
    not asked for."""
    if tally.divergence is None:
        return np.full((len(tally.nats), 2), np.nan)
    return tally.divergence.sum(1) / marked.counts().sum(0) / math.log(2)


def change(kind: str, marked: Marked, edited: Tally, unedited: Tally | None = None) -> Change:
    """Of the first edit; unedited: the first of it has what the probe tells without an edit."""
    counts = by_group(marked, marked.counts())
    more = by_group(marked, edited.nats[0] - edited.base) / math.log(2)
    elsewhere, on = (intervals.jackknife_ratio(more[:, k], counts[:, k]) for k in (0, 1))
    apart = intervals.Jackknife.of(on.value - elsewhere.value, on.left_out - elsewhere.left_out)
    divergence = {}
    if edited.divergence is not None:
        bits = divergences(edited, marked)[0]
        divergence = {"elsewhere": float(bits[0]), "on": float(bits[1])}
    return Change(
        kind,
        interval(on),
        interval(elsewhere),
        interval(apart),
        divergence,
        _accuracy(marked, edited, unedited) if unedited else None,
    )


def _accuracy(marked: Marked, edited: Tally, unedited: Tally) -> dict[str, float] | None:
    if unedited.right is None or edited.right is None:
        return None
    counts = by_group(marked, labelled_counts(marked))
    rights = unedited.right[0], edited.right[0]
    before, after = (_balanced(by_group(marked, right), counts) for right in rights)
    gap = intervals.Jackknife.of(after.value - before.value, after.left_out - before.left_out)
    return {"before": before.value, "after": after.value, "lower": gap.lower, "upper": gap.upper}


def _balanced(right: np.ndarray, counts: np.ndarray) -> intervals.Jackknife:
    off, on = (intervals.jackknife_ratio(right[:, k], counts[:, k]) for k in (0, 1))
    return intervals.Jackknife.of((on.value + off.value) / 2, (on.left_out + off.left_out) / 2)


def balanced_accuracies(tally: Tally, marked: Marked) -> np.ndarray:
    """(N,) of the probe under each edit; NaN without a probe, or without labels of both sides."""
    if tally.right is None:
        return np.full(len(tally.nats), np.nan)
    counts = labelled_counts(marked).sum(0)
    return (tally.right.sum(1) / np.where(counts > 0, counts, np.nan)).mean(1)


def labelled_counts(marked: Marked) -> np.ndarray:
    """(D, 2): labelled positions that are read, without the label and with it."""
    return np.array([[np.count_nonzero(part == side) for side in (0, 1)] for part in marked.labels])


def by_group(marked: Marked, values: np.ndarray) -> np.ndarray:
    """(D, 2) sums of documents as those of their groups, (G, 2)."""
    of = np.unique(marked.groups, return_inverse=True)[1]
    return np.stack([np.bincount(of, values[:, k]) for k in (0, 1)], 1)


def interval(found: intervals.Jackknife) -> Interval:
    return Interval(found.value, found.lower, found.upper)
