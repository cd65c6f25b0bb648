"""score_neurons: one pass over labelled documents, for the model and for its random twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from mlstm.errors import check_one
from mlstm.loading import Model
from mlstm.model import sites as model_sites
from probing.evidence import scores
from probing.evidence.controls import random_twin
from probing.evidence.scores import HALVES, NeuronTable
from probing.states import activations, statistics
from probing.states.statistics import Statistics, Summary
from probing.tasks.labelled import LabelledData


def score_neurons(
    model: Model,
    data: LabelledData,
    sites: str | Sequence[str] | None = None,
    *,
    twin_seed: int | None = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NeuronTable:
    """How well each neuron tells each concept of the data, beside a random twin.

    sites: "0.c", "0.c,0.h" or a sequence; the model's primary site if None.
    twin_seed: of the random twin's parameters; None leaves the twin out.
    progress: called with bytes done and bytes in all, over both passes.
    One pass for the model and one for the twin; states are not stored. InputError for an unknown
    site, data without a label, fewer than two documents, or a list of models.
    """
    check_one(model)
    names = activations.check_sites(
        model, model_sites.primary(model.config) if sites is None else sites
    )
    data.check_labels()
    halves = [data.half(name) for name in HALVES]
    passes = 1 if twin_seed is None else 2

    def collect(which: Model, nth: int) -> dict[str, Summary]:
        def report(done: int) -> None:
            if progress:
                progress(nth * data.bytes + done, passes * data.bytes)

        return summarise(which, data, names, progress=report)

    summaries = collect(model, 0)
    twins = {} if twin_seed is None else collect(random_twin(model, twin_seed), 1)
    return NeuronTable(
        task=data.task,
        model=model.origin,
        data=data.origin,
        data_digest=data.digest,
        documents=(len(halves[0]), len(halves[1])),
        bytes=(sum(len(d.data) for d in halves[0]), sum(len(d.data) for d in halves[1])),
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
    progress: Callable[[int], None] | None = None,
) -> dict[str, Summary]:
    """The statistics of each site over all documents, by half: a pilot sample, then one pass."""
    pilots = activations.sample(model, data, names)
    parts = {
        name: Statistics.init(pilot, len(HALVES), len(data.classes), len(data.numbers))
        for name, pilot in pilots.items()
    }
    done = 0
    for window in activations.stream(model, data, names):
        labels = jnp.asarray(window.labels.reshape(-1, len(data.concepts)))
        half = jnp.asarray(window.half.reshape(-1))
        for name, states in window.states.items():
            parts[name] = statistics.update(
                parts[name], states.reshape(-1, states.shape[-1]), labels, half
            )
        done += window.bytes
        if progress:
            progress(done)
    return {name: part.finalize() for name, part in parts.items()}


def _scores(summaries: dict[str, Summary], data: LabelledData) -> scores.Scores:
    return scores.join([scores.scores(s, len(data.classes)) for s in summaries.values()])
