"""Characters as ids: those of Unicode that a text has; each byte that is no UTF-8 is one too."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from mlstm.corpus.symbols import (
    Symbols,
    bytes_of,
    codes_of,
    described,
    sizes_of,
    spelled_in_bytes,
    text_of,
)
from mlstm.corpus.tokens import Tokens
from mlstm.errors import InputError

_CODES = 0x110000


class Characters(Symbols):
    """`pieces` are single characters, in the order of their numbers."""

    kind: ClassVar[str] = "characters"
    replacement: ClassVar[str] = "\ufffd"

    def __post_init__(self):
        super().__post_init__()
        if any(len(piece) != 1 for piece in self.pieces):
            raise InputError("a vocabulary of characters holds a piece that is not one character")

    def tokens(self, data: bytes) -> Tokens:
        return self.tokens_of([text_of(data)], data)

    def tokens_of(self, texts: Sequence[str], data: bytes) -> Tokens:
        codes = codes_of("".join(texts))
        sizes = sizes_of(codes) if len(codes) < len(data) else None
        ends = np.arange(1, len(codes) + 1) if sizes is None else np.cumsum(sizes)
        table = self._table
        if len(table) < _CODES and codes.size and codes.max() >= len(table):
            ids = np.full(len(codes), self.size if self.unknown is None else self.unknown)
            inside = codes < len(table)
            ids[inside] = table[codes[inside]]
        else:
            ids = table[codes]
        if self.unknown is not None:
            return Tokens(ids.astype(self.dtype), ends)
        if self.unseen == "refuse":
            place = int(np.argmax(ids == self.size)) if len(ids) else 0
            if len(ids) and ids[place] == self.size:
                start = int(ends[place - 1]) if place else 0
                raise self._refuse(start, data[start : ends[place]])
            return Tokens(ids.astype(self.dtype), ends)
        ids, ends = spelled_in_bytes(data, Tokens(ids, ends), self.size)
        return Tokens(ids.astype(self.dtype), ends)

    @functools.cached_property
    def _table(self) -> np.ndarray:
        """The id of each character up to the largest that has one; `size` for the unseen."""
        codes = np.array([ord(piece) for piece in self.ids], np.int64)
        unseen = self.size if self.unknown is None else self.unknown
        table = np.full(int(codes.max(initial=0)) + 1, unseen, np.int64)
        table[codes] = np.array(list(self.ids.values()), np.int64)
        return table

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"characters": "".join(self.pieces)}

    @classmethod
    def from_json(cls, description: dict[str, Any]) -> Characters:
        unseen, spelling = described(description)
        return cls(tuple(description["characters"]), unseen, spelling)


def chosen(counts: np.ndarray, unseen: str, minimum: int) -> tuple[str, ...]:
    """The pieces of a vocabulary, from (0x110000,) how often each character was seen."""
    pieces = [chr(code) for code in np.flatnonzero(counts >= max(1, minimum))]
    if unseen == "bytes":
        pieces = [piece for piece in pieces if len(bytes_of(piece)) > 1]
    return tuple(pieces)
