"""score_neurons: one pass over labelled documents, for the model and for its random twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jax.sharding import Mesh

from mlstm.errors import check_one
from mlstm.loading import Model
from probing.evidence import figures
from probing.evidence.controls import random_twin
from probing.evidence.scores import NeuronTable
from probing.states import activations
from probing.states.collect import collect, pilot_numbers
from probing.states.statistics import Statistics, Summary
from probing.tasks.labelled import SPLITS, LabelledData


def score_neurons(
    model: Model,
    data: LabelledData,
    sites: str | Sequence[str] | None = None,
    *,
    twin_seed: int | None = 0,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NeuronTable:
    """How well each neuron tells each concept of the data, beside a random twin.

    sites: "0.c", "0.c,0.h" or a sequence; the model's primary site if None.
    twin_seed: of the random twin's parameters; None leaves the twin out.
    mesh: of `mlstm.devices.mesh`: the devices that read, here or in several processes, each of
    which gives the same data and gets the table. It differs by rounding alone.
    progress: called with bytes done and bytes in all, over both passes.
    Neurons are chosen on train and tested on test; dev is counted beside them, for what comes
    after. One pass for the model and one for the twin; states are not stored. InputError for an
    unknown site, data without a label, too few documents to split, a list of models, or a mesh
    that does not divide the hidden units.
    """
    check_one(model)
    names = activations.check_sites(model, sites)
    data.check_labels()
    parts = [data.indices(split) for split in SPLITS]
    passes = 1 if twin_seed is None else 2

    def summaries_of(which: Model, nth: int) -> dict[str, Summary]:
        def report(done: int) -> None:
            if progress:
                progress(nth * data.bytes + done, passes * data.bytes)

        return summarise(which, data, names, mesh=mesh, progress=report)

    summaries = summaries_of(model, 0)
    twins = {} if twin_seed is None else summaries_of(random_twin(model, twin_seed), 1)
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
        twin=_scores(twins, data) if twins else None,
        twin_seed=twin_seed,
        summaries=summaries,
    )


def summarise(
    model: Model,
    data: LabelledData,
    names: Sequence[str],
    *,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Summary]:
    """The statistics of each site over all documents, by slot: a pilot sample, then one pass."""
    numbers = pilot_numbers(data)
    parts = {
        name: [Statistics.init(pilot, activations.FOLDS, len(data.classes), numbers)]
        for name, pilot in activations.sample(model, data, names, mesh=mesh).items()
    }
    found = collect(model, data, parts, mesh=mesh, progress=progress)
    return {name: summary for name, (summary,) in found.items()}


def _scores(summaries: dict[str, Summary], data: LabelledData) -> figures.Scores:
    return figures.join([figures.scores(s, len(data.classes)) for s in summaries.values()])
