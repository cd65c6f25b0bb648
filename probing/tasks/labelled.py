"""Labelled data: what every task returns. Documents, spans of their bytes, labels, groups, splits.

A label belongs to the state of the model after it has read the byte at its position.
"""

# n labelled positions of a document, K classes, M numbers

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal, NamedTuple

import numpy as np

from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError
from probing.tasks.cleaned import cleaned

SPLITS = ("train", "dev", "test")
FRACTIONS = (0.4, 0.2, 0.4)
"""Of the groups, where the documents come without splits: select and fit, choose, test."""
DEV_OF_TRAIN = 0.2
"""Of the train groups, where an official split has no part to choose on."""

Unit = Literal["document", "token", "byte"]


class Labels(NamedTuple):
    """The labelled positions of one document, in ascending order."""

    positions: np.ndarray  # (n,) int32: the byte after which the state is read
    starts: np.ndarray  # (n,) int32: what is labelled is the bytes [start, end)
    ends: np.ndarray  # (n,) int32
    classes: np.ndarray  # (n, K) bool: does it belong to the class
    numbers: np.ndarray  # (n, M) float32: the value of each numeric concept, NaN nowhere


def every_byte(classes: np.ndarray, numbers: np.ndarray) -> Labels:
    """Labels of all bytes, each a span of its own; classes (bytes, K), numbers (bytes, M)."""
    places = np.arange(len(classes), dtype=np.int32)
    return Labels(
        places, places, places + 1, classes.astype(bool), numbers.astype(np.float32, copy=False)
    )


@dataclass(frozen=True)
class LabelledDocument:
    """One document. Its labels are made when they are asked for, so that a text of any size needs
    no more memory than its bytes."""

    name: str
    data: bytes = field(repr=False)
    read: Callable[[], Labels] = field(compare=False, repr=False)
    group: str = ""
    """Documents of one group are on one side of every split. Its own name if empty."""
    split: str = ""
    """Where an official split puts it: one of SPLITS, or empty."""

    @property
    def of_group(self) -> str:
        return self.group or self.name


