"""What an edit does: to the bytes of a concept, to all others, to its probe; beside controls."""

# H units of the site, N controls

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.model import sites
from mlstm.model.edits import Edit, Edits
from mlstm.trained import Model
from probing.evidence.effects.beside import ALONE, SETS, compared, controls_of
from probing.evidence.effects.changes import Change, change
from probing.evidence.effects.given import given, like, random_erasures, removed
from probing.evidence.effects.many import ablations, side_by_side
from probing.evidence.effects.marked import Marked, mark
from probing.evidence.effects.probed import probe_of
from probing.evidence.effects.tally import Progress, Tally, tally
from probing.evidence.effects.units import Units, units
from probing.evidence.written import Saved
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

FORMAT_VERSION = 1
DEFAULT_KINDS = ("mean", "resample")
BYTES = 1 << 16  # of the split, for the effect itself
COMPARED_BYTES = 1 << 14  # of them, on which it is compared with controls
GIVEN = "as given"


@dataclass(frozen=True)
class Effect(Saved):
    """What the ablation of neurons, or another edit, changes."""

    edits: tuple[str, ...]  # neurons that are ablated, or edits
    concept: str
    rule: str  # which bytes are on the concept
    task: str
    model: str
    data: str
    data_digest: str
    split: str
    documents: int
    bytes: dict[str, int]  # predicted bytes "on" the concept and "elsewhere"
    before: dict[str, float]  # bits per byte, unedited
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()

    def plain(self) -> dict:
        version = {"format_version": FORMAT_VERSION, "kind": "effect"}
        return version | dataclasses.asdict(self)

    def __str__(self) -> str:
        counted = self.bytes["on"] + self.bytes["elsewhere"]
        lines = [
            f'{", ".join(self.edits)} and "{self.concept}"',
            f"  model            {self.model}",
            f"  data             {self.task} in {self.data}: {self.documents} {self.split} "
            f"documents, {counted:,} bytes, {self.bytes['on'] / counted:.1%} on the concept",
            f"  unedited         {self.before['on']:.4f} bits per byte on the concept, "
            f"{self.before['elsewhere']:.4f} elsewhere",
        ]
        lines += ["  " + line for found in self.changes for line in found.lines()]
        lines += [f"  note             {note}" for note in self.notes]
        return "\n".join(lines)


