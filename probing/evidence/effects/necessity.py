"""Is a neuron needed for the bytes of a concept, more than other neurons of its site are?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mlstm.errors import check_one
from mlstm.trained import Model
from probing.evidence.claims import ALPHA, Interval
from probing.evidence.effects.beside import compared, controls_of
from probing.evidence.effects.changes import change
from probing.evidence.effects.effect import BYTES, COMPARED_BYTES, neurons_of
from probing.evidence.effects.many import ablations
from probing.evidence.effects.marked import mark
from probing.evidence.effects.tally import Progress, tally
from probing.evidence.effects.units import Units, units
from probing.evidence.written import Saved
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData


@dataclass(frozen=True)
class Necessity(Saved):
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
        fields = dataclasses.asdict(self)
        fields["ablation"] = fields.pop("kind")
        return {"format_version": 1, "kind": "necessity"} | fields

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
    controls: int | None = None,
    known: Units | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Necessity:
    """The rise of bits per byte on a concept's bytes where one neuron is ablated at every step.

    Arguments and errors as of `effect`, of one neuron and one kind of ablation, without its probe;
    it is always compared. known: what `units` says of the site, where it is at hand.
    """
    check_one(model)
    data = for_model(model, data)
    site, chosen = neurons_of(model, [neuron])
    marked = mark(model, data, concept, split=split, bytes=bytes)
    fewer = mark(model, data, concept, split=split, bytes=min(bytes, compared_bytes))
    known = known or units(model, data, site)
    beside = controls_of(known, chosen, None if controls is None else max(1, controls), seed)
    edit = ablations(model, known, [chosen], kind, seed)
    own = tally(model, marked, edit, f"{kind} ablation", progress=progress)
    others = ablations(model, known, [chosen, *beside.sets], kind, seed)
    rest = tally(model, fewer, others, f"{kind} ablation of controls", progress=progress)
    found = compared(change(kind, marked, own), rest, fewer, known, chosen, beside)
    among = found.comparison
    assert among is not None
    assert among.adjusted_p is not None
    assert among.adjusted_percentile is not None
    return Necessity(
        neuron=neuron,
        concept=marked.concept,
        kind=kind,
        rise=found.on,
        elsewhere=found.elsewhere,
        difference=found.difference,
        bytes=int(marked.counts().sum()),
        controls=among.n,
        compared_bytes=among.bytes,
        compared_rise=among.effect,
        control_rises=among.effects,
        percentile=among.adjusted_percentile,
        p=among.adjusted_p,
        raw_percentile=among.percentile,
        raw_p=among.p,
    )
