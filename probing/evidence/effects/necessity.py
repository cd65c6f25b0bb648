"""Is a neuron needed for the bytes of a concept, more than other neurons of its site are?"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

from mlstm.errors import check_one
from mlstm.loading import Model
from mlstm.output import to_json, write_whole
from probing.evidence.claims import ALPHA, Interval
from probing.evidence.effects.changes import change
from probing.evidence.effects.effect import (
    BYTES,
    COMPARED_BYTES,
    CONTROLS,
    Progress,
    Run,
    compared,
    controls_of,
    masks,
    neurons_of,
)
from probing.evidence.effects.marked import mark
from probing.evidence.effects.units import units
from probing.tasks.labelled import LabelledData


@dataclass(frozen=True)
class Necessity:
    """What the ablation of one neuron costs on the bytes of a concept, beside other neurons."""

    neuron: str
    concept: str
    kind: str
    rise: Interval  # bits per byte on the concept's bytes
    elsewhere: Interval
    difference: Interval
    bytes: int
    controls: int  # other neurons of the site
    compared_bytes: int  # on which they were compared
    compared_rise: float  # of the neuron, on these
    control_rises: tuple[float, ...]
    percentile: float  # among the controls, adjusted for variance and output weight
    p: float  # (1 + as extreme) / (1 + controls), adjusted
    raw_percentile: float
    raw_p: float

    def held(self, alpha: float = ALPHA) -> bool:
        """The bytes of the concept cost more without the neuron, and more so than without others
        like it."""
        return self.rise.lower > 0 and self.p < alpha

    def plain(self) -> dict:
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        return to_json(self.plain(), indent=2)

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    def __str__(self) -> str:
        return (
            f'{self.neuron} and "{self.concept}": {self.kind} ablation costs '
            f"{self.rise.value:+.4f} [{self.rise.lower:+.4f}, {self.rise.upper:+.4f}] bits per "
            f"byte on the concept, {self.elsewhere.value:+.4f} elsewhere; percentile "
            f"{self.percentile:.1f} of {self.controls} other neurons, p = {self.p:.4f} "
            f"({self.raw_percentile:.1f}, p = {self.raw_p:.4f} before adjustment)"
        )


def necessity(
    model: Model,
    neuron: str,
    data: LabelledData,
    concept: str | None = None,
    *,
    kind: str = "mean",
    split: str = "test",
    bytes: int = BYTES,
    compared_bytes: int = COMPARED_BYTES,
    controls: int = CONTROLS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Necessity:
    """The rise of bits per byte on a concept's bytes where one neuron is ablated at every step.

    Arguments and errors as of `effect`, of one neuron and one kind of ablation, without its probe.
    """
    check_one(model)
    site, chosen = neurons_of(model, [neuron])
    marked = mark(model, data, concept, split=split, bytes=bytes)
    fewer = mark(model, data, concept, split=split, bytes=min(bytes, compared_bytes))
    known = units(model, data, site)
    others, balance, _ = controls_of(known, chosen, max(1, controls), seed)
    run = Run(model, marked, known, kind, seed, progress)
    own = run(f"{kind} ablation", masks(known, [[], chosen]))
    found = change(kind, marked, own.take(slice(0, 1)), own.take(slice(1, 2)))
    found = compared(found, run.over(fewer), known, chosen, others, balance)
    beside = found.comparison
    assert beside is not None
    return Necessity(
        neuron=neuron,
        concept=marked.concept,
        kind=kind,
        rise=found.on,
        elsewhere=found.elsewhere,
        difference=found.difference,
        bytes=int(marked.counts().sum()),
        controls=beside.n,
        compared_bytes=beside.bytes,
        compared_rise=beside.effect,
        control_rises=beside.effects,
        percentile=beside.adjusted_percentile,
        p=beside.adjusted_p,
        raw_percentile=beside.percentile,
        raw_p=beside.p,
    )
