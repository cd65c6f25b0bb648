"""The bytes of a concept, and all others: where the cost of an edit is counted apart.

A label belongs to the state after a byte, and a cost to the byte that is predicted. The cost of a
byte, predicted from the state before it, counts as on the concept where the byte itself is part of
what is labelled with it: a labelled byte, or a byte of a labelled word or document. Of a model that
reads longer tokens it is the token, which counts as so many bytes as it has. It is on the concept
where its last byte is labelled, as its state is, or where it has a byte of a labelled word.
"""

# D documents, n tokens of one, each a byte where no others are read

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError
from mlstm.trained import Model
from probing.states.ids import Text, spelling, text_of
from probing.tasks.cleaned import for_model
from probing.tasks.keeping import keeping
from probing.tasks.labelled import LabelledData

BYTES = 1 << 16
ENOUGH = 32  # documents
FEWEST = 8  # where documents have labels: at least so many are read whole


@dataclass(frozen=True, eq=False)
class Marked:
    """Documents of one split, each from its first byte on, with the bytes of one concept marked."""

    concept: str
    data: LabelledData  # with that concept alone
    split: str
    documents: np.ndarray  # (D,) places in data.documents
    texts: tuple[np.ndarray, ...]  # the ids that are read of each
    on: tuple[np.ndarray, ...]  # (n,) bool of each
    labels: tuple[np.ndarray, ...]  # (n,) int8: 1 or 0 of the state after it, -1 unlabelled
    level: float | None  # of a numeric concept: on is above it
    rule: str  # what "on" means, in words
    sizes: tuple[np.ndarray, ...]  # (n,) bytes of each token
    spelling: tuple[np.ndarray, ...]
    """(n,) nats beside the model's of each token: of those that its vocabulary lacks, their bytes'
    in a code of their own."""
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> np.ndarray:
        """(D,) uint64: what intervals leave out."""
        return self.data.hashes[self.documents]

    @property
    def lengths(self) -> list[int]:
        return [len(text) for text in self.texts]

    def counts(self) -> np.ndarray:
        """(D, 2): bytes that are predicted, elsewhere and on it. The first token is not."""
        return self._sums(self.sizes).astype(int)

    def spelled(self) -> np.ndarray:
        """(D, 2) the sums of `spelling` over what is predicted, elsewhere and on the concept."""
        return self._sums(self.spelling)

    def _sums(self, parts: tuple[np.ndarray, ...]) -> np.ndarray:
        return np.array(
            [
                [part[1:][~on[1:]].sum(), part[1:][on[1:]].sum()]
                for part, on in zip(parts, self.on, strict=True)
            ]
        )

    def predicted(self, text: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Of a window, (T, B): 2 * document, + 1 where the byte after this one is on the concept;
        -1 where none follows."""
        return self._cells(
            [np.append(part[1:], -1)[: len(part)] for part in self._on8], text, position
        )

    def read(self, text: np.ndarray, position: np.ndarray) -> np.ndarray:
        """The same by the label of the state after this byte; -1 where it has none."""
        return self._cells(self.labels, text, position)

    @property
    def _on8(self) -> list[np.ndarray]:
        return [part.astype(np.int8) for part in self.on]

    def _cells(self, parts, text: np.ndarray, position: np.ndarray) -> np.ndarray:
        starts = np.cumsum(self.lengths) - self.lengths
        there = text >= 0
        place = np.where(there, text, 0)
        value = np.concatenate(parts)[np.where(there, starts[place] + position, 0)]
        return np.where(there & (value >= 0), 2 * place + value, -1)


def named(data: LabelledData, concept: str | None) -> str:
    """The concept that is named, or the only one. InputError."""
    if concept is None:
        if len(data.concepts) != 1:
            raise InputError(
                f"task {data.task}: {len(data.concepts)} concepts; name one: "
                f"{', '.join(data.concepts)}"
            )
        (concept,) = data.concepts
    data.only(concept)
    return concept


def mark(
    model: Model,
    data: LabelledData,
    concept: str | None = None,
    *,
    split: str = "test",
    bytes: int = BYTES,
) -> Marked:
    """About so many bytes of a split, as `excerpt` chooses them. A numeric concept is on
    where it is above its median over train documents.

    Raises InputError for an unknown concept, or where no byte, or every byte, is on it.
    """
    concept = named(data, concept)
    data = for_model(model, data)
    only = keeping(data.only(concept))
    documents, length = excerpt(only, split, bytes)
    level, rule = _level(only, concept)
    texts, on, labelled, spelled = [], [], [], []
    for i in documents.tolist():
        data_i = only.documents[i].data
        text = text_of(model, only, i, length)
        texts.append(text)
        labels = only.labels(i)
        of = told(only.target(labels, concept), level)
        marks = np.zeros(len(data_i) + 1, int)
        np.add.at(marks, labels.starts[of], 1)
        np.add.at(marks, labels.ends[of], -1)
        on.append(_any((np.cumsum(marks) > 0)[: text.bytes], text))
        read = labels.positions < text.bytes
        every = np.full(len(text.ids), -1, np.int8)
        every[text.steps(labels.positions[read])] = of[read]
        labelled.append(every)
        spelled.append(spelling(model, data_i[: text.bytes], text))
    found = Marked(
        concept,
        only,
        split,
        documents,
        tuple(text.ids for text in texts),
        tuple(on),
        tuple(labelled),
        level,
        rule,
        tuple(text.sizes() for text in texts),
        tuple(spelled),
        (*data.token_notes, *_unknown(spelled)),
    )
    elsewhere, there = found.counts().sum(0)
    if not there or not elsewhere:
        which = "no" if not there else "every"
        raise InputError(
            f"{data.origin}: {which} byte of the first {length:,} of {len(documents):,} {split} "
            f'documents is on "{concept}"; more are read with a larger number of bytes'
        )
    return found


def _any(marks: np.ndarray, text: Text) -> np.ndarray:
    """(bytes,) bool to (n,): is any byte of the token marked."""
    if text.ends is None or not len(marks):
        return marks
    return np.logical_or.reduceat(marks, text.ends - text.sizes())


def _unknown(spelled: list[np.ndarray]) -> tuple[str, ...]:
    unknown, every = sum(int((part > 0).sum()) for part in spelled), sum(map(len, spelled))
    if not unknown:
        return ()
    return (
        f"{unknown / every:.2%} of the tokens are unknown to the model, and cost their bytes in a "
        "code of single bytes besides",
    )


def excerpt(data: LabelledData, split: str, bytes: int) -> tuple[np.ndarray, int]:
    """Documents of a split, ascending, and how much of each is read from its start, at most: about
    so many bytes in all.

    Whole documents are drawn, by the hashes of their groups, where at least 32 fit, or where it is
    documents that have labels; else so many, or all that there are, are cut to one length.
    InputError where none has two bytes.
    """
    found = np.array([i for i in data.indices(split) if len(data.documents[i].data) > 1], int)
    if not len(found):
        raise InputError(f"{data.origin}: no {split} document has two bytes")
    found = found[np.argsort(data.hashes[found], kind="stable")]
    sizes = np.array([len(data.documents[i].data) for i in found])
    whole = int(np.searchsorted(np.cumsum(sizes), bytes, "right"))
    if data.unit == "document" or whole >= ENOUGH:
        few = max(whole, FEWEST)
        return np.sort(found[:few]), int(sizes[:few].max())
    return np.sort(found[:ENOUGH]), prefix(sizes[:ENOUGH].tolist(), bytes)


def told(target: np.ndarray, level: float | None) -> np.ndarray:
    """(n,) bool from what labels say: of a number, whether it is above the level."""
    return target if level is None else target > level


def prefix(lengths: list[int], bytes: int) -> int:
    """Of all documents: how much of each may be read for so many bytes together, at least two."""
    ascending = np.sort(lengths)
    left, before = len(ascending), 0
    for length in ascending.tolist():
        if before + length * left > bytes:
            return max(2, (bytes - before) // left)
        before, left = before + length, left - 1
    return int(ascending[-1])


def _level(data: LabelledData, concept: str) -> tuple[float | None, str]:
    of = "token" if data.vocabulary else "byte"
    if concept in data.classes:
        what = {"byte": "is labelled", "token": "is of a labelled word"}
        if data.vocabulary:
            what = {"byte": "ends in a labelled byte", "token": "has a byte of a labelled word"}
        return None, f"the predicted {of} {what.get(data.unit, 'is of a labelled document')}"
    values = [data.target(data.labels(int(i)), concept) for i in data.indices("train")]
    level = float(np.median(np.concatenate(values))) if sum(map(len, values)) else 0.0
    return level, f"the predicted {of} has a value above {level:g}, the median of train documents"
