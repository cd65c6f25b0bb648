"""Claims of several models: how often it holds, whether the neuron is the same, since when."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from mlstm.errors import InputError
from mlstm.model.sites import parse_neuron
from mlstm.output import to_json, write_whole
from mlstm.trained import Model
from probing.evidence.claims import Claim, Verdict
from probing.evidence.matching import match_neurons
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

FORMAT_VERSION = 2
MATCH_BYTES = 1 << 18  # of test documents, about, that neurons are matched on


@dataclass(frozen=True)
class Match:
    """One model's neuron's partner in another model, and the neuron of that other's claim."""

    of: str  # the one model
    neuron: str  # its claim's
    model: str  # the other
    partner: str  # in the one-to-one assignment of the site; "" where there is none
    correlation: float
    claimed: str

    @property
    def same(self) -> bool:
        return self.partner == self.claimed


@dataclass(frozen=True)
class Claims(Sequence):
    """The claims in order, and the neurons of other models matched with the first one's."""

    claims: tuple[Claim, ...]
    matches: tuple[Match, ...] = ()

    def __len__(self) -> int:
        return len(self.claims)

    def __getitem__(self, place):
        return self.claims[place]

    @property
    def verdicts(self) -> dict[str, int]:
        """How many claims have each verdict."""
        return {v: sum(c.verdict == v for c in self.claims) for v in reversed(get_args(Verdict))}

    @property
    def emergence(self) -> list[dict]:
        """Of checkpoints of a run: step by step the neuron and its test score; empty of one step.
        The rows of a population are of one seed after the other."""
        return [
            {
                "step": c.step,
                "seed": c.model_seed,
                "neuron": c.neuron,
                "test": dataclasses.asdict(c.test),
                "p": c.p,
                "verdict": c.verdict,
            }
            for c in self._by_step
        ]

    @property
    def _by_step(self) -> list[Claim]:
        """By seed, then by step, which ascends; of seeds with several steps."""
        steps: dict[int | None, set[int]] = {}
        known = [(c.model_seed, c.step, c) for c in self.claims if c.step is not None]
        for seed, step, _ in known:
            steps.setdefault(seed, set()).add(step)
        kept = [(seed or 0, step, c) for seed, step, c in known if len(steps[seed]) > 1]
        return [c for *_, c in sorted(kept, key=lambda each: each[:2])]

    def plain(self) -> dict:
        """As JSON has it."""
        return {
            "format_version": FORMAT_VERSION,
            "kind": "claims",
            "claims": [claim.plain() for claim in self.claims],
            "verdicts": self.verdicts,
            "matches": [dataclasses.asdict(m) | {"same": m.same} for m in self.matches],
            "emergence": self.emergence,
        }

    def to_json(self) -> str:
        return to_json(self.plain())

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    def __str__(self) -> str:
        """The summary; each claim has a card of its own."""
        said = ", ".join(f"{v} in {n}" for v, n in self.verdicts.items() if n or v == "supported")
        lines = [f"of {len(self)} models: {said}"]
        for m in self.matches:
            partner = f"{m.partner} (r {m.correlation:+.3f})" if m.partner else "no neuron"
            same = "its claim's own" if m.same else f"its claim is of {m.claimed}"
            lines.append(f"  {m.neuron} of {m.of} matches {partner} of {m.model}: {same}")
        if self._by_step:
            lines.append(f"  {'step':>10}  {'seed':>4}  {'neuron':10}  test")
        for c in self._by_step:
            seed = "-" if c.model_seed is None else c.model_seed
            lines.append(f"  {c.step:>10,}  {seed:>4}  {c.neuron:10}  {c.test}  {c.verdict}")
        return "\n".join(lines)


def matched(
    models: Sequence[Model], claims: Sequence[Claim], data: LabelledData
) -> tuple[Match, ...]:
    """The first claim's neuron in each other model, by correlation over test documents (Hungarian
    assignment of all neurons of its site). A model that cannot be compared has no partner. Claims
    of directions are not matched: each has a vector of its own."""
    if len(models) < 2 or claims[0].vector is not None:
        return ()
    neuron = parse_neuron(claims[0].neuron)
    data = for_model(models[0], data)
    texts, size = [], 0
    for i in data.indices("test"):
        texts.append(data.documents[i].data)
        size += len(texts[-1])
        if size >= MATCH_BYTES:
            break
    found = []
    for model, claim in zip(models[1:], claims[1:], strict=True):
        partner, r = "", float("nan")
        try:
            for_model(model, data)
            unit, r = match_neurons(models[0], model, texts, str(neuron.site)).partner(neuron.unit)
            partner = f"{neuron.site}[{unit}]"
        except (InputError, KeyError):
            pass  # another vocabulary or cleaning, no such site, or fewer neurons
        found.append(
            Match(models[0].origin, claims[0].neuron, model.origin, partner, r, claim.neuron)
        )
    return tuple(found)
