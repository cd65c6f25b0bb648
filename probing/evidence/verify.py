"""verify: the whole protocol on one neuron, on the best of a site, or on a direction; one verdict.

Everything is chosen on train documents (which neuron, which way it points, the twin's best neuron,
the surface model) and tuned on dev; each figure of the claim is of test documents, looked at once.
"""

# n labelled test positions, H units, R draws

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from mlstm.corpus.reading import Split
from mlstm.errors import InputError
from mlstm.model import sites as model_sites
from mlstm.trained import Model
from probing.evidence import causes, choosing, companions, context, intervals, measures, values
from probing.evidence.claim_sets import Claims, matched
from probing.evidence.claims import ALPHA, NOTHING, CausalCheck, Claim, Interval, decide
from probing.evidence.controls import untrained_twin
from probing.evidence.permutations import Drawn, Permuting
from probing.evidence.significance import max_statistic_p
from probing.evidence.subjects import Direction, OneNeuron, Subject, check_direction
from probing.evidence.surface import SurfaceModel
from probing.neurons import score_neurons
from probing.states import activations
from probing.states import rows as sampled_rows
from probing.tasks.cleaned import for_model
from probing.tasks.keeping import keeping
from probing.tasks.labelled import SPLITS, LabelledData

DRAWS = 199
ROWS = 10_000  # of each split, at most, for what is fitted beside the neuron
NULLS = {
    "document": "labels exchanged among documents of like length",
    "token": "labels exchanged among word types of like frequency",
    "byte": "labels shifted in a circle within each document",
}
Vector = np.ndarray | Sequence[float]


