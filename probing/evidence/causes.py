"""Necessity and sufficiency of a claim's neuron, or direction: what is done to the model for them.

Necessity: it is ablated at every step of test text, to its mean over train text and, a second time,
to values drawn from there; of a direction, the state's component along it. It held where each of
the two makes the concept's bytes cost more, the lower end of the interval above 0, and more than
the same done to controls does.

Sufficiency: it is set to quantiles of its own values while the model writes, and the independent
judge says how much of the concept the texts have. It held where the slope of that by dose has the
sign of the correlation on train documents, its interval is apart from 0, and it is steeper than
that of controls at the same doses.

p is (1 + controls that are as extreme) / (1 + controls), effects adjusted for variance and output
weight (`effects.comparison`); of necessity it is the larger of the two.
"""

# H units of the site

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError
from mlstm.model.edits import Batch, batch, erase, make_edits, resample
from mlstm.trained import Model
from probing.evidence.claims import ALPHA, CausalCheck, Interval
from probing.evidence.effects.beside import CONTROLS
from probing.evidence.effects.changes import change, rises
from probing.evidence.effects.comparison import against_others
from probing.evidence.effects.effect import BYTES, COMPARED_BYTES
from probing.evidence.effects.many import Many
from probing.evidence.effects.marked import mark
from probing.evidence.effects.necessity import necessity
from probing.evidence.effects.tally import tally
from probing.evidence.effects.units import Units, units
from probing.evidence.steering import steer
from probing.evidence.steering.levers import levers
from probing.evidence.subjects import Direction, OneNeuron, Subject
from probing.tasks.labelled import LabelledData

ABLATIONS = ("mean", "resample")
DIRECTIONS = 100  # random ones, that a direction is compared with
MOST = 1024  # units of a site that are all taken out, one by one; of more CONTROLS are drawn
DRAWN = 256  # rows of states that a direction's component is drawn from
LENGTH = 128  # tokens of each text
Progress = Callable[[str, int, int], None]


def necessary(
    model: Model,
    subject: Subject,
    data: LabelledData,
    *,
    alpha: float = ALPHA,
    seed: int = 0,
    progress: Progress | None = None,
    bytes: int = BYTES,
    compared_bytes: int = COMPARED_BYTES,
    controls: int | None = None,
) -> CausalCheck:
    """Of data with one concept; bytes and controls as of `effect`. Where it cannot be tested (no
    byte of the concept is read, the site has too few units) the check says why, and did not hold.
    """
    try:
        if isinstance(subject, Direction):
            of: Any = _of_direction(model, subject, data, bytes, compared_bytes, controls)
        else:
            of = _of_neuron(model, subject.name, data, bytes, compared_bytes, controls)
        found = {kind: of(kind, seed, progress) for kind in ABLATIONS}
    except InputError as error:
        return CausalCheck(False, float("nan"), 0, of=str(error))
    worst = max(found.values(), key=lambda each: each.p)
    effects = {f"{kind} ablation": each.on for kind, each in found.items()}
    effects |= {f"{kind}, elsewhere": each.elsewhere for kind, each in found.items()}
    return CausalCheck(
        held=all(each.on.lower > 0 and each.p < alpha for each in found.values()),
        p=worst.p,
        controls=worst.controls,
        percentile=worst.percentile,
        of="bits per byte on the concept",
        effects=effects,
    )


class _Rise(NamedTuple):
    """What one kind of ablation costs, and where that stands among controls."""

    on: Interval
    elsewhere: Interval
    p: float
    percentile: float
    controls: int


_Ablate = Callable[[str, int, Progress | None], _Rise]


