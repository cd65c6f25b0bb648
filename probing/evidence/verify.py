"""verify: the whole protocol on one neuron, or on the best of a site, and one verdict.

Everything is chosen on train documents (which neuron, its direction, the twin's best neuron, the
surface model) and tuned on dev; each figure of the claim is of test documents, looked at once.
"""

# n labelled test positions, H units, R draws

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jax.sharding import Mesh

from mlstm.corpus.reading import Split
from mlstm.errors import InputError
from mlstm.loading import Model
from mlstm.model import sites as model_sites
from mlstm.model.sites import parse_neuron
from probing.evidence import companions, intervals, null
from probing.evidence.claim_sets import Claims, matched
from probing.evidence.claims import ALPHA, Claim, Interval, decide
from probing.evidence.controls import control_labels, random_twin
from probing.evidence.overlap import overlap, pieces
from probing.evidence.scores import NeuronTable
from probing.evidence.significance import NullSums, max_statistic_p
from probing.evidence.surface import SurfaceModel
from probing.neurons import score_neurons
from probing.states import activations
from probing.states import rows as sampled_rows
from probing.tasks.labelled import SPLITS, LabelledData

DRAWS = 199
ROWS = 10_000  # of each split, at most, for what is fitted beside the neuron
NULLS = {
    "document": "labels exchanged among documents of like length",
    "token": "labels exchanged among word types of like frequency",
    "byte": "labels shifted in a circle within each document",
}