def verify(
    model: Model | Sequence[Model],
    of: str | None,
    data: LabelledData,
    concept: str | None = None,
    *,
    direction: Vector | Sequence[Vector] | None = None,
    draws: int = DRAWS,
    alpha: float = ALPHA,
    seed: int = 0,
    rows: int = ROWS,
    causal: bool | None = None,
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
      direction: (H,) or (1, H): judge the score `states @ direction` of one site instead of a
        neuron. The states are raw, in no other units: of a probe take `coef_`, and of weights w
        for standardised states w / deviation. It must not have been fitted on test documents.
        p is then of this one score, without a maximum over neurons. The lead is over the surface
        model, the random twin's best neuron, and a probe of all the twin's neurons, fitted as that
        of the claim's "all neurons" is, for a direction may be such a probe. Of several models a
        sequence with one vector each.
      draws: of the null; p is at least 1 / (1 + draws).
      seed: of the null, the twin, the surface model, the sample, control labels and rotation.
      rows: labelled positions of each split, at most, that probes beside the neuron are given.
      causal: whether necessity and sufficiency are tested (`causes`); None does where the verdict
        hangs on them, which takes most of the time of those that come so far.
      corpus: the training text, to say how much of the data it has; None leaves that out.
      mesh: of `mlstm.devices.mesh`, as of `score_neurons`.
      progress: called with what is being done, how much of it, and all of it.

    Raises InputError for an unknown neuron, site or concept, data that cannot be split, or a
    direction that is not one of the site's.
    """
    options: dict[str, Any] = {"draws": draws, "alpha": alpha, "seed": seed, "rows": rows}
    options |= {"causal": causal, "corpus": corpus, "mesh": mesh, "progress": progress}
    if not isinstance(model, Sequence):
        return _verify(model, of, data, concept, direction, **options)
    vectors: list[Any] = [None] * len(model) if direction is None else list(direction)
    if len(vectors) != len(model):
        raise InputError(
            f"a direction is of one model's states: {len(model)} models need {len(model)} vectors, "
            "one each, in a sequence"
        )
    claims = [
        _verify(one, of, data, concept, vector, **options)
        for one, vector in zip(model, vectors, strict=True)
    ]
    return Claims(tuple(claims), matched(model, claims, data))


def _verify(
    model: Model,
    of: str | None,
    data: LabelledData,
    concept: str | None,
    vector: Any,
    *,
    draws: int,
    alpha: float,
    seed: int,
    rows: int,
    causal: bool | None,
    corpus: Split | None,
    mesh: Mesh | None,
    progress: Callable[[str, int, int], None] | None,
) -> Claim:
    if draws < 1 or not 1 / (1 + draws) < alpha:
        raise InputError(
            f"{draws} draws of the null give no p below {alpha:g}: at least {int(1 / alpha)} do"
        )
    concept = _concept(data, concept)
    data = for_model(model, data)
    data = keeping(data.only(concept))
    if not data.counts[data.indices("test")].sum():
        raise InputError(f"{data.origin}: no labelled {data.unit} in the test split")
    neuron = model_sites.check_neuron(model.config, of) if of and "[" in of else None
    names = activations.check_sites(model, str(neuron.site) if neuron else of or None)
    given = None if vector is None else _direction(model, names, vector, neuron is None)
    is_class = concept in data.classes

    def report(what: str) -> Callable[[int, int], None]:
        return lambda done, every: progress(what, done, every) if progress else None

    def best_of(which: Model, what: str, named: str | None = None):
        options: dict[str, Any] = {"twin_seed": None, "draws": 0, "controls": False}
        options |= {"mesh": mesh, "progress": report(what)}
        options["progress"](0, data.bytes)
        return score_neurons(which, data, names, **options).best(concept, named)

    def read(which: Model, split: str, subjects: list[Subject], what: str, **more) -> np.ndarray:
        options: dict[str, Any] = {"mesh": mesh, "progress": report(what), **more}
        return values.read(which, data, data.indices(split), subjects, **options)

    if given:
        row, (found,) = None, read(model, "train", [given], "reading train documents")
        own = choosing.oriented(given, found, _labels(data, "train"), data.origin, concept)
    else:
        row = best_of(model, "scoring neurons", str(neuron) if neuron else None)
        own = choosing.neuron(row, data.origin)

    drawn = Drawn(data, draws, seed)
    units = {given.name: 1} if given else dict.fromkeys(names, model.config.hidden)
    permuting = {name: Permuting(drawn, count) for name, count in units.items()}
    (own_values,) = read(model, "test", [own.subject], "permuting labels", permuting=permuting)
    statistics = np.concatenate(
        [part.finalize().statistics(is_class)[:, 0] for part in permuting.values()], 1
    )
    tried = [given] if given else [OneNeuron(n, u) for n in names for u in range(units[n])]
    place = [subject.name for subject in tried].index(own.subject.name)
    p = float(max_statistic_p(statistics[0, place], statistics[1:].max(1)))

    kept_rows = sampled_rows.choose(data, rows, seed)
    twin = untrained_twin(model, seed)
    rivals = {"neuron": choosing.twins_neuron(best_of(twin, "scoring the random twin"))}
    if given:
        twin_parts = sampled_rows.states(twin, data, given.site, kept_rows)
        weights = companions.probe_direction(twin_parts, is_class)
        rivals["probe"] = choosing.probe(given.site, weights)
    known = {name: rival for name, rival in rivals.items() if rival}
    of_twin = (
        read(twin, "test", [r.subject for r in known.values()], "testing the random twin")
        if known
        else []
    )

    surface = SurfaceModel(seed=seed).fit(data, report("fitting the surface model"))
    tests = data.indices("test")
    surface_values = np.concatenate([surface.scores(data, int(i))[:, 0] for i in tests])
    labels = _labels(data, "test")
    groups = np.repeat(data.hashes[tests], data.counts[tests])

    def scored(x: np.ndarray) -> intervals.Jackknife:
        score = intervals.jackknife_auc if is_class else intervals.jackknife_correlation
        return score(x, labels, groups)

    tested, text = scored(own.direction * own_values), scored(surface_values)
    random = {
        name: scored(rival.direction * x)
        for (name, rival), x in zip(known.items(), of_twin, strict=True)
    }
    lead = _interval(intervals.jackknife_lead(tested, text, *random.values()))
    twin_intervals = {name: _interval(part) for name, part in random.items()}

    parts = sampled_rows.states(model, data, own.subject.site, kept_rows)
    rest = context.beside(
        parts, own.subject, data, kept_rows, seed, report("fitting probes beside it")
    )
    checks: dict[str, CausalCheck] = {}
    if causal or (causal is None and decide(p, lead, alpha=alpha) == "correlational only"):
        shared: dict[str, Any] = {"alpha": alpha, "seed": seed, "progress": progress}
        checks = {
            "necessity": causes.necessary(model, own.subject, data, **shared),
            "sufficiency": causes.sufficient(model, own.subject, own.direction, data, **shared),
        }
    if row:
        cohen_d = row.cohen_d
    else:
        cohen_d = measures.cohen_d(own_values, labels) if is_class else float("nan")
    return Claim(
        concept=concept,
        metric="AUC" if is_class else "r",
        neuron=own.subject.name,
        direction=own.direction,
        chosen=neuron is None and not given,
        task=data.task,
        model=model.origin,
        data=data.origin,
        data_digest=data.digest,
        documents={split: len(data.indices(split)) for split in SPLITS},
        positions={split: int(data.counts[data.indices(split)].sum()) for split in SPLITS},
        tried=len(tried),
        select=own.select,
        test=_interval(tested),
        cohen_d=cohen_d,
        p=p,
        draws=draws,
        null=NULLS[data.unit],
        majority=float(max(labels.mean(), 1 - labels.mean())) if is_class else float("nan"),
        surface=_interval(text),
        twin=twin_intervals.get("neuron", NOTHING),
        twin_neuron=known["neuron"].subject.name if "neuron" in known else "",
        lead=lead,
        verdict=decide(p, lead, checks.get("necessity"), checks.get("sufficiency"), alpha),
        alpha=alpha,
        necessity=checks.get("necessity"),
        sufficiency=checks.get("sufficiency"),
        **rest,
        rows={split: len(part.y) for split, part in parts.items()},
        step=model.step,
        model_seed=model.seed,
        overlap=context.shared(data, tests, corpus, report("comparing with the training text")),
        vector=given.plain() if given else None,
        twin_probe=twin_intervals.get("probe", NOTHING) if given else None,
        notes=data.notes,
    )


def _direction(model: Model, names: Sequence[str], vector: Any, of_site: bool) -> Direction:
    """InputError where what it is of is not one site."""
    if not of_site or len(names) != 1:
        raise InputError("a direction is of the states of one site, as 0.c: name that alone")
    return check_direction(model, names[0], vector)


def _labels(data: LabelledData, split: str) -> np.ndarray:
    """(n,) of data with one concept."""
    every = [data.target(data.labels(int(i)), data.concepts[0]) for i in data.indices(split)]
    return np.concatenate(every)


def _concept(data: LabelledData, concept: str | None) -> str:
    """The one that is named, which `data.only` checks, or the only one. InputError."""
    if concept is not None:
        return concept
    if len(data.concepts) == 1:
        return data.concepts[0]
    raise InputError(
        f"task {data.task}: {len(data.concepts)} concepts; name one: {', '.join(data.concepts)}"
    )


def _interval(part: intervals.Jackknife) -> Interval:
    return Interval(part.value, part.lower, part.upper)