def _of_neuron(
    model: Model, neuron: str, data: LabelledData, bytes: int, compared: int, controls: int | None
) -> _Ablate:
    known = units(model, data, OneNeuron.parse(neuron).site)

    def ablate(kind: str, seed: int, progress: Progress | None) -> _Rise:
        more: dict[str, Any] = {"bytes": bytes, "compared_bytes": compared, "seed": seed}
        drawn = CONTROLS if controls is None and model.config.hidden > MOST else controls
        more |= {"controls": drawn}
        of = necessity(model, neuron, data, kind=kind, known=known, progress=progress, **more)
        return _Rise(of.rise, of.elsewhere, of.p, of.percentile, of.controls)

    return ablate


def _of_direction(
    model: Model,
    subject: Direction,
    data: LabelledData,
    bytes: int,
    compared: int,
    controls: int | None,
) -> _Ablate:
    """The component along it is put to its mean, and to drawn values, beside that of random
    directions like it."""
    known = units(model, data, subject.site)
    marked, fewer = mark(model, data, bytes=bytes), mark(model, data, bytes=min(bytes, compared))

    def ablate(kind: str, seed: int, progress: Progress | None) -> _Rise:
        moved, _ = levers(subject, known, controls or DIRECTIONS, seed)
        vectors = moved.vectors.astype(np.float32)

        def along(rows: slice) -> Batch:
            return _along(model, known, vectors[rows], kind, seed)

        one, every = (Many(subject.site, count, along) for count in (1, len(vectors)))
        own = tally(model, marked, one, f"{kind} ablation", progress=progress)
        what = f"{kind} ablation of controls"
        more = rises(tally(model, fewer, every, what, progress=progress), fewer)[:, 1]
        read = int(fewer.counts().sum())
        among = against_others(float(more[0]), more[1:], moved.covariates, read)
        assert among.adjusted_p is not None
        assert among.adjusted_percentile is not None
        rise = change(kind, marked, own)
        return _Rise(rise.on, rise.elsewhere, among.adjusted_p, among.adjusted_percentile, among.n)

    return ablate


def _along(model: Model, known: Units, vectors: np.ndarray, kind: str, seed: int) -> Batch:
    """Edits that replace the component along each of vectors (N, H), of unit length: by that of the
    mean, or by those of states that are drawn at each step."""
    site = known.site
    if kind == "mean":
        lists = [[erase(site, known.mean, v[:, None], -v[None, :])] for v in vectors]
        return batch(model.config, lists)
    rows = np.linspace(0, len(known.pool) - 1, min(DRAWN, len(known.pool))).astype(int)
    pool = known.pool[rows]
    drawn = make_edits(model.config, [resample(site, None, pool, seed)])
    assert drawn is not None
    along = (pool @ vectors.T).T  # (N, R)
    stage = {
        "into": vectors[:, :, None],
        "out": -vectors[:, None, :],
        "pool": along[:, :, None] * vectors[:, None, :],
    }
    arrays = {site: (jax.tree.map(jnp.asarray, stage),)}
    return Batch(len(vectors), arrays, jax.tree.map(lambda _: 0, arrays), drawn.steps, None)


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
    """Of data with one concept; expected: 1 where the subject is higher in it, or -1. Options as of
    `steer`. Where it cannot be tested (it has no doses, no judge can be made) the check says why,
    and did not hold."""
    direction = subject.vector if isinstance(subject, Direction) else None
    name = subject.site if isinstance(subject, Direction) else subject.name
    more: dict[str, Any] = {"how": "set", "seed": seed, "progress": progress, "length": LENGTH}
    more |= {"direction": direction, "expected": expected, **options}
    try:
        found = steer(model, name, data, **more)
    except InputError as error:
        return CausalCheck(False, float("nan"), 0, of=str(error))
    ends = {
        f"dose {dose.quantile:g}": dose.level.score for dose in (found.doses[0], found.doses[-1])
    }
    return dataclasses.replace(
        found.check(alpha),
        percentile=found.percentile,
        of=f"{found.judge['measure']}, by the {found.judge['kind']}",
        effects={"slope by deviation": found.slope, "unedited": found.unedited.score} | ends,
    )
