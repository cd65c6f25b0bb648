"""Documents with labels of their own, as arrays, and what is told of them without fine-tuning: by a
linear probe of the frozen model's states, by character n-grams, by the most frequent class.
"""

# N documents, K classes, F features

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlstm import features
from mlstm.classifier import BINARY, EXCLUSIVE, SEVERAL, Labelling, limited
from mlstm.errors import InputError
from mlstm.model import whole_texts
from mlstm.model.whole_texts import What
from mlstm.trained import Model
from probing.evidence.probes.logistic import LogisticProbe, choose_C
from probing.evidence.surface import SurfaceModel
from probing.tasks.labelled import SPLITS, LabelledData


@dataclass(frozen=True, eq=False)
class WholeDocuments:
    """The labelled documents of a task, by split."""

    labelling: Labelling
    tasks: tuple[LabelledData, ...]
    """The task, or of several labels one for each, with the same splits."""

    @property
    def origin(self) -> str:
        return self.tasks[0].origin

    @cached_property
    def _documents(self) -> dict[str, dict[str, bytes]]:
        """Of each split the documents by name."""
        found: dict[str, dict[str, bytes]] = {split: {} for split in SPLITS}
        for task in self.tasks:
            for i, document in enumerate(task.documents):
                if task.counts[i]:
                    found[SPLITS[task.splits[i]]].setdefault(document.name, document.data)
        for split, documents in found.items():
            if not documents:
                raise InputError(f"{self.origin}: no labelled document in the {split} split")
        return found

    def texts(self, split: str) -> list[bytes]:
        return list(self._documents[split].values())

    def labels(self, split: str) -> np.ndarray:
        """(N,) places in the classes; of several labels (N, K) of 1, 0 and NaN."""
        places = {name: n for n, name in enumerate(self._documents[split])}
        found = np.full((len(places), len(self.tasks)), np.nan)
        for k, task in enumerate(self.tasks):
            for i in task.indices(split).tolist():
                if task.counts[i]:
                    found[places[task.documents[i].name], k] = self._label(task, i)
        return found if self.labelling.kind == SEVERAL else found[:, 0].astype(int)

    def _label(self, task: LabelledData, document: int) -> int:
        [*_, belongs] = task.labels(document).classes
        return int(belongs.argmax()) if self.labelling.kind == EXCLUSIVE else int(belongs[0])


def whole_documents(data: LabelledData) -> WholeDocuments:
    """Those of a task. InputError where it labels something else, or its classes may overlap."""
    if data.unit != "document":
        raise InputError(
            f"task {data.task} labels {data.unit}s; a classifier is fine-tuned on labels of whole "
            "documents"
        )
    if len(data.classes) == 1:
        names = (data.otherwise or f"not {data.classes[0]}", data.classes[0])
        return WholeDocuments(Labelling(BINARY, names), (data,))
    if not data.exclusive or data.otherwise or len(data.classes) < 3:
        raise InputError(f"task {data.task}: {', '.join(data.classes)} are not one of many")
    return WholeDocuments(Labelling(EXCLUSIVE, data.classes), (data,))


def several_labels(tasks: Mapping[str, LabelledData]) -> WholeDocuments:
    """Several labels of the same documents, each a yes or no of its own task, by the name of the
    label. A document that a task leaves out has no such label; the split is one of all documents.
    """
    everything: dict[str, int] = {}
    documents = []
    for name, task in tasks.items():
        if task.unit != "document" or len(task.classes) != 1:
            raise InputError(f"label {name}: it is a yes or no of each document that can be told")
        for document in task.documents:
            if document.name not in everything:
                everything[document.name] = len(documents)
                documents.append(document)
    first = next(iter(tasks.values()))
    splits = dataclasses.replace(first, documents=tuple(documents)).splits
    placed = []
    for task in tasks.values():
        here = (
            dataclasses.replace(d, split=SPLITS[splits[everything[d.name]]]) for d in task.documents
        )
        placed.append(dataclasses.replace(task, documents=tuple(here)))
    return WholeDocuments(Labelling(SEVERAL, tuple(tasks)).check(), tuple(placed))


def told_by_probe(
    model: Model,
    documents: WholeDocuments,
    what: What,
    limit: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """(N, K) bool of the test documents, by a LogisticProbe (L2, C chosen on dev) of the frozen
    model's states, pooled as `what` says."""
    texts = {split: documents.texts(split) for split in SPLITS}
    ids = features.read(model, [text for of in texts.values() for text in of], model.cleaning)
    found = whole_texts.pooled(model.config, model.parameters, limited(ids, limit), what, progress)
    ends = np.cumsum([len(texts[split]) for split in SPLITS])
    X: dict[str, np.ndarray] = dict(zip(SPLITS, np.split(found, ends[:-1]), strict=True))
    y: dict[str, np.ndarray] = {split: documents.labels(split) for split in SPLITS}
    if documents.labelling.kind != SEVERAL:
        told = _probed(X, y)
        return told[:, None] == np.arange(len(documents.labelling.classes))
    columns = []
    for k in range(len(documents.labelling.classes)):
        known = {split: ~np.isnan(y[split][:, k]) for split in SPLITS}
        of = {split: X[split] if split == "test" else X[split][known[split]] for split in SPLITS}
        columns.append(_probed(of, {s: y[s][known[s], k].astype(int) for s in SPLITS}) == 1)
    return np.stack(columns, 1)


def told_by_ngrams(documents: WholeDocuments) -> np.ndarray:
    """(N, K) bool of the test documents, by the surface model: TF-IDF of character 1-5-grams and a
    logistic regression, its C chosen on dev."""
    names = list(documents._documents["test"])
    columns = []
    for task in documents.tasks:
        here = {task.documents[i].name: i for i in task.indices("test").tolist() if task.counts[i]}
        told = SurfaceModel().fit_classifier(task).told(task, list(here.values()))
        of = dict(zip(here, told, strict=True))
        # A document without this label is of no account: what is told of it is not looked at.
        columns.append(np.array([of.get(name, "") for name in names]))
    if documents.labelling.kind == SEVERAL:
        classes = [task.classes[0] for task in documents.tasks]
        return np.stack([c == name for c, name in zip(columns, classes, strict=True)], 1)
    return columns[0][:, None] == np.array(documents.labelling.classes)


def told_by_majority(documents: WholeDocuments) -> np.ndarray:
    """(N, K) bool of the test documents: the most frequent class of the train documents, or of each
    label what most of them have."""
    train, count = documents.labels("train"), len(documents.texts("test"))
    if documents.labelling.kind == SEVERAL:
        return np.tile(np.nanmean(train, 0) > 0.5, (count, 1))
    K = len(documents.labelling.classes)
    most = np.bincount(train, minlength=K).argmax()
    return np.tile(np.arange(K) == most, (count, 1))


def _probed(X: dict[str, np.ndarray], y: dict[str, np.ndarray]) -> np.ndarray:
    chosen = choose_C(LogisticProbe(), (X["train"], y["train"]), (X["dev"], y["dev"]))
    return np.asarray(chosen.probe.predict(X["test"]))
