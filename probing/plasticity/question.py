"""What a study asks, checked before anything is read, and kept beside what it finds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstm.errors import InputError
from mlstm.model import pruning, sites
from mlstm.model.cells import CELLS
from mlstm.model.pruning import Units
from mlstm.output import to_json, write_whole
from mlstm.trained import Model
from probing.plasticity import sets
from probing.plasticity.retraining import Schedule
from probing.tasks.labelled import LabelledData

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Question:
    """What a study asks; two that differ in any of it are two studies."""

    concept: str
    ranking: str
    """One of `sets.RANKINGS`; "given" where the units are named."""
    prune: str
    """How many units, or which share; the units themselves where they are named."""
    sites: tuple[str, ...]
    measured: tuple[str, ...]
    seeds: int
    twins: tuple[str, ...]
    schedule: Schedule
    rows: int
    bytes: int
    vectors: str = ""


def ask(
    base: Model,
    data: LabelledData,
    *,
    concept: str,
    prune: str,
    ranking: str,
    units: str | None,
    wanted: str | Sequence[str] | None,
    measured: str | Sequence[str] | None,
    seeds: int,
    twins: tuple[str, ...],
    schedule: Schedule,
    **read: Any,
) -> Question:
    """Raises InputError for what is wrong with it, before any text is read."""
    config = base.config
    if concept not in data.classes:
        raise InputError(
            f"concept {concept!r}: the classes of {data.task} are {', '.join(data.classes)}"
        )
    for name, value in (("steps", schedule.steps), ("every", schedule.every), ("seeds", seeds)):
        if value < 1:
            raise InputError(f"{name} is {value}: it is 1 or more")
    if units is not None:
        named = pruning.parse_units(config, units)
        ranked, prune, ranking = tuple(named), pruning.format_units(named), "given"
        if not named:
            raise InputError("units: none is named")
        sets.check_twins(config, ranked, named, twins)
    else:
        ranked = sets.check_sites(config, sites.check_sites(config, wanted))
        if ranking not in sets.RANKINGS:
            raise InputError(f"ranking {ranking!r}: it is one of {', '.join(sets.RANKINGS)}")
        count = sets.parse_count(prune, len(ranked) * config.hidden)
        if count == len(ranked) * config.hidden:
            raise InputError(f"prune {prune}: all units of {', '.join(ranked)} leave nothing")
        # Of several sites it is not known yet how many are of each.
        first = {ranked[0]: tuple(range(count))} if len(ranked) == 1 else {}
        sets.check_twins(config, ranked, first, twins)
    if measured is None:
        names = [*CELLS[config.cell].state_names, *set(CELLS[config.cell].makes.values())]
        every = sorted(set(names), key=list(CELLS[config.cell].site_names).index)
        measured = [f"{layer}.{name}" for layer in range(config.layers) for name in every]
    measured = sites.check_sites(config, measured)
    for site in measured:
        if pruning.unit_kind(config, sites.parse_site(site).name) is None:
            raise InputError(f'"{site}" is of gates: saliency is told of h, c and m')
    return Question(
        concept=concept,
        ranking=ranking,
        prune=prune,
        sites=ranked,
        measured=tuple(measured),
        seeds=seeds,
        twins=twins,
        schedule=schedule,
        **read,
    )


def _plain(question: Question, base: Model, data: LabelledData) -> dict[str, Any]:
    """What has to be the same where a study goes on."""
    asked = {**dataclasses.asdict(question), "model": base.origin, "data": data.digest}
    return json.loads(to_json(asked))


def check(output: Path, question: Question, base: Model, data: LabelledData) -> None:
    """InputError where the folder holds another study, or something else."""
    file = output / "study.json"
    if not file.exists():
        if (output / "runs").exists() or (output / "measured").exists():
            raise InputError(f"{output} holds runs, and no study.json: give another output")
        return
    try:
        there = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from None
    version = there.get("format_version") if isinstance(there, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(f"{file}: format_version {version}; this version reads {FORMAT_VERSION}")
    asked = _plain(question, base, data)
    before = there.get("asked", {})
    wrong = [name for name in asked if before.get(name) != asked[name]]
    if wrong:
        listed = "; ".join(f"{n} was {before.get(n)!r} and is {asked[n]!r}" for n in wrong)
        raise InputError(f"{output} holds another study: {listed}. Give another output")


def write(
    output: Path,
    question: Question,
    base: Model,
    data: LabelledData,
    arms: Mapping[tuple[str, int], Units],
) -> None:
    """Fix what each arm prunes; InputError where that was fixed otherwise before."""
    file = output / "study.json"
    chosen = {f"{arm}-{seed}": pruning.format_units(units) for (arm, seed), units in arms.items()}
    if file.exists():
        if json.loads(file.read_text()).get("pruned") != chosen:
            raise InputError(f"{output}: other units would be pruned now: give another output")
        return
    whole = {
        "format_version": FORMAT_VERSION,
        "asked": _plain(question, base, data),
        "pruned": chosen,
    }
    write_whole(file, to_json(whole, indent=2) + "\n")
