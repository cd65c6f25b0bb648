"""The tokens of a labelled document, as a model's vocabulary cuts it, and where they are in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mlstm.corpus.tokens import Tokens
from mlstm.errors import InputError
from mlstm.trained import Model
from probing.tasks.labelled import LabelledData


class Text(NamedTuple):
    """What a model reads of a document: step k is the id at place k."""

    ids: np.ndarray  # (n,)
    ends: np.ndarray | None  # (n,) int32: the byte after each token; None where each is one byte

    @property
    def bytes(self) -> int:
        """How many are read."""
        if self.ends is None:
            return len(self.ids)
        return int(self.ends[-1]) if len(self.ends) else 0

    def steps(self, positions: np.ndarray) -> np.ndarray:
        """Of each byte position, the step that reads it."""
        if self.ends is None:
            return positions
        return np.searchsorted(self.ends, positions, side="right")

    def spans(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of bytes [start, end) the steps [first, behind) that read any of them."""
        if self.ends is None:
            return starts, ends
        first = self.steps(starts)
        return first, np.where(ends > starts, self.steps(np.maximum(ends, 1) - 1) + 1, first)

    def before(self, step: int) -> int:
        """How many bytes are read before a step."""
        return step if self.ends is None else int(self.ends[step - 1]) if step else 0

    def begun(self, position: int) -> int:
        """How many tokens begin before a byte position."""
        if self.ends is None or position < 1:
            return max(position, 0)
        return 1 + int(np.searchsorted(self.ends, position, side="left"))

    def last_bytes(self, steps: np.ndarray) -> np.ndarray:
        """Of each step the position of the last byte that it reads."""
        return steps if self.ends is None else self.ends[steps] - 1

    def sizes(self) -> np.ndarray:
        """(n,) bytes of each token."""
        if self.ends is None:
            return np.ones(len(self.ids), int)
        return np.diff(self.ends, prepend=np.int32(0))

    def first(self, count: int) -> Text:
        """Its tokens that are whole within so many bytes."""
        if self.ends is None:
            return Text(self.ids[:count], None)
        n = int(np.searchsorted(self.ends, count, side="right"))
        return Text(self.ids[:n], self.ends[:n])


def text_of(model: Model, data: LabelledData, document: int, first: int | None = None) -> Text:
    """A document, or its tokens that are whole within so many first bytes. InputError names the
    document that has what is none of the model's symbols; ValueError where the text is not cleaned
    as the model's was, which `probing.tasks.cleaned.for_model` does."""
    check_cleaned(model, data)
    text, bytewise = data.documents[document], model.vocabulary.bytewise
    try:
        found = read(model, text.data[:first] if bytewise else text.data)
    except InputError as error:
        raise InputError(f"{data.origin}: document {text.name}: {error}") from None
    return found if bytewise or first is None else found.first(first)


def read(model: Model, text: bytes) -> Text:
    """Any text. Raises InputError for what is none of the model's symbols."""
    vocabulary = model.vocabulary
    if vocabulary.bytewise:
        return Text(vocabulary.encode(text), None)
    tokens = vocabulary.tokens(text)
    return Text(tokens.ids, tokens.ends.astype(np.int32))


def spelling(model: Model, text: bytes, read: Text) -> np.ndarray:
    """(n,) nats that the bytes of each token cost beside it: of those that the vocabulary lacks."""
    if read.ends is None:
        return np.zeros(len(read.ids))
    return model.vocabulary.spelling(text, Tokens(read.ids, read.ends.astype(np.int64)))


def check_cleaned(model: Model, data: LabelledData) -> None:
    """Raises ValueError."""
    if model.cleaning not in ("none", data.cleaning):
        raise ValueError(f"the data is cleaned as {data.cleaning}, the model's as {model.cleaning}")
