"""Words as ids: what a regular expression finds in a text, and each character that it leaves."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlstm.corpus import backtracking
from mlstm.corpus.cutting import blocks
from mlstm.corpus.symbols import (
    Symbols,
    described,
    ends_in_bytes,
    spelled_in_bytes,
    text_of,
)
from mlstm.corpus.tokens import Tokens
from mlstm.errors import InputError

WORDS = r"\w+|[^\w]"
"""Words, and everything between them character by character, spaces too."""
NAMED = {"words": WORDS, "whitespace": r"\S+"}
"""Patterns that have a name."""


@dataclass(frozen=True)
class Words(Symbols):
    """`pattern` sees one line of a text at a time, of a longer one 64 KiB; what it does not find
    are tokens of one character each, so that tokens are the whole text.

    Raises InputError for a pattern that is none, or finds empty words.
    """

    pattern: str = WORDS

    kind: ClassVar[str] = "words"
    replacement: ClassVar[str] = "<unk>"

    def __post_init__(self):
        super().__post_init__()
        compiled(self.pattern)

    def tokens(self, data: bytes) -> Tokens:
        all_ids, all_ends, begin = [np.empty(0, self.dtype)], [np.empty(0, np.int64)], 0
        for block in blocks(data):
            ids, ends = self.tokens_of([text_of(block)], block, begin)
            all_ids.append(ids)
            all_ends.append(ends + begin)
            begin += len(block)
        return Tokens(np.concatenate(all_ids), np.concatenate(all_ends))

    def tokens_of(self, texts: Sequence[str], data: bytes, begin: int = 0) -> Tokens:
        words = [word for text in texts for word in cut(text, self.pattern)]
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        ends = ends_in_bytes("".join(texts), data, np.cumsum(lengths))
        unseen = self.size if self.unknown is None else self.unknown
        found = self.ids
        ids = np.fromiter((found.get(word, unseen) for word in words), np.int64, len(words))
        if self.unseen == "bytes":
            ids, ends = spelled_in_bytes(data, Tokens(ids, ends), unseen)
        elif self.unseen == "refuse" and (ids == unseen).any():
            place = int(np.argmax(ids == unseen))
            start = int(ends[place - 1]) if place else 0
            raise self._refuse(begin + start, data[start : ends[place]])
        return Tokens(ids.astype(self.dtype), ends)

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"pattern": self.pattern, "words": list(self.pieces)}

    @classmethod
    def from_json(cls, description: dict[str, Any]) -> Words:
        unseen, spelling = described(description)
        words, pattern = description["words"], description["pattern"]
        if not isinstance(words, list):
            raise InputError("a vocabulary of words has no list of them")
        return cls(tuple(words), unseen, spelling, pattern)


@functools.lru_cache(64)
def compiled(pattern: str) -> re.Pattern[str]:
    """Raises InputError for a pattern that is none, that finds an empty word, or that might take
    for ever, also for one that came with somebody's model."""
    if not isinstance(pattern, str) or not pattern:
        raise InputError(f"the pattern of words is {pattern!r}: a regular expression is wanted")
    try:
        backtracking.check(pattern)
        found = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"the pattern of words {pattern!r} is wrong: {error}") from None
    if found.match(""):
        raise InputError(f"the pattern of words {pattern!r} finds empty words")
    return found


def cut(text: str, pattern: str) -> list[str]:
    """The words of a block, line by line, and what is left as characters: together the text."""
    find = compiled(pattern)
    if pattern == WORDS:  # it finds everything, and no line end inside of a word
        return find.findall(text)
    words: list[str] = []
    for line in lines_of(text):
        start = 0
        for match in find.finditer(line):
            begin, stop = match.span()
            if begin < stop:
                words.extend(line[start:begin])
                words.append(line[begin:stop])
                start = stop
        words.extend(line[start:])
    return words


def lines_of(text: str) -> list[str]:
    """Each with its line end, "\n"."""
    *lines, last = text.split("\n")
    return [line + "\n" for line in lines] + ([last] if last else [])
