"""Necessity and sufficiency of a claim's neuron, or direction: what is done to the model for them.

Necessity: it is ablated at every step of test text, to its mean over train text and, a second time,
to values drawn from there; of a direction, the state's component along it. It held where each of
the two makes the concept's bytes cost more, the lower end of the interval above 0, and more than
the same done to controls does.

Sufficiency: it is set to quantiles of its own values while the model writes, and the independent
judge says how much of the concept the texts have. It held where the slope of that by dose has the
sign of the correlation on train documents, its interval is apart from 0, and it is steeper than
that of controls at the same doses.

p is (1 + controls that are as extreme) / (1 + controls), of necessity the larger of the two.
"""

# H units of the site

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from mlstm.loading import Model
from mlstm.model.edits import Batch, batch, erase
from probing.evidence.claims import ALPHA, CausalCheck
from probing.evidence.effects.changes import change, rises
from probing.evidence.effects.comparison import p_of, percentile_of
from probing.evidence.effects.effect import COMPARED_BYTES
from probing.evidence.effects.marked import mark
from probing.evidence.effects.necessity import necessity
from probing.evidence.effects.tally import Tally, tally
from probing.evidence.effects.units import units
from probing.evidence.steering import steer
from probing.evidence.steering.levers import levers
from probing.evidence.subjects import Direction, Subject
from probing.tasks.labelled import LabelledData

ABLATIONS = ("mean", "resample")
DIRECTIONS = 100  # random ones, that a direction is compared with
Progress = Callable[[str, int, int], None]


def necessary(
    model: Model,
    subject: Subject,
    data: LabelledData,
    *,
    alpha: float = ALPHA,
    seed: int = 0,
    progress: Progress | None = None,
) -> CausalCheck:
    """Of data with one concept. Errors as `effects.necessity`."""
    if isinstance(subject, Direction):
        return _of_direction(model, subject, data, alpha, seed, progress)
    found = [
        necessity(model, subject.name, data, kind=kind, seed=seed, progress=progress)
        for kind in ABLATIONS
    ]
    own = {f"{each.kind} ablation": each.rise for each in found}
    worst = max(found, key=lambda each: each.p)
    return CausalCheck(
        held=all(each.held(alpha) for each in found),
        p=worst.p,
        controls=worst.controls,
        percentile=worst.percentile,
        of="bits per byte on the concept",
        effects=own | {f"{each.kind}, elsewhere": each.elsewhere for each in found},
    )


def _of_direction(
    model: Model,
    subject: Direction,
    data: LabelledData,
    alpha: float,
    seed: int,
    progress: Progress | None,
) -> CausalCheck:
    """The component along it is put to its mean, beside that of random directions like it."""
    known = units(model, data, subject.site)
    moved, _ = levers(subject, known, DIRECTIONS, seed)

    def erased(rows: slice) -> Batch:
        return batch(
            model.config,
            [
                [erase(subject.site, known.mean, v[:, None], -v[None, :])]
                for v in moved.vectors[rows].astype(np.float32)
            ],
        )

    def run(marked, count: int, what: str) -> Tally:
        def report(done: int, every: int) -> None:
            if progress:
                progress(what, done, every)

        return tally(model, marked, subject.site, count, erased, progress=report)

    marked = mark(model, data)
    own = run(marked, 1, "mean ablation")
    found = change("mean", marked, unedited(model, marked, subject.site, known.mean), own)
    fewer = mark(model, data, bytes=COMPARED_BYTES)
    beside = run(fewer, len(moved.names), "mean ablation of controls")
    base = unedited(model, fewer, subject.site, known.mean)
    more = rises(beside, fewer, base.nats[0])[:, 1]
    p = p_of(float(more[0]), more[1:])
    return CausalCheck(
        held=found.on.lower > 0 and p < alpha,
        p=p,
        controls=len(more) - 1,
        percentile=percentile_of(float(more[0]), more[1:]),
        of="bits per byte on the concept",
        effects={"mean ablation": found.on, "mean, elsewhere": found.elsewhere},
    )


def unedited(model: Model, marked, site: str, mean: np.ndarray) -> Tally:
    """What the bytes cost where a direction of length 0 is erased."""
    nothing = np.zeros((len(mean), 1), np.float32)
    same = [[erase(site, mean, nothing, nothing.T)]]
    return tally(model, marked, site, 1, lambda _: batch(model.config, same))


def sufficient(
    model: Model,
    subject: Subject,
    expected: int,
    data: LabelledData,
    *,
    alpha: float = ALPHA,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> CausalCheck:
    """Of data with one concept; expected: 1 where the subject is higher in it, or -1. Options and
    errors as of `steer`."""
    direction = subject.vector if isinstance(subject, Direction) else None
    name = subject.site if isinstance(subject, Direction) else subject.name
    found = steer(
        model,
        name,
        data,
        direction=direction,
        how="set",
        expected=expected,
        seed=seed,
        progress=progress,
        **options,
    )
    ends = {
        f"dose {dose.quantile:g}": dose.level.score for dose in (found.doses[0], found.doses[-1])
    }
    return dataclasses.replace(
        found.check(alpha),
        percentile=found.percentile,
        of=f"{found.judge['measure']}, by the {found.judge['kind']}",
        effects={"slope by deviation": found.slope, "unedited": found.unedited.score} | ends,
    )