@dataclass(frozen=True)
class LabelledData:
    """Documents with labels at positions: membership in classes, values of numeric concepts."""

    task: str
    origin: str  # where the documents came from, for people
    unit: Unit  # what a label is given to: decides the null, the control task, the baseline
    classes: tuple[str, ...]
    numbers: tuple[str, ...]
    documents: tuple[LabelledDocument, ...]
    exclusive: bool = False
    """Each position has at most one class, so that classes are the values of one variable."""
    otherwise: str = ""
    """What a position without a class is called, where that is a value too: "negative"."""
    skipped: tuple[tuple[str, str], ...] = ()  # documents left out: name, reason
    meaning: Mapping[str, str] = field(default_factory=dict)  # concept: what it is in a sentence
    notes: tuple[str, ...] = ()  # what a reader of results has to know of the labels
    judge: Callable[[bytes], Labels] | None = field(default=None, compare=False, repr=False)
    """Labels any text as the task does, where labels are a function of the text alone."""
    fractions: tuple[float, float, float] = FRACTIONS
    cleaning: str = "none"
    """The recipe of `mlstm.corpus.cleaning` that the documents were put through."""
    vocabulary: Vocabulary | None = field(default=None, compare=False, repr=False)
    """Whose tokens, longer than bytes, the labels are of; None for those of bytes."""
    token_notes: tuple[str, ...] = ()
    """Those of `notes` that say what became of the labels for that."""

    @property
    def concepts(self) -> tuple[str, ...]:
        """Classes, then numeric concepts: the columns of a NeuronTable."""
        return self.classes + self.numbers

    @property
    def bytes(self) -> int:
        return sum(len(document.data) for document in self.documents)

    def labels(self, document: int) -> Labels:
        """The labels of that document. Raises ValueError where a task made them wrongly."""
        of = self.documents[document]
        labels = of.read()
        n = len(labels.positions)
        shapes = {
            "starts": (n,),
            "ends": (n,),
            "classes": (n, len(self.classes)),
            "numbers": (n, len(self.numbers)),
        }
        for name, shape in shapes.items():
            if getattr(labels, name).shape != shape:
                raise ValueError(
                    f"{of.name}: {name} of shape {getattr(labels, name).shape}, not {shape}"
                )
        if n and not (
            labels.positions[0] >= 0
            and labels.positions[-1] < len(of.data)
            and (np.diff(labels.positions) >= 0).all()
        ):
            raise ValueError(f"{of.name}: positions are not ascending places of its bytes")
        return labels

    @cached_property
    def counts(self) -> np.ndarray:
        """(documents,) int64: labelled positions of each document. Reads all labels once."""
        return np.array([len(self.labels(i).positions) for i in range(len(self.documents))], int)

    @cached_property
    def digest(self) -> str:
        """sha256 over the names and bytes of the documents, in the order of their names."""
        digest = hashlib.sha256()
        for document in sorted(self.documents, key=lambda d: d.name):
            for part in (document.name.encode("utf-8", "surrogatepass"), document.data):
                digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    @cached_property
    def splits(self) -> np.ndarray:
        """(documents,) int8: which of SPLITS each document belongs to.

        Official splits where there are any: without an official test part the dev part is the
        test, and without one to choose on, a fifth of the train groups is. Else groups by the
        sha256 of their names, cut where the documents' bytes come nearest to `fractions`:
        independent of the content, and no group in two. InputError where there are too few groups
        for three parts, or an official split without a train part.
        """
        official = {document.split for document in self.documents} - {""}
        if not official:
            return _cut(self, range(len(self.documents)), self.fractions)
        if unknown := official - set(SPLITS):
            raise InputError(f"{self.origin}: no split {sorted(unknown)}; splits are {SPLITS}")
        given = np.array([SPLITS.index(d.split) if d.split else -1 for d in self.documents])
        if "train" not in official or len(official) < 2 or (given < 0).any():
            raise InputError(
                f"{self.origin}: an official split needs a train part and a dev or test part, and "
                f"a place for every document; it has {', '.join(sorted(official))}"
            )
        if "test" not in official:
            given[given == SPLITS.index("dev")] = SPLITS.index("test")
        splits = given.astype(np.int8)
        if len(official) < 3:
            train = np.flatnonzero(given == 0)
            splits[train] = _cut(self, train, (1 - DEV_OF_TRAIN, DEV_OF_TRAIN, 0.0))
        return splits

    def indices(self, split: str) -> np.ndarray:
        """The documents of "train", "dev" or "test", as places in `documents`."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    @cached_property
    def hashes(self) -> np.ndarray:
        """(documents,) uint64: of each document's group, for folds and seeds."""
        return np.array([group_hash(d.of_group) for d in self.documents], np.uint64)

    def folds(self, count: int) -> np.ndarray:
        """(documents,) int32 in [0, count): folds of groups within each split, as even in number
        of groups as can be, in the order of the groups' hashes."""
        folds = np.zeros(len(self.documents), np.int32)
        for split in range(len(SPLITS)):
            here = np.flatnonzero(self.splits == split)
            groups = np.unique(self.hashes[here])
            folds[here] = np.searchsorted(groups, self.hashes[here]) % count
        return folds

    def take(self, documents: Sequence[int] | np.ndarray) -> LabelledData:
        """The same data with only these documents, which keep their splits."""
        kept = tuple(
            dataclasses.replace(self.documents[i], split=SPLITS[self.splits[i]]) for i in documents
        )
        return dataclasses.replace(self, documents=kept)

    def cleaned(self, recipe: str) -> LabelledData:
        """The same data with each document cleaned, and its labels where their spans went.

        What nothing is left of has no label; that of a document is of the state after all of it.
        A judge stays: it labels what a model wrote. The recipe that was applied already, and
        "none", change nothing. InputError for another on top of one.
        """
        return cleaned(self, recipe)

    def only(self, concept: str) -> LabelledData:
        """The same data with one concept. Raises InputError where it has no such."""
        if concept not in self.concepts:
            raise InputError(f"no concept {concept!r}: there are {', '.join(self.concepts)}")
        k = self.concepts.index(concept)
        classes, numbers = [], []
        (classes if k < len(self.classes) else numbers).append(k)
        numbers = [k - len(self.classes) for k in numbers]

        def column(read: Callable[[], Labels]) -> Labels:
            labels = read()
            return labels._replace(
                classes=labels.classes[:, classes], numbers=labels.numbers[:, numbers]
            )

        judge = self.judge
        return dataclasses.replace(
            self,
            judge=judge and (lambda text: column(partial(judge, text))),
            classes=(concept,) if classes else (),
            numbers=(concept,) if numbers else (),
            documents=tuple(
                dataclasses.replace(d, read=partial(column, d.read)) for d in self.documents
            ),
            exclusive=self.exclusive and bool(classes),
        )

    def one(self, concept: str | None = None) -> LabelledData:
        """`only` of the concept, or of the only one. InputError where it has to be named."""
        if concept is None and len(self.concepts) != 1:
            raise InputError(
                f"task {self.task}: {len(self.concepts)} concepts; name one: "
                f"{', '.join(self.concepts)}"
            )
        return self.only(self.concepts[0] if concept is None else concept)

    def target(self, labels: Labels, concept: str | None = None) -> np.ndarray:
        """What a probe is to tell of each position: (n,).

        Of a class bool, of a number float32; without a concept the name of the class (or of
        `otherwise`), where classes exclude each other. InputError where they do not.
        """
        if concept in self.classes:
            return labels.classes[:, self.classes.index(concept)]
        if concept in self.numbers:
            return labels.numbers[:, self.numbers.index(concept)]
        if concept is not None:
            raise InputError(f"no concept {concept!r}: there are {', '.join(self.concepts)}")
        if not self.exclusive or not self.classes:
            raise InputError(
                f"task {self.task}: its classes do not exclude each other; name one of "
                f"{', '.join(self.concepts)}"
            )
        names = np.array([*self.classes, self.otherwise])
        place = np.where(labels.classes.any(1), labels.classes.argmax(1), len(self.classes))
        return names[place]

    def check_labels(self) -> None:
        """InputError unless some position has, and some has not, a class, or a number varies."""
        on = np.zeros(len(self.classes), bool)
        off = np.zeros(len(self.classes), bool)
        low = np.full(len(self.numbers), np.inf)
        high = np.full(len(self.numbers), -np.inf)
        n = 0
        for i in range(len(self.documents)):
            labels = self.labels(i)
            if not len(labels.positions):
                continue
            n += len(labels.positions)
            on |= labels.classes.any(0)
            off |= ~labels.classes.all(0)
            low = np.minimum(low, labels.numbers.min(0, initial=np.inf))
            high = np.maximum(high, labels.numbers.max(0, initial=-np.inf))
            if (on & off).any() or (low < high).any():
                return
        what = "no labelled byte" if not n else "one class only, and no number that varies,"
        raise InputError(
            f"{self.origin}: {what} for task {self.task} in {len(self.documents)} "
            f"document(s){skipped_line(self.skipped)}"
        )