def verify(
    model: Model | Sequence[Model],
    of: str | None,
    data: LabelledData,
    concept: str | None = None,
    *,
    draws: int = DRAWS,
    alpha: float = ALPHA,
    seed: int = 0,
    rows: int = ROWS,
    corpus: Split | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Claim | Claims:
    """Does a neuron follow the concept, better than the text itself and a random network would?

    Args:
      model: one, or several (of other seeds, or other checkpoints): then the claims are a
        sequence, `Claims`, and where `of` is a site the unit is chosen anew in each.
      of: a neuron, "0.c[17]", or sites to choose from, "0.c,0.h"; the primary site if None.
      concept: which of the data's; needed where there are several.
      draws: of the null; p is at least 1 / (1 + draws).
      seed: of the null, the twin, the surface model, the sample, control labels and rotation.
      rows: labelled positions of each split, at most, that probes beside the neuron are given.
      corpus: the training text, to say how much of the data it has; None leaves that out.
      mesh: of `mlstm.devices.mesh`, as of `score_neurons`.
      progress: called with what is being done, how much of it, and all of it.

    Raises InputError for an unknown neuron, site or concept, or data that cannot be split.
    """
    if isinstance(model, Sequence):
        claims = [
            _verify(one, of, data, concept, draws, alpha, seed, rows, corpus, mesh, progress)
            for one in model
        ]
        return Claims(tuple(claims), matched(model, claims, data))
    return _verify(model, of, data, concept, draws, alpha, seed, rows, corpus, mesh, progress)


def _verify(model, of, data, concept, draws, alpha, seed, rows, corpus, mesh, progress) -> Claim:
    concept = _concept(data, concept)
    data = data.only(concept)
    neuron = model_sites.check_neuron(model.config, of) if of and "[" in of else None
    names = activations.check_sites(model, str(neuron.site) if neuron else of or None)
    is_class = concept in data.classes

    def report(what: str) -> Callable[[int, int], None]:
        return lambda done, every: progress(what, done, every) if progress else None

    table = score_neurons(
        model,
        data,
        names,
        twin_seed=seed,
        draws=0,
        controls=False,
        mesh=mesh,
        progress=report("scoring neurons"),
    )
    chosen = _chosen(table, concept, str(neuron) if neuron else None)
    tests = data.indices("test")
    sums = {name: NullSums.init(draws, model.config.hidden) for name in names}
    model_values = _values(
        model,
        data,
        tests,
        names,
        chosen.neuron,
        sums=sums,
        draws=draws,
        seed=seed,
        mesh=mesh,
        progress=report("permuting labels"),
    )
    twin = random_twin(model, seed)
    twin_values = (
        _values(
            twin, data, tests, names, chosen.twin_neuron, mesh=mesh, progress=report("random twin")
        )
        if chosen.twin_neuron
        else None
    )
    surface = SurfaceModel(seed=seed).fit(data)
    surface_values = np.concatenate([surface.scores(data, int(i))[:, 0] for i in tests])
    labels = np.concatenate([data.target(data.labels(int(i)), concept) for i in tests])
    groups = np.concatenate([np.full(data.counts[i], data.hashes[i], np.uint64) for i in tests])
    directed = [chosen.direction * model_values, surface_values]
    if twin_values is not None:
        directed.append(chosen.twin_direction * twin_values)
    jackknife = intervals.jackknife_auc if is_class else intervals.jackknife_correlation
    own, text, *random = (jackknife(values, labels, groups) for values in directed)
    lead = intervals.jackknife_lead(own, text, *random)
    places = [f"{name}[{unit}]" for name in names for unit in range(model.config.hidden)]
    statistics = np.concatenate([sums[name].statistics(is_class) for name in names], 1)
    observed = statistics[0, places.index(chosen.neuron)]
    p = float(max_statistic_p(observed, statistics[1:].max(1)))
    unit = parse_neuron(chosen.neuron)
    kept_rows = sampled_rows.choose(data, rows, seed)
    parts = sampled_rows.states(model, data, str(unit.site), kept_rows)
    control = control_labels(data, seed)
    control_of = (
        {split: sampled_rows.targets(control, kept) for split, kept in kept_rows.items()}
        if control is not None
        else None
    )
    counts = {split: int(data.counts[data.indices(split)].sum()) for split in SPLITS}
    lead_interval = Interval(lead.value, lead.lower, lead.upper)
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    probes = companions.beside(parts, unit.unit, is_class)
    return Claim(
        concept=concept,
        metric="AUC" if is_class else "r",
        neuron=chosen.neuron,
        direction=chosen.direction,
        chosen=neuron is None,
        task=data.task,
        model=model.origin,
        data=data.origin,
        data_digest=data.digest,
        documents={split: len(data.indices(split)) for split in SPLITS},
        positions=counts,
        tried=len(places),
        select=chosen.select,
        test=_interval(own),
        cohen_d=chosen.cohen_d,
        p=p,
        draws=draws,
        null=NULLS[data.unit],
        majority=float(max(labels.mean(), 1 - labels.mean())) if is_class else float("nan"),
        surface=_interval(text),
        twin=_interval(random[0]) if random else nothing,
        twin_neuron=chosen.twin_neuron,
        lead=lead_interval,
        verdict=decide(p, lead_interval, alpha=alpha),
        alpha=alpha,
        probes=probes,
        control=None
        if control_of is None
        else companions.control(parts, control_of, is_class, probes.get("all neurons")),
        ranks=companions.ranks(parts, unit.unit, is_class),
        rotated=companions.rotated(parts, unit.unit, is_class, seed),
        rows={split: len(part.y) for split, part in parts.items()},
        step=model.step,
        model_seed=model.seed,
        overlap=_overlap(data, tests, corpus, report("comparing with the training text")),
        notes=data.notes,
    )


@dataclass(frozen=True)
class _Chosen:
    """What train documents decide, for the model and for its twin."""

    neuron: str
    direction: int
    select: float
    cohen_d: float
    twin_neuron: str
    twin_direction: int


def _chosen(table: NeuronTable, concept: str, named: str | None) -> _Chosen:
    """The neuron that was named, or the best on train. InputError where train cannot decide."""
    row = table.best(concept, named)
    if not row.neuron or not row.direction:
        raise InputError(f'{table.data}: train documents have no position with "{concept}"')
    return _Chosen(
        row.neuron, row.direction, row.train, row.cohen_d, row.twin_neuron, row.twin_direction
    )


def _concept(data: LabelledData, concept: str | None) -> str:
    """The one that is named, which `data.only` checks, or the only one. InputError."""
    if concept is not None:
        return concept
    if len(data.concepts) == 1:
        return data.concepts[0]
    raise InputError(
        f"task {data.task}: {len(data.concepts)} concepts; name one: {', '.join(data.concepts)}"
    )


def _values(
    model: Model,
    data: LabelledData,
    documents: np.ndarray,
    names: Sequence[str],
    neuron: str,
    *,
    sums: dict[str, NullSums] | None = None,
    draws: int = 0,
    seed: int = 0,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """(n,) values of a neuron at the labelled positions of documents, in their order, of data with
    one concept; on the way `sums` get every unit of `names` beside the labels and all their
    permutations."""
    of = parse_neuron(neuron)
    if sums is None:
        names = (str(of.site),)
    permuted = null.null_labels(data, documents, draws, seed) if sums is not None else None
    first = dict(zip(documents.tolist(), np.cumsum(data.counts[documents]), strict=True))
    first = {i: end - data.counts[i] for i, end in first.items()}
    values = np.zeros(data.counts[documents].sum(), np.float32)
    seen = dict.fromkeys(documents.tolist(), 0)
    true: dict[int, np.ndarray] = {}  # of the documents that are being read
    done, every = 0, sum(len(data.documents[i].data) for i in documents)
    for window in activations.stream(model, data, names, documents=documents, mesh=mesh):
        x = np.asarray(window.states[str(of.site)][:, of.unit])
        labels = np.zeros((len(window.split), 1 + draws), np.float32)
        for i in np.unique(window.document[window.split >= 0]).tolist():
            rows = np.flatnonzero((window.document == i) & (window.split >= 0))
            here = slice(seen[i], seen[i] + len(rows))
            seen[i] = here.stop
            values[first[i] + here.start : first[i] + here.stop] = x[rows]
            if permuted is not None and sums is not None:
                if i not in true:
                    true[i] = data.target(data.labels(i), data.concepts[0])
                labels[rows, 0] = true[i][here]
                labels[rows, 1:] = permuted.of(i, here)[:, :, 0].T
                if here.stop == len(true[i]):
                    del true[i]
        if sums is not None:
            for name in names:
                sums[name] = sums[name].update(window.states[name], labels, window.split >= 0)
        done += window.bytes
        progress(done, every)
    return values


def _interval(part: intervals.Jackknife) -> Interval:
    return Interval(part.value, part.lower, part.upper)


def _overlap(
    data: LabelledData,
    documents: np.ndarray,
    corpus: Split | None,
    progress: Callable[[int, int], None],
) -> dict[str, float] | None:
    if corpus is None:
        return None
    found = overlap(
        (data.documents[i].data for i in documents),
        pieces(corpus.length, corpus.read),
        progress=lambda done: progress(min(done, corpus.length), corpus.length),
    )
    return {"documents": found.documents, "shared": found.shared, "share": found.share}
