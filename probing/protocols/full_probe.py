"""A linear probe of all neurons of a site, and beside it all that its figure is compared with.

A logistic regression, softmax where there are several classes, on standardised states; C is chosen
on dev, test is scored once. Beside it, on the same test positions: the same probe on twins with
random weights, of several seeds; a surface model of bytes and n-grams; what a dictionary says of
each word; the most frequent class; and the same probe on a control task (Hewitt and Liang 2019),
where each word has a random label.
"""

# N positions, H units

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.model import sites as model_sites
from mlstm.trained import Model
from probing.evidence.claims import Interval
from probing.evidence.controls import control_labels, most_frequent, untrained_twin
from probing.evidence.intervals import jackknife_mean
from probing.evidence.probes.logistic import LogisticProbe
from probing.evidence.probes.metrics import Metrics
from probing.evidence.surface import SurfaceModel
from probing.protocols.full_probe_report import TWIN, FullProbeReport, Row, Twins
from probing.states.arrays import arrays, sampled
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import DEV_OF_TRAIN, SPLITS, LabelledData
from probing.tasks.one_variable import one_variable

CS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)  # random weights take a larger one than trained ones
TOLERANCE = 1e-3  # of a fit: several times as fast as 1e-4, for less than 0.001 of accuracy
SEED = 0

Parts = dict[str, np.ndarray]  # of train, dev and test


def full_probe(
    model: Model,
    data: LabelledData,
    *,
    site: str | None = None,
    concept: str | None = None,
    rows: int = 20_000,
    twins: int = 3,
    tell: Callable[[str], object] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FullProbeReport:
    """Run the protocol on classes that exclude each other, or on one class.

    site: the model's primary site if None. concept: the class that is told from its absence, where
    classes may overlap. rows: of a seeded sample of documents, of each split about so many
    positions are read. twins: random models, of seeds 0, 1, ... tell: called with what will be
    read, before it is. progress: called with the parts done and all parts.

    The state is that after the byte at the position; documents are cleaned as the text was that the
    model was trained on. InputError for numbers alone, for classes that may overlap where none is
    named, and where train documents are all of one class.
    """
    check_one(model)
    data = for_model(model, data)
    site = str(model_sites.check_site(model.config, site or model_sites.primary(model.config)))
    if twins < 0:
        raise InputError(f"twins is {twins}: how many random models there are, 0 or more")
    data = one_variable(data, concept)
    control = control_labels(data, SEED)
    documents = {split: _labelled(data, split, rows) for split in SPLITS}
    y = {split: _targets(data, documents[split]) for split in SPLITS}
    if len(np.unique(y["train"])) < 2:
        raise InputError(f"{data.origin}: the train {data.unit}s are all {y['train'][0]}")
    available = {split: int(data.counts[data.indices(split)].sum()) for split in SPLITS}
    if tell:
        tell(_reading(data.unit, y, available, model.config.hidden, twins))
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, 4 + twins)

    tests = documents["test"]
    scores = _Scores(np.repeat(data.hashes[tests], data.counts[tests]))
    X = _states(model, data, site, documents, rows)
    step()
    probe = scores.of_probe(f"all {model.config.hidden} neurons", X, y)
    step()
    controlled = None
    if control:
        labels = {split: _targets(control, documents[split]) for split in SPLITS}
        of = "word" if data.unit == "token" else "three bytes"
        if len(np.unique(labels["train"])) > 1:
            controlled = scores.of_probe(f"control task, a random class by {of}", X, labels)
    step()
    random = []
    for seed in range(twins):
        X = _states(untrained_twin(model, seed), data, site, documents, rows)
        random.append(scores.of_probe(f"{TWIN}, seed {seed}", X, y))
        step()
    surface = SurfaceModel(SEED, rows).fit_classifier(data)
    told = surface.told(data, tests)
    surfaced = scores.row(
        "surface model", surface.rows_, told, y["test"], surface.C_, surface.accuracy_
    )
    step()
    known = most_frequent(data)
    word = None
    if data.unit == "token":
        told = known.words(data, tests)
        word = scores.row("most frequent class of each word", known.positions, told, y["test"])
    always = np.full(len(y["test"]), known.usual)
    usual = scores.row(f"most frequent class, {known.usual}", known.positions, always, y["test"])
    seeds = tuple(range(twins))
    return FullProbeReport(
        model=model.origin,
        site=site,
        task=data.task,
        unit=data.unit,
        data=data.origin,
        split=_split(data),
        classes=(*data.classes, *([data.otherwise] if len(data.classes) == 1 else [])),
        documents={split: len(documents[split]) for split in SPLITS},
        rows={split: len(y[split]) for split in SPLITS},
        available=available,
        probe=probe,
        twins=Twins(seeds, tuple(random), scores.lead(random)) if random else None,
        surface=surfaced,
        word=word,
        usual=usual,
        control=controlled,
    )


