"""Labelled data as a model reads it that steps over tokens longer than a byte.

Positions stay those of bytes; the state at one is that after the token which holds it. Labels of
the bytes of one token would be the same state over and over: of them the last byte's stays. So it
is where each byte of a word has its label: the last byte in each token has it.
"""

# n labelled positions of a document

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mlstm.errors import InputError

if TYPE_CHECKING:
    from mlstm.corpus.vocabulary import Vocabulary
    from probing.tasks.labelled import LabelledData, LabelledDocument, Labels


def of_tokens(data: LabelledData, vocabulary: Vocabulary) -> LabelledData:
    """The same data for a vocabulary; for one of bytes it is as it was.

    Labels of bytes are kept where a token ends. Labels of words and documents stay, each once in a
    token; different ones whose positions are in one token share its state. Notes say how many there
    are of either.
    InputError for data that is of another vocabulary's tokens.
    """
    if data.vocabulary is not None and data.vocabulary != vocabulary:
        raise InputError(
            f"{data.origin}: its labels are of the tokens of {data.vocabulary}, and not of those "
            f"of {vocabulary}; give the labels of the bytes"
        )
    if vocabulary.bytewise or data.vocabulary is not None:
        return data
    marks = [_Ends(data, document, vocabulary) for document in data.documents]
    documents = tuple(
        dataclasses.replace(document, read=partial(_read, document.read, ends, data.unit))
        for document, ends in zip(data.documents, marks, strict=True)
    )
    notes = _notes(data, marks)
    return dataclasses.replace(
        data,
        documents=documents,
        vocabulary=vocabulary,
        notes=(*data.notes, *notes),
        token_notes=notes,
    )


def beginning(data: LabelledData, document: int, size: int) -> bytes:
    """The first bytes of a document. Of data that is of tokens the whole ones among them: what is
    left of another would be read as one that it is not. The first is there in any case."""
    text = data.documents[document].data
    if data.vocabulary is None:
        return text[:size]
    ends = data.vocabulary.tokens(text).ends
    whole = ends[: max(1, int(np.searchsorted(ends, size, side="right")))]
    return text[: whole[-1]] if len(whole) else text


class _Ends:
    """Where the tokens of a document end, found once: an eighth of its size, whatever it is."""

    def __init__(self, data: LabelledData, document: LabelledDocument, vocabulary: Vocabulary):
        self.origin, self.document, self.vocabulary = data.origin, document, vocabulary
        self.packed: np.ndarray | None = None

    def __call__(self) -> np.ndarray:
        """(bytes,) bool: is it the last byte of a token."""
        size = len(self.document.data)
        if self.packed is None:
            try:
                ends = self.vocabulary.tokens(self.document.data).ends
            except InputError as error:
                name = self.document.name
                raise InputError(f"{self.origin}: document {name}: {error}") from None
            last = np.zeros(size, bool)
            last[ends - 1] = True
            self.packed = np.packbits(last)
        return np.unpackbits(self.packed, count=size).astype(bool)


def _read(read: Callable[[], Labels], ends: _Ends, unit: str) -> Labels:
    labels = read()
    here = _kept(labels, ends(), unit)
    return labels if here.all() else type(labels)(*(part[here] for part in labels))


def _kept(labels: Labels, last: np.ndarray, unit: str) -> np.ndarray:
    """(n,) bool. last: (bytes,) of _Ends."""
    if unit == "byte":
        return last[labels.positions]
    token = (np.cumsum(last) - last)[labels.positions]
    word = np.stack([token, labels.starts, labels.ends], 1)
    _, of = np.unique(word, axis=0, return_inverse=True)
    latest = np.zeros(len(word), int)
    np.maximum.at(latest, of.ravel(), labels.positions)
    return labels.positions == latest[of.ravel()]


def _notes(data: LabelledData, marks: list[_Ends]) -> tuple[str, ...]:
    every = left = shared = 0
    for document, ends in enumerate(marks):
        labels, last = data.labels(document), ends()
        kept = _kept(labels, last, data.unit)
        places = np.unique(labels.positions[kept])
        every, left = every + len(kept), left + int(np.count_nonzero(~kept))
        token = (np.cumsum(last) - last)[places]
        shared += len(places) - len(np.unique(token))
    notes = []
    if left:
        what = "a token ends" if data.unit == "byte" else "the last in a token is"
        notes.append(
            f"the model reads tokens longer than a byte: of {every:,} labels of bytes the "
            f"{every - left:,} where {what} are counted, and the others left out"
        )
    if shared:
        notes.append(
            f"{shared:,} of {every - left:,} labelled positions are in a token that holds an "
            "earlier one too, and share its state"
        )
    return tuple(notes)
