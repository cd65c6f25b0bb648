"""score_neurons: passes over labelled documents, for the model and for what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from mlstm.errors import InputError, check_one
from mlstm.trained import Model
from probing.evidence import figures
from probing.evidence.controls import control_labels, untrained_twin
from probing.evidence.permutations import Drawn, Permuting, Significance
from probing.evidence.scores import NeuronTable
from probing.evidence.surface import surface_figures
from probing.states import activations
from probing.states.collect import collect, pilot_numbers
from probing.states.statistics import Statistics, Summary
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import SPLITS, LabelledData

DRAWS = 199  # of the null


def score_neurons(
    model: Model,
    data: LabelledData,
    sites: str | Sequence[str] | None = None,
    *,
    twin_seed: int | None = 0,
    draws: int = DRAWS,
    controls: bool = True,
    seed: int = 0,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NeuronTable:
    """How well each neuron tells each concept of the data, beside a random twin.

    sites: "0.c", "0.c,0.h" or a sequence; the model's primary site if None.
    twin_seed: of the random twin's parameters; None leaves the twin out.
    draws: of the null, for p of every neuron (`evidence.permutations`); 0 leaves p out.
    controls: also a surface model, and the control task where labels are of words or bytes;
        False leaves them out.
    seed: of the null, the surface model and the control task.
    mesh: of `mlstm.devices.mesh`: the devices that read, here or in several processes, each of
    which gives the same data and gets the table. It differs by rounding alone.
    progress: called with bytes done and bytes in all, over all passes.
    Neurons are chosen on train and tested on test; dev is counted beside them, for what comes
    after. One pass for the model, one for the twin, one for the control task; states are not
    stored. InputError for an unknown site, data without a label, too few documents to split, a
    list of models, or a mesh that does not divide the hidden units.
    """
    check_one(model)
    data = for_model(model, data)
    names = activations.check_sites(model, sites)
    data.check_labels()
    parts = [data.indices(split) for split in SPLITS]
    control = control_labels(data, seed) if controls else None
    passes = 1 + (twin_seed is not None) + (control is not None)
    drawn = Drawn(data, draws, seed) if draws else None
    more = {n: [Permuting(drawn, model.config.hidden)] for n in names} if drawn else {}

    def found(which: Model, of: LabelledData, nth: int, more: dict) -> dict[str, list[Any]]:
        def report(done: int) -> None:
            if progress:
                progress(nth * data.bytes + done, passes * data.bytes)

        return _pass(which, of, names, more, mesh=mesh, progress=report)

    def scores_of(which: Model, of: LabelledData, nth: int) -> figures.Scores:
        return _scores({n: s for n, (s, *_) in found(which, of, nth, {}).items()}, of)

    own = found(model, data, 0, more)
    summaries = {name: summary for name, (summary, *_) in own.items()}
    return NeuronTable(
        task=data.task,
        model=model.origin,
        data=data.origin,
        data_digest=data.digest,
        unit=data.unit,
        documents=tuple(len(part) for part in parts),
        bytes=tuple(sum(len(data.documents[i].data) for i in part) for part in parts),
        skipped=data.skipped,
        classes=data.classes,
        numbers=data.numbers,
        sites=names,
        units=model.config.hidden,
        scores=_scores(summaries, data),
        twin=scores_of(untrained_twin(model, twin_seed), data, 1)
        if twin_seed is not None
        else None,
        twin_seed=twin_seed,
        summaries=summaries,
        control=scores_of(model, control, passes - 1) if control else None,
        surface=surface_figures(data, seed) if controls else None,
        significance=Significance.of([s for _, s in own.values()], len(data.classes), draws, seed)
        if draws
        else None,
        notes=data.token_notes,
    )


def _pass(
    model: Model,
    data: LabelledData,
    names: Sequence[str],
    more: dict[str, list],
    *,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, list[Any]]:
    """The summary of each site, then what the accumulators of `more` have found in that pass."""
    numbers = pilot_numbers(data)
    pilots = activations.sample(model, data, names, mesh=mesh)
    for name, pilot in pilots.items():
        if not np.isfinite(pilot).all():
            raise InputError(f"{model.origin}: the states of {name} are not finite")
    parts = {
        name: [
            Statistics.init(pilot, activations.FOLDS, len(data.classes), numbers),
            *more.get(name, []),
        ]
        for name, pilot in pilots.items()
    }
    return collect(model, data, parts, mesh=mesh, progress=progress)


def _scores(summaries: dict[str, Summary], data: LabelledData) -> figures.Scores:
    return figures.join([figures.scores(s, len(data.classes)) for s in summaries.values()])