class _Scores:
    """Rows of the same test positions. The first is that of all neurons, which leads the others or
    does not."""

    def __init__(self, groups: np.ndarray):
        self.groups = groups  # (N test,)
        self.right: dict[str, np.ndarray] = {}  # of each row, which positions: (N test,) 0 or 1

    def row(
        self,
        name: str,
        fitted: int,
        told: np.ndarray,
        truth: np.ndarray,
        C: float | None = None,
        dev: dict[float, float] | None = None,
    ) -> Row:
        self.right[name] = (told == truth).astype(float)
        measures = Metrics.of(truth, told)
        return Row(
            name=name,
            fitted=fitted,
            C=C,
            dev=dev or {},
            accuracy=measures.accuracy,
            interval=self._mean(self.right[name]),
            balanced_accuracy=measures.balanced_accuracy,
            macro_f1=measures.macro_f1,
            classes=measures.classes,
            lead=self._lead(self.right[name]) if len(self.right) > 1 else None,
        )

    def of_probe(self, name: str, X: Parts, y: Parts) -> Row:
        probe, dev = choose(X, y)
        told = probe.predict(X["test"])
        return self.row(name, len(y["train"]), told, y["test"], probe.C, dev)

    def lead(self, rows: list[Row]) -> Interval:
        """Over the mean of several rows."""
        return self._lead(np.mean([self.right[row.name] for row in rows], 0))

    def _lead(self, right: np.ndarray) -> Interval:
        return self._mean(next(iter(self.right.values())) - right)

    def _mean(self, values: np.ndarray) -> Interval:
        found = jackknife_mean(values, self.groups)
        return Interval(found.value, found.lower, found.upper)


def choose(X: Parts, y: Parts) -> tuple[LogisticProbe, dict[float, float]]:
    """The probe fitted on train with the C of the best accuracy on dev, of equals the smallest; and
    that accuracy of each C. They are tried in order until the accuracy falls."""
    dev: dict[float, float] = {}
    best = None
    for C in CS:
        probe = LogisticProbe(C, tol=TOLERANCE).fit(X["train"], y["train"])
        dev[C] = float(probe.score(X["dev"], y["dev"]))
        if best is None or dev[C] > dev[best.C]:
            best = probe
        elif dev[C] < dev[best.C]:
            break
    assert best is not None
    return best, dev


def _labelled(data: LabelledData, split: str, rows: int) -> np.ndarray:
    """The sampled documents that have a labelled position."""
    documents = sampled(data, split, rows, SEED)
    return documents[data.counts[documents] > 0]


def _targets(data: LabelledData, documents: np.ndarray) -> np.ndarray:
    return np.concatenate([data.target(data.labels(int(i))) for i in documents])


def _states(
    model: Model, data: LabelledData, site: str, documents: dict[str, np.ndarray], rows: int
) -> Parts:
    """(N, H) of each split, in the order of the documents."""
    if data.unit != "document":
        return {split: arrays(model, data, site, split, rows=rows, seed=SEED).x for split in SPLITS}
    X = {}
    for split, chosen in documents.items():
        texts = [data.documents[i].data for i in chosen]
        read = model.encode(texts, site, cleaning="none")  # it is cleaned already
        X[split] = np.repeat(read, data.counts[chosen], 0)
    return X


def _reading(unit: str, y: Parts, available: dict[str, int], units: int, twins: int) -> str:
    """How large the sample is, in words."""
    count = sum(map(len, y.values()))
    parts = ", ".join(f"{len(y[split]):,} of {available[split]:,} {split}" for split in SPLITS)
    return (
        f"sample: {parts} {unit}s; their states take {4 * count * units / 1e6:,.1f} MB for one "
        f"model of {1 + twins} at a time"
    )


def _split(data: LabelledData) -> str:
    """Where train, dev and test come from."""
    official = {document.split for document in data.documents} - {""}
    if not official:
        shares = " / ".join(f"{100 * share:g}" for share in data.fractions)
        return f"documents by the hash of their groups, {shares}% for train, dev and test"
    if len(official) == len(SPLITS):
        return "the data's own train, dev and test"
    other = (official - {"train"}).pop()
    return (
        f"the data's own train and {other} parts: {other} is the test, and "
        f"{100 * DEV_OF_TRAIN:g}% of the train groups, by hash, are dev"
    )
