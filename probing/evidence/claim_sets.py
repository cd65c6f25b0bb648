"""Claims of several models: how often it holds, whether the neuron is the same, since when."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from mlstm.errors import InputError
from mlstm.loading import Model
from mlstm.model.sites import parse_neuron
from mlstm.output import to_json, write_whole
from probing.evidence.claims import Claim, Verdict
from probing.evidence.matching import match_neurons
from probing.tasks.labelled import LabelledData

FORMAT_VERSION = 1
MATCH_BYTES = 1 << 18  # of test documents, about, that neurons are matched on


@dataclass(frozen=True)
class Match:
    """The first model's neuron's partner in another model, and the neuron of that model's claim."""

    model: str
    neuron: str  # of the first model
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
        A population has a row for each seed."""
        known = [c for c in self.claims if c.step is not None]
        if len({c.step for c in known}) < 2:
            return []
        return [
            {
                "step": c.step,
                "seed": c.model_seed,
                "neuron": c.neuron,
                "test": dataclasses.asdict(c.test),
                "p": c.p,
                "verdict": c.verdict,
            }
            for c in sorted(known, key=lambda c: (c.model_seed or 0, c.step))
        ]

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
            lines.append(f"  {m.neuron} matches {partner} of {m.model}: {same}")
        if self.emergence:
            lines.append(f"  {'step':>10}  {'seed':>4}  {'neuron':10}  test")
        for row, claim in zip(
            self.emergence,
            sorted(
                (c for c in self.claims if c.step is not None),
                key=lambda c: (c.model_seed or 0, c.step),
            ),
            strict=False,
        ):
            seed = "-" if claim.model_seed is None else claim.model_seed
            lines.append(f"  {row['step']:>10,}  {seed:>4}  {row['neuron']:10}  {claim.test}")
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
            unit, r = match_neurons(models[0], model, texts, str(neuron.site)).partner(neuron.unit)
            partner = f"{neuron.site}[{unit}]"
        except (InputError, KeyError):
            pass  # another vocabulary, no such site, or fewer neurons
        found.append(Match(model.origin, claims[0].neuron, partner, r, claim.neuron))
    return tuple(found)