def effect(
    model: Model,
    edits: str | Edit | Iterable[Edit | str] | Edits,
    data: LabelledData,
    concept: str | None = None,
    *,
    kinds: Sequence[str] = DEFAULT_KINDS,
    split: str = "test",
    bytes: int = BYTES,
    compared_bytes: int = COMPARED_BYTES,
    controls: int | None = None,
    probe: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Effect:
    """What an edit does to the bytes of a concept: the ablation of neurons, or any other edit.

    Args:
      edits: "0.c[17]", or several neurons of one site, to be ablated together; or edits, as
        `mlstm.model.edits` has them: "0.c[17]=1.0", or a list, on at every step.
      concept: which of the data's; needed where there are several.
      kinds: how neurons are ablated, each after the other: "mean", "resample", "zero".
      bytes: about how many of the split are read (`marked.excerpt`).
      compared_bytes: on how many of these the edit is compared with its controls, which are many.
      controls: of one neuron, how many others at most, drawn at random (None: all that vary),
        compared as `evidence.effects.comparison` says; of a set, how many matched random sets
        (None: 100); of an erasure, how many random subspaces (None: 100). To them is done what
        `evidence.effects.given` says. 0 leaves the comparison out.
      probe: whether the concept's probe, fitted on unedited train states of the site, is run too.
      seed: of the controls, the resampled values and the probe's sample.
      progress: called with what is being done, how much of it, and all of it.

    Raises InputError for an unknown neuron, concept or kind, or neurons of two sites.
    """
    check_one(model)
    data = for_model(model, data)
    neurons = neurons_named(edits)
    of = None if neurons else given(model, edits)
    site, chosen = neurons_of(model, neurons) if of is None else (of.site, of.units)
    marked = mark(model, data, concept, split=split, bytes=bytes)
    fewer = mark(model, data, concept, split=split, bytes=min(bytes, compared_bytes))
    known = units(model, data, site)
    told = probe_of(model, marked, site, seed) if probe else None
    nothing = ablations(model, known, [[]])
    unedited = tally(model, marked, nothing, "reading", probe=told, progress=progress)
    plain = tally(model, fewer, nothing, "reading", probe=told) if told else None
    alone = of.why_not(known) if of else ""
    likes = of is None or (len(of.units) > 0 and not alone)
    beside = controls_of(known, chosen, controls, seed) if likes else ALONE
    changes, notes = [], [*marked.notes, *beside.notes]
    for kind in kinds if of is None else (GIVEN,):
        if of is None:
            edit = ablations(model, known, [chosen], kind, seed)
            others = ablations(model, known, [chosen, *beside.sets], kind, seed)
        else:
            edit = side_by_side(model, site, [of.edits])
            drawn = SETS if controls is None else controls
            lists = like(of, known, beside.sets)
            if of.erased:
                lists = random_erasures(of, known, drawn, seed)
                notes += [removed(of, known, lists)] if lists else []
            others = side_by_side(model, site, [of.edits, *lists])
        own = tally(
            model, marked, edit, f"{kind}: edit", divergence=True, probe=told, progress=progress
        )
        found = change(kind, marked, own, unedited)
        if others.count > 1:
            rest = tally(
                model,
                fewer,
                others,
                f"{kind}: controls",
                divergence=True,
                probe=told,
                progress=progress,
            )
            found = compared(found, rest, fewer, known, chosen, beside, plain)
        changes.append(found)
    if of is None:
        notes += off_distribution(known, chosen, kinds)
    elif alone and controls != 0:
        notes.append(alone)
    return Effect(
        edits=tuple(neurons) if of is None else of.names,
        concept=marked.concept,
        changes=tuple(changes),
        notes=tuple(notes),
        **described(model, marked, unedited),
    )


def neurons_named(edits: object) -> list[str]:
    """The names of neurons where nothing else is given, else none."""
    names = [edits] if isinstance(edits, str) else edits
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return []
    return [] if any("=" in name for name in names) else list(names)


def neurons_of(model: Model, names: Sequence[str]) -> tuple[str, np.ndarray]:
    """The site of neurons and their units, each once. InputError unless they share one."""
    found = [sites.check_neuron(model.config, name) for name in names]
    if len({str(neuron.site) for neuron in found}) != 1:
        raise InputError(
            "neurons that are ablated together are of one site, since what they are compared with "
            f"is; these are of {', '.join(sorted({str(n.site) for n in found})) or 'none'}"
        )
    return str(found[0].site), np.unique([neuron.unit for neuron in found])


def off_distribution(known: Units, chosen: np.ndarray, kinds: Sequence[str]) -> list[str]:
    if "zero" not in kinds:
        return []
    far = np.abs(known.mean[chosen]) / np.maximum(known.deviation[chosen], 1e-12)
    return [
        f"0 is a value like any other: it lies {far.max():.1f} deviations from the mean of train "
        "documents, and what it does can be due to that; it is no evidence alone"
    ]


def described(model: Model, marked: Marked, own: Tally) -> dict:
    """The fields of a result that say of what it is."""
    counts = marked.counts().sum(0)
    bits = own.base.sum(0) / counts / math.log(2)
    return {
        "rule": marked.rule,
        "task": marked.data.task,
        "model": model.origin,
        "data": marked.data.origin,
        "data_digest": marked.data.digest,
        "split": marked.split,
        "documents": len(marked.texts),
        "bytes": {"elsewhere": int(counts[0]), "on": int(counts[1])},
        "before": {"elsewhere": float(bits[0]), "on": float(bits[1])},
    }