def group_hash(name: str) -> int:
    """The first 8 bytes of the sha256 of a group's name."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def stored(labels: Labels) -> Callable[[], Labels]:
    """A `read` for labels that are there already."""
    return lambda: labels


def _cut(
    data: LabelledData, documents: Sequence[int] | np.ndarray, fractions: Sequence[float]
) -> np.ndarray:
    """A split for each of these documents: groups in the order of their hashes, cut by bytes."""
    wanted = np.flatnonzero(fractions).tolist()
    sizes: dict[str, int] = {}
    for i in documents:
        document = data.documents[i]
        sizes[document.of_group] = sizes.get(document.of_group, 0) + len(document.data)
    groups = sorted((g for g in sizes if sizes[g]), key=group_hash)
    if len(groups) < len(wanted):
        raise InputError(
            f"{data.origin}: {len(groups)} labelled document(s) (or groups of them); at least "
            f"{len(wanted)} are needed, since neurons are selected on some, probes tuned on "
            "others, and both tested on the rest"
        )
    before = np.cumsum([sizes[g] for g in groups])
    place, start, passed = dict.fromkeys(sizes, wanted[0]), 0, 0.0
    for nth, split in enumerate(wanted):
        left = len(wanted) - nth - 1
        passed += fractions[split]
        end = len(groups) - left
        if left:  # the cut nearest to the share, with a group for each part
            share = before[start:end] - passed * before[-1]
            end = start + 1 + int(np.argmin(np.abs(share)))
        for group in groups[start:end]:
            place[group] = split
        start = end
    return np.array([place[data.documents[i].of_group] for i in documents], np.int8)


def skipped_line(skipped: tuple[tuple[str, str], ...]) -> str:
    """ "; 2 skipped (a.py: reason, ...)", or nothing."""
    if not skipped:
        return ""
    shown = ", ".join(f"{name}: {reason}" for name, reason in skipped[:3])
    more = ", ..." if len(skipped) > 3 else ""
    return f"; {len(skipped)} skipped ({shown}{more})"
