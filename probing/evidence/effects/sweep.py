"""The effect of every neuron of a site: estimated for all, exact for those that matter most."""

# H units of the site

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from mlstm.errors import InputError, check_one
from mlstm.model import sites
from mlstm.trained import Model
from probing.evidence.effects.changes import rises
from probing.evidence.effects.effect import described
from probing.evidence.effects.many import KINDS, ablations
from probing.evidence.effects.marked import mark
from probing.evidence.effects.screen import screen
from probing.evidence.effects.tally import Progress, tally
from probing.evidence.effects.units import units
from probing.evidence.ranking import Ranking
from probing.evidence.written import Saved
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

BYTES = 1 << 14
VERIFY = 32


@dataclass(frozen=True)
class Verified:
    """One neuron: bits per byte that its ablation costs more."""

    neuron: str
    estimate: float  # on the concept's bytes
    on: float  # exact
    elsewhere: float
    place: int  # among the estimates, 1 the largest


@dataclass(frozen=True, eq=False)
class Sweep(Saved):
    """All neurons of a site by what their ablation costs on a concept's bytes."""

    site: str
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
    estimates: np.ndarray  # (H, 2) elsewhere, on the concept
    verified: tuple[Verified, ...]  # by their exact effect on the concept
    correlation: float  # Spearman's, of estimate and exact effect on the concept, of these
    ablation: str = "mean"  # "resample" is estimated as "mean" is

    def ranking(self) -> Ranking:
        """Neurons by effect: those that were verified by it, then the rest by its estimate."""
        first = [sites.parse_neuron(each.neuron).unit for each in self.verified]
        rest = [u for u in np.argsort(-self.estimates[:, 1], kind="stable") if u not in first]
        scores = self.estimates[:, 1].copy()
        scores[first] = [each.on for each in self.verified]
        return Ranking("effect", np.array([*first, *rest], int), scores)

    def plain(self) -> dict:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["estimates"] = self.estimates.tolist()
        fields["verified"] = [dataclasses.asdict(each) for each in self.verified]
        return {"format_version": 1, "kind": "sweep"} | fields

    def __str__(self) -> str:
        lines = [
            f'{self.site} and "{self.concept}": {self.ablation} ablation of each of '
            f"{len(self.estimates):,} neurons, bits per byte more than {self.before['on']:.4f} on "
            f"the concept and {self.before['elsewhere']:.4f} elsewhere; "
            f"{sum(self.bytes.values()):,} bytes of {self.documents} {self.split} documents",
            f"  {'neuron':<14}{'on':>9}{'elsewhere':>11}{'estimate':>10}{'its place':>11}",
        ]
        lines += [
            f"  {v.neuron:<14}{v.on:>+9.4f}{v.elsewhere:>+11.4f}{v.estimate:>+10.4f}{v.place:>11}"
            for v in self.verified[:10]
        ]
        return "\n".join(
            [
                *lines,
                f"  of {len(self.verified)} verified, rank correlation of estimate and exact "
                f"effect {self.correlation:.3f}",
            ]
        )


def sweep(
    model: Model,
    data: LabelledData,
    concept: str | None = None,
    *,
    site: str | None = None,
    kind: str = "mean",
    verify: int = VERIFY,
    split: str = "train",
    bytes: int = BYTES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sweep:
    """Screen all neurons of a site by one gradient pass, and ablate the best of them.

    kind: "mean", "zero" or "resample"; what the last costs is estimated by what the mean does.
    verify: how many are ablated exactly, those of the largest estimates on the concept's bytes.
    split: a neuron that is chosen for its effect has to be judged on other documents than those it
        was chosen on, so this is not test.
    Other arguments and errors as of `effect`. Time is that of one pass forward and three back,
    whatever the number of neurons, and of one pass forward for each that is verified.
    """
    check_one(model)
    data = for_model(model, data)
    if kind not in KINDS:
        raise InputError(f'an ablation is by "{kind}"; it is one of {", ".join(KINDS)}')
    if verify < 0:
        raise InputError(f"{verify} neurons to verify; it is 0 or more")
    site = str(sites.check_site(model.config, site or sites.primary(model.config)))
    marked = mark(model, data, concept, split=split, bytes=bytes)
    known = units(model, data, site)

    def report(done: int, every: int) -> None:
        if progress:
            progress("screening by gradient", done, every)

    aims = dataclasses.replace(known, mean=np.zeros_like(known.mean)) if kind == "zero" else known
    estimates = screen(model, marked, aims, report)
    order = np.argsort(-estimates[:, 1], kind="stable")
    best = order[:verify]
    edits = ablations(model, known, [[], *([unit] for unit in best)], kind, seed)
    found = tally(model, marked, edits, "ablating the best", progress=progress)
    more = rises(found, marked)[1:]
    told: Any = spearmanr(estimates[best, 1], more[:, 1]) if len(best) > 2 else None
    verified = [
        Verified(f"{site}[{unit}]", float(estimates[unit, 1]), float(b), float(a), nth + 1)
        for nth, (unit, (a, b)) in enumerate(zip(best.tolist(), more, strict=True))
    ]
    return Sweep(
        site=site,
        concept=marked.concept,
        estimates=estimates,
        verified=tuple(sorted(verified, key=lambda each: -each.on)),
        correlation=float(told.statistic) if told else float("nan"),
        ablation=kind,
        **described(model, marked, found),
    )
