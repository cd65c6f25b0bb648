"""How far a concept's bytes depend on the first k neurons of an order: drop k, keep k.

Dropped are the first k, or all but the first k, by ablation at every step; beside each are random
sets of k, drawn anew for each k from all neurons of the site that vary. They are not matched to the
first k in variance or output weight, as those of `effect` are: of large k none like them are left.
p is of each k by itself, not corrected for their number.
"""

# H units, V of them that vary, N sets

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.trained import Model
from probing.evidence.effects.changes import balanced_accuracies, rises
from probing.evidence.effects.effect import described
from probing.evidence.effects.many import ablations
from probing.evidence.effects.marked import mark
from probing.evidence.effects.probed import probe_of
from probing.evidence.effects.tally import Progress, tally
from probing.evidence.effects.units import units
from probing.evidence.ranking import Ranking
from probing.evidence.written import Saved
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

BYTES = 1 << 13
SETS = 100
LEAST = 20
BAND = (0.05, 0.95)  # quantiles of the random sets


@dataclass(frozen=True)
class Point:
    """One k: bits per byte more than unedited, the probe's balanced accuracy; of the ordered
    neurons, and of random sets (lowest, median and highest of the band)."""

    k: int
    on: float
    elsewhere: float
    accuracy: float
    random_on: tuple[float, float, float]
    random_elsewhere: tuple[float, float, float]
    random_accuracy: tuple[float, float, float]
    p: float  # of `on` among the random sets, of this k alone: (1 + as extreme) / (1 + n)


@dataclass(frozen=True)
class Curves(Saved):
    """Drop-k and keep-k curves of one order of the neurons of a site."""

    site: str
    order: str  # its name
    first: tuple[str, ...]  # the first neurons of it
    ablation: str
    concept: str
    rule: str
    task: str
    model: str
    data: str
    data_digest: str
    split: str
    documents: int
    bytes: dict[str, int]
    before: dict[str, float]
    accuracy: float  # unedited
    sets: int  # random ones, not matched, for each k
    drop: tuple[Point, ...]
    keep: tuple[Point, ...]

    def plain(self) -> dict:
        return {"format_version": 1, "kind": "curves"} | dataclasses.asdict(self)

    def __str__(self) -> str:
        bits = self.before
        lines = [
            f'{self.site} and "{self.concept}": {self.ablation} ablation in the order of '
            f"{self.order}, {self.sets} random sets of neurons that vary, not matched, for each k, "
            f"and p not corrected for the number of k; {bits['on']:.4f} bits per byte on the "
            f"concept and {bits['elsewhere']:.4f} elsewhere, probe {self.accuracy:.3f}",
            f"  {'':8}{'k':>5}{'on':>9}  {'random':<18}{'elsewhere':>9}  {'random':<18}"
            f"{'probe':>6}  {'random':<15}{'p':>7}",
        ]
        for name, points in (("drop", self.drop), ("keep", self.keep)):
            for q in points:
                on, elsewhere = _band(q.random_on, 4), _band(q.random_elsewhere, 4)
                lines.append(
                    f"  {name:8}{q.k:>5}{q.on:>+9.4f}  {on:<18}{q.elsewhere:>+9.4f}  "
                    f"{elsewhere:<18}{q.accuracy:>6.3f}  {_band(q.random_accuracy, 3):<15}"
                    f"{q.p:>7.4f}"
                )
        return "\n".join(lines)


def curves(
    model: Model,
    data: LabelledData,
    order: Ranking | Sequence[int] | np.ndarray,
    concept: str | None = None,
    *,
    site: str,
    kind: str = "mean",
    ks: Sequence[int] | None = None,
    sets: int = SETS,
    split: str = "test",
    bytes: int = BYTES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Curves:
    """Drop-k and keep-k curves.

    order: a `Ranking` of the site's neurons, or their units from the first on, all of them once;
        made on other documents than these, as `sweep` makes one.
    ks: 1, 2, 4, ... up to half of the units that vary, if None.
    sets: random sets of each size, at least 20; p is at least 1 / (1 + sets).
    Other arguments and errors as of `effect`.
    """
    check_one(model)
    data = for_model(model, data)
    if sets < LEAST:
        raise InputError(f"{sets} random sets make no band; at least {LEAST} do")
    H = model.config.hidden
    order_of = np.asarray(order.order if isinstance(order, Ranking) else order, int)
    if not np.array_equal(np.sort(order_of), np.arange(H)):
        raise InputError(f"an order has each unit once, 0 to {H - 1}")
    marked = mark(model, data, concept, split=split, bytes=bytes)
    known = units(model, data, site)
    moving = np.flatnonzero(known.varies)
    V = len(moving)
    ks = [1 << n for n in range(V.bit_length()) if 1 << n <= V // 2] if ks is None else list(ks)
    if not ks or min(ks) < 1 or max(ks) >= V:
        raise InputError(f"k is {ks}; it is from 1 to {V - 1}: {V} units of {site} vary")
    probe = probe_of(model, marked, site, seed)
    draw, sets_of = np.random.default_rng(seed), [np.array([], int)]
    for k in ks:
        sets_of += [order_of[:k], *_random(draw, moving, k, sets)]
        kept = [order_of[:k], *_random(draw, moving, k, sets)]
        sets_of += [np.setdiff1d(np.arange(H), few) for few in kept]
    edits = ablations(model, known, sets_of, kind, seed)
    found = tally(model, marked, edits, "dropping and keeping", probe=probe, progress=progress)
    more, told = rises(found, marked), balanced_accuracies(found, marked)
    drop, keep = [], []
    for nth, k in enumerate(ks):
        for points, place in ((drop, 2 * nth), (keep, 2 * nth + 1)):
            here = slice(1 + place * (1 + sets), 1 + (place + 1) * (1 + sets))
            points.append(_point(k, more[here], told[here], points is drop))
    return Curves(
        site=site,
        order=order.name if isinstance(order, Ranking) else "a given order",
        first=tuple(f"{site}[{unit}]" for unit in order_of[:10]),
        ablation=kind,
        concept=marked.concept,
        accuracy=float(told[0]),
        sets=sets,
        drop=tuple(drop),
        keep=tuple(keep),
        **described(model, marked, found),
    )


def _random(draw: np.random.Generator, of: np.ndarray, k: int, sets: int) -> list[np.ndarray]:
    return [draw.choice(of, k, replace=False) for _ in range(sets)]


def _point(k: int, more: np.ndarray, told: np.ndarray, dropped: bool) -> Point:
    """more (1 + N, 2), told (1 + N,), the ordered neurons first. Dropping is extreme where it costs
    much, keeping where it costs little."""

    def band(values: np.ndarray) -> tuple[float, float, float]:
        low, middle, high = np.quantile(values, [BAND[0], 0.5, BAND[1]])
        return float(low), float(middle), float(high)

    own, rest = more[0, 1], more[1:, 1]
    extreme = rest >= own if dropped else rest <= own
    return Point(
        k,
        float(own),
        float(more[0, 0]),
        float(told[0]),
        band(rest),
        band(more[1:, 0]),
        band(told[1:]),
        float((1 + np.count_nonzero(extreme)) / (1 + len(rest))),
    )


def _band(band: tuple[float, float, float], digits: int) -> str:
    return f"[{band[0]:.{digits}f}, {band[2]:.{digits}f}]"
