"""The verdict on a neuron, or a direction, and a concept: what `verify` returns.

The rule, on test documents, in this order. *Not significant*: the max-statistic p over all
neurons that were tried (of a direction, the p of that one) is alpha or more. *Explained by a
baseline*: the lower 95% bound (jackknife by document, paired) of the score minus the larger of the
surface model's and of the random twin's best neuron's (of a direction also of a probe of the
twin's) is 0 or less. *Correlational only*: necessity or sufficiency failed, or was not tested.
*Supported*: otherwise.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Literal

from mlstm.output import to_json, write_whole
from probing.evidence.written import figure, signed

FORMAT_VERSION = 3
ALPHA = 0.05

Verdict = Literal["not significant", "explained by a baseline", "correlational only", "supported"]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{figure(self.value)} [{figure(self.lower)}, {figure(self.upper)}]"


NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class CausalCheck:
    """Necessity or sufficiency: whether it held, and the figures behind that (see `causes`)."""

    held: bool
    p: float  # (1 + controls that are as extreme) / (1 + controls)
    controls: int
    percentile: float = math.nan  # among them
    of: str = ""  # what the effects are of; of one that could not be tested, why
    effects: dict[str, Interval] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        if math.isnan(self.p):
            return f"not tested: {self.of}"
        said = "held" if self.held else "failed"
        effects = ", ".join(f"{name} {signed(effect)}" for name, effect in self.effects.items())
        return (
            f"{said}, p = {self.p:.4f}, percentile {figure(self.percentile)} of "
            f"{self.controls:,} controls; {self.of}: {effects}"
        )


def decide(
    p: float,
    lead: Interval,
    necessity: CausalCheck | None = None,
    sufficiency: CausalCheck | None = None,
    alpha: float = ALPHA,
) -> Verdict:
    """The verdict from the figures behind it. A figure that is not a number speaks against."""
    if not p < alpha:
        return "not significant"
    if not lead.lower > 0:
        return "explained by a baseline"
    if not all(check is not None and check.held for check in (necessity, sufficiency)):
        return "correlational only"
    return "supported"


@dataclass(frozen=True)
class Claim:
    """That a neuron, or a direction, follows a concept: the verdict, and the numbers behind it.

    Scores are AUC of a class and |r| of a number, in the direction chosen on train documents.
    """

    concept: str
    metric: str  # "AUC" or "r"
    neuron: str  # "0.c[17]"; of a direction "0.c[direction]"
    direction: int  # 1: higher in the concept
    chosen: bool  # by the train documents, rather than named beforehand
    task: str
    model: str
    data: str
    data_digest: str
    documents: dict[str, int]  # of each split
    positions: dict[str, int]
    tried: int  # neurons over which the maximum of the null is taken
    select: float  # score on train documents
    test: Interval
    cohen_d: float
    p: float
    draws: int
    null: str  # what was permuted
    majority: float  # share of the most frequent value, of test positions
    surface: Interval
    twin: Interval
    twin_neuron: str
    lead: Interval  # test minus the larger of surface and twin (and twin_probe), paired
    verdict: Verdict
    alpha: float = ALPHA
    control: dict[str, float] | None = None  # control task; None: not applicable, or not run
    probes: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    ranks: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    rotated: dict[str, float] = dataclasses.field(default_factory=dict)
    rows: dict[str, int] = dataclasses.field(default_factory=dict)  # of these four, by split
    step: int | None = None  # of the checkpoint
    model_seed: int | None = None
    overlap: dict[str, float] | None = None  # with the training text; None: no text to compare
    necessity: CausalCheck | None = None
    sufficiency: CausalCheck | None = None
    vector: dict[str, str | float] | None = None  # of a direction: its sha256 and its norm
    twin_probe: Interval | None = None  # of a direction: a probe of all of the twin's neurons
    notes: tuple[str, ...] = ()

    def plain(self) -> dict:
        """All fields as JSON has them; what was not tested is None."""
        return {"format_version": FORMAT_VERSION, "kind": "claim", **dataclasses.asdict(self)}

    def to_json(self) -> str:
        return to_json(self.plain(), indent=2)

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    @property
    def sentence(self) -> str:
        """The verdict in words. "encodes" is said of a supported claim alone."""
        verb = {
            "not significant": "is not shown to follow",
            "explained by a baseline": "follows no better than a baseline does:",
            "correlational only": "follows",
            "supported": "encodes",
        }[self.verdict]
        return f'{self.neuron} {verb} "{self.concept}"'

    def __str__(self) -> str:
        how = "chosen on train documents" if self.chosen else "named beforehand"
        documents, positions = (
            " / ".join(f"{part.get(split, 0):,}" for split in ("train", "dev", "test"))
            for part in (self.documents, self.positions)
        )
        of, against = "neuron", f"maximum over {self.tried:,} neurons"
        if self.vector is not None:
            of, against = "direction", "of this direction alone"
        lines = [
            f"{self.sentence}  ({self.verdict})",
            f"  model      {self.model}",
            f"  data       {self.task} in {self.data}: {documents} documents, {positions} "
            "positions (train / dev / test)",
            f"  {of:11}{self.neuron}, {'higher' if self.direction > 0 else 'lower'} in the "
            f"concept; {how}, {self.tried:,} tried",
            f"  {self.metric + ' on test':11} {self.test}, d {figure(self.cohen_d)}; "
            f"{figure(self.select)} on train",
            f"  null       p = {self.p:.4f} over {self.draws} draws ({self.null}), {against}",
            f"  surface    {self.surface}",
            f"  twin       {self.twin} ({self.twin_neuron or 'none'})",
        ]
        if self.twin_probe is not None:
            lines.append(f"  twin probe {self.twin_probe} of all of the twin's neurons")
        rivals = "two" if self.twin_probe is None else "three"
        lines.append(f"  lead       {self.lead} over the best of the {rivals}, paired by document")
        if self.vector is not None:
            norm, digest = self.vector["norm"], str(self.vector["sha256"])[:16]
            lines.insert(4, f"  vector     norm {norm:.4g}, sha256 {digest}...")
        if self.metric == "AUC":
            lines.append(f"  majority   {self.majority:.3f} of test positions have one value")
        if self.rows:
            sizes = " / ".join(f"{self.rows[split]:,}" for split in ("train", "dev", "test"))
            lines.append(f"  sample     {sizes} positions, for the probes that follow")
        lines += [f"  {name:12}{_listed(figures)}" for name, figures in self.probes.items()]
        said = "not applicable" if self.control is None else _listed(self.control) or "not defined"
        lines.append(f"  control    {said}")
        lines += [f"  ranks      {name}: {_listed(of)}" for name, of in self.ranks.items()]
        if self.rotated:
            lines.append(f"  rotated    {_listed(self.rotated)}")
        if self.overlap is not None:
            lines.append(
                f"  overlap    {self.overlap['share']:.1%} of test documents share 13 words in a "
                "row with the training text"
            )
        else:
            lines.append("  overlap    not measured: the training text is not at hand")
        for name in ("necessity", "sufficiency"):
            lines.append(f"  {name:12}{getattr(self, name) or 'not tested'}")
        lines += [f"  note       {note}" for note in self.notes]
        return "\n".join(lines)


def _listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {figure(value)}" for name, value in figures.items())
