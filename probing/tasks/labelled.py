"""Labelled data: what every task returns. Documents in bytes, and labels for every byte of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlstm.errors import InputError

HALVES = ("select", "test")


@dataclass(frozen=True)
class LabelledDocument:
    """One document. It is also the group: no split ever parts it."""

    name: str
    data: bytes
    classes: np.ndarray  # (bytes, classes) bool: does the byte belong to the class
    numbers: np.ndarray  # (bytes, numbers) int32: the value of each numeric concept at the byte


@dataclass(frozen=True)
class LabelledData:
    """Documents with, for each byte, membership in classes and values of numeric concepts.

    A label belongs to the state of the model after it has read the byte.
    """

    task: str
    origin: str  # where the documents came from, for people
    classes: tuple[str, ...]
    numbers: tuple[str, ...]
    documents: tuple[LabelledDocument, ...]
    skipped: tuple[tuple[str, str], ...] = ()  # documents left out: name, reason
    meaning: tuple[tuple[str, str], ...] = ()  # concept, what it is in a sentence

    def __post_init__(self) -> None:
        for document in self.documents:
            for labels, names in (
                (document.classes, self.classes),
                (document.numbers, self.numbers),
            ):
                if labels.shape != (len(document.data), len(names)):
                    raise ValueError(
                        f"{document.name}: labels of shape {labels.shape}, "
                        f"not {(len(document.data), len(names))}"
                    )

    @property
    def concepts(self) -> tuple[str, ...]:
        """Classes, then numeric concepts: the columns of a NeuronTable."""
        return self.classes + self.numbers

    @property
    def bytes(self) -> int:
        return sum(len(document.data) for document in self.documents)

    @cached_property
    def digest(self) -> str:
        """sha256 over the names and bytes of the documents, in the order of their names."""
        digest = hashlib.sha256()
        for document in sorted(self.documents, key=lambda d: d.name):
            for part in (document.name.encode(), document.data):
                digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()

    @cached_property
    def halves(self) -> np.ndarray:
        """(documents,) int: 0 where a document selects neurons, 1 where it tests them.

        Documents in the order of the sha256 of their names, cut where the bytes are nearest half:
        independent of their content, and never inside a document. InputError with fewer than two
        documents that have any bytes.
        """
        sizes = np.array([len(document.data) for document in self.documents])
        if np.count_nonzero(sizes) < 2:
            raise InputError(
                f"{self.origin}: {np.count_nonzero(sizes)} labelled document(s); at least 2 are "
                "needed, since neurons are selected on some and tested on others"
            )
        names = [hashlib.sha256(document.name.encode()).digest() for document in self.documents]
        order = np.array(sorted(range(len(names)), key=lambda i: (sizes[i] == 0, names[i])))
        before = np.cumsum(sizes[order])
        filled = np.count_nonzero(sizes)
        cut = 1 + int(np.argmin(np.abs(before[: filled - 1] - before[-1] / 2)))
        halves = np.zeros(len(names), np.int32)
        halves[order[cut:]] = 1
        return halves

    def half(self, name: str) -> tuple[LabelledDocument, ...]:
        """The documents of the half "select" or "test"."""
        wanted = HALVES.index(name)
        return tuple(
            d for d, half in zip(self.documents, self.halves, strict=True) if half == wanted
        )

    def check_labels(self) -> None:
        """InputError unless some byte has some class or a number that varies."""
        if any(d.classes.any() for d in self.documents):
            return
        values = {int(v) for d in self.documents for v in np.unique(d.numbers)}
        if len(values) < 2:
            raise InputError(
                f"{self.origin}: no labelled byte for task {self.task} in "
                f"{len(self.documents)} document(s){skipped_line(self.skipped)}"
            )


def skipped_line(skipped: tuple[tuple[str, str], ...]) -> str:
    """ "; 2 skipped (a.py: reason, ...)", or nothing."""
    if not skipped:
        return ""
    shown = ", ".join(f"{name}: {reason}" for name, reason in skipped[:3])
    more = ", ..." if len(skipped) > 3 else ""
    return f"; {len(skipped)} skipped ({shown}{more})"
