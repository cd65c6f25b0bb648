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
from mlstm.corpus.cleaning import clean
from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError
from mlstm.model import whole_texts
from mlstm.model.whole_texts import What
from mlstm.trained import Model
from mlstm.training.finetuning import choosing
from probing.evidence.probes.logistic import LogisticProbe, choose_C
from probing.evidence.surface import SurfaceModel
from probing.tasks.labelled import SPLITS, LabelledData, LabelledDocument, Labels


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

    def names(self, split: str) -> list[str]:
        return list(self._documents[split])

    def texts(self, split: str) -> list[bytes]:
        return list(self._documents[split].values())

    def labels(self, split: str) -> np.ndarray:
        """(N,) places in the classes; of several labels (N, K) of 1, 0 and NaN."""
        places = {name: n for n, name in enumerate(self.names(split))}
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
    measure: str = "none",
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """(N, K) bool of the test documents, by a LogisticProbe (L2, C chosen on dev) of the frozen
    model's states, pooled as `what` says, over the last `limit` ids of each text. measure: what the
    thresholds are best at on dev, as those of a fine-tuning."""
    texts = {split: documents.texts(split) for split in SPLITS}
    ids = features.read(model, [text for of in texts.values() for text in of], model.cleaning)
    found = whole_texts.pooled(model.config, model.parameters, limited(ids, limit), what, progress)
    ends = np.cumsum([len(texts[split]) for split in SPLITS])
    X: dict[str, np.ndarray] = dict(zip(SPLITS, np.split(found, ends[:-1]), strict=True))
    y: dict[str, np.ndarray] = {split: documents.labels(split) for split in SPLITS}
    labelling = documents.labelling
    if labelling.kind != SEVERAL:
        probe = _probe(X, y)
        scores = {split: _scores(probe, X[split], labelling) for split in ("dev", "test")}
        return _told(documents, scores, measure)
    columns = []
    for k in range(len(labelling.classes)):
        known = {split: ~np.isnan(y[split][:, k]) for split in ("train", "dev")}
        probe = _probe(
            {split: X[split][here] for split, here in known.items()},
            {split: y[split][here, k].astype(int) for split, here in known.items()},
        )
        columns.append({split: probe.decision_function(X[split]) for split in ("dev", "test")})
    scores = {split: np.stack([of[split] for of in columns], 1) for split in ("dev", "test")}
    return _told(documents, scores, measure)


def told_by_ngrams(
    documents: WholeDocuments,
    cleaning: str = "none",
    limit: int = 0,
    measure: str = "none",
    vocabulary: Vocabulary | None = None,
) -> np.ndarray:
    """(N, K) bool of the test documents, by the surface model: TF-IDF of character 1-5-grams and a
    logistic regression, its C chosen on dev. It reads what a model of that cleaning and limit does;
    measure: as of `told_by_probe`."""
    tasks = [_as_read(task, cleaning, limit, vocabulary) for task in documents.tasks]
    fitted = [SurfaceModel().fit_classifier(task) for task in tasks]
    scores = {}
    for split in ("dev", "test"):
        places = {name: n for n, name in enumerate(documents.names(split))}
        # A document without a label is of no account: what is told of it is not looked at.
        scores[split] = np.zeros((len(places), documents.labelling.outputs))
        for k, (task, model) in enumerate(zip(tasks, fitted, strict=True)):
            columns = slice(k, k + 1) if documents.labelling.kind == SEVERAL else slice(None)
            for i in task.indices(split).tolist():
                if task.counts[i]:
                    [row] = np.where(model.known_, model.scores(task, i), -np.inf)
                    scores[split][places[task.documents[i].name], columns] = row
    return _told(documents, scores, measure)


def told_by_majority(documents: WholeDocuments) -> np.ndarray:
    """(N, K) bool of the test documents: the most frequent class of the train documents, or of each
    label what most of them have."""
    train, count = documents.labels("train"), len(documents.texts("test"))
    if documents.labelling.kind == SEVERAL:
        return np.tile(np.nanmean(train, 0) > 0.5, (count, 1))
    K = len(documents.labelling.classes)
    most = np.bincount(train, minlength=K).argmax()
    return np.tile(np.arange(K) == most, (count, 1))


def _as_read(
    task: LabelledData, cleaning: str, limit: int, vocabulary: Vocabulary | None
) -> LabelledData:
    """The same documents, labels and splits; of each text what a model reads of it."""

    def cut(document: LabelledDocument) -> LabelledDocument:
        text = _last(clean(document.data, cleaning).data, limit, vocabulary) or b"\n"

        def read() -> Labels:
            labels = document.read()
            last = np.full_like(labels.positions, len(text) - 1)
            return labels._replace(positions=last, starts=np.zeros_like(last), ends=last + 1)

        return dataclasses.replace(document, data=text, read=read)

    placed = task.take(range(len(task.documents)))
    return dataclasses.replace(placed, documents=tuple(map(cut, placed.documents)))


def _last(text: bytes, limit: int, vocabulary: Vocabulary | None) -> bytes:
    """The last tokens of a text, all of them where there is no limit."""
    if not limit or vocabulary is None or vocabulary.bytewise:
        return text[-limit:]
    ends = vocabulary.tokens(text).ends
    return text[ends[-limit - 1] :] if len(ends) > limit else text


def _probe(X: dict[str, np.ndarray], y: dict[str, np.ndarray]) -> LogisticProbe:
    return choose_C(LogisticProbe(), (X["train"], y["train"]), (X["dev"], y["dev"])).probe


def _scores(probe: LogisticProbe, X: np.ndarray, labelling: Labelling) -> np.ndarray:
    """(N, outputs) scores; a class that train lacks is never told."""
    found = probe.decision_function(X)
    if labelling.kind == BINARY:
        return found[:, None]
    scores = np.full((len(X), labelling.outputs), -np.inf)
    scores[:, probe.classes_] = found if found.ndim == 2 else np.stack([0 * found, found], 1)
    return scores


def _told(documents: WholeDocuments, scores: dict[str, np.ndarray], measure: str) -> np.ndarray:
    """(N, K) bool of the test documents, with thresholds that are chosen on dev."""
    labelling = documents.labelling
    chosen = choosing.thresholds(labelling, documents.labels("dev"), scores["dev"], measure)
    return labelling.decide(labelling.probabilities(scores["test"]), chosen["thresholds"])
