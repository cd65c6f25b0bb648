"""Vocabularies that are still to be made, from the training part of a text alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlstm.corpus import characters, words
from mlstm.corpus.characters import Characters
from mlstm.corpus.sentencepieces import FitSentencePieces
from mlstm.corpus.spelling import Spelling
from mlstm.corpus.symbols import UNSEEN, bytes_of, codes_of, sorted_by_count, text_of
from mlstm.corpus.vocabulary import Bytes
from mlstm.corpus.words import WORDS, Words
from mlstm.errors import InputError

HELD = 1 << 22
"""The most different words that are counted at once: about half a gigabyte."""
_TOGETHER = 1 << 20


@dataclass(frozen=True)
class FitCharacters:
    """The characters that were seen `minimum` times or more, and what becomes of the others."""

    unseen: str = "unknown"
    minimum: int = 1

    kind: ClassVar[str] = Characters.kind

    def __post_init__(self):
        _check(self.unseen, self.minimum)

    def fit(self, blocks: Iterable[bytes]) -> Characters:
        """`blocks` of text, none of which ends inside a character."""
        seen, of_bytes, total = np.zeros(0x110000, np.int64), np.zeros(256, np.int64), 0
        for together in _joined(blocks):
            codes = codes_of("".join(map(text_of, together)))
            counts = np.bincount(codes)
            seen[: len(counts)] += counts
            of_bytes += _counts(together)
            total += len(codes)
        pieces = characters.chosen(seen, self.unseen, self.minimum)
        return Characters(pieces, self.unseen, Spelling.fitted(of_bytes, total))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        return f"characters seen {self.minimum} times or more, unseen: {self.unseen}"


@dataclass(frozen=True)
class FitWords:
    """The words that `pattern` finds, seen `minimum` times or more; of more than fill a vocabulary
    of `largest` symbols (0: any number) the most frequent, equal ones by their bytes.

    With a minimum of 1 no word of the training text is unknown, and a model does not learn what to
    expect where one is. Of a text with more than four million different words the rare ones may be
    missed.
    """

    pattern: str = WORDS
    minimum: int = 2
    largest: int = 0
    unseen: str = "unknown"

    kind: ClassVar[str] = Words.kind

    def __post_init__(self):
        _check(self.unseen, self.minimum)
        words.compiled(self.pattern)
        own = UNSEEN[self.unseen]
        if self.largest and self.largest <= own:
            raise InputError(
                f"a vocabulary of {self.largest} symbols has no room for words: with unseen "
                f"{self.unseen!r}, {own} are none"
            )

    def fit(self, blocks: Iterable[bytes]) -> Words:
        """`blocks` as `cutting` makes them."""
        seen: Counter[str] = Counter()
        of_bytes, total, rare = np.zeros(256, np.int64), 0, 0
        for together in _joined(blocks):
            of_bytes += _counts(together)
            for block in together:
                found = words.cut(text_of(block), self.pattern)
                seen.update(found)
                total += len(found)
                while len(seen) > HELD:
                    rare += 1
                    seen = Counter({word: n for word, n in seen.items() if n > rare})
        if self.unseen == "bytes":
            seen = Counter({word: n for word, n in seen.items() if len(bytes_of(word)) > 1})
        pieces = sorted_by_count(seen, self.minimum)
        if self.largest:
            pieces = pieces[: self.largest - UNSEEN[self.unseen]]
        if not pieces and self.unseen != "bytes":
            raise InputError(
                f"no word is seen {self.minimum} times or more in the training text: a lower "
                "minimum count is needed"
            )
        return Words(tuple(pieces), self.unseen, Spelling.fitted(of_bytes, total), self.pattern)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        return (
            f"words {self.pattern!r} seen {self.minimum} times or more"
            f"{f', {self.largest:,} symbols at most' if self.largest else ''}, "
            f"unseen: {self.unseen}"
        )


Fit = FitCharacters | FitWords | FitSentencePieces


def chosen(
    vocabulary: str, unseen: str = "", pattern: str = "", minimum: int = 0, largest: int = 0
) -> Bytes | Fit | None:
    """The vocabulary of that name, fitted or to be; None of no name. What is empty or 0 is left as
    it is there. Raises InputError, also for what is given and means nothing with it."""
    kind, _, place = vocabulary.partition(":")
    given = {"unseen": unseen, "pattern": pattern, "minimum": minimum, "largest": largest}
    given = {name: value for name, value in given.items() if value}
    kinds: dict[str, Any] = {"characters": FitCharacters, "words": FitWords}
    takes: set[str] = set()
    if kind in kinds:
        takes = {field.name for field in dataclasses.fields(kinds[kind])}
    if wrong := set(given) - takes:
        raise InputError(
            f"{_NAMES[min(wrong)]} says nothing of a vocabulary of {vocabulary or 'bytes'}"
        )
    if kind in kinds and unseen == "refuse":
        given.setdefault("minimum", 1)
    if "pattern" in given:
        given["pattern"] = words.NAMED.get(given["pattern"], given["pattern"])
    if kind == "sentencepiece" and place:
        return FitSentencePieces.read(place)
    if place or kind not in ("", "bytes", *kinds):
        known = ["bytes", *kinds, "sentencepiece:FILE"]
        raise InputError(f"no vocabulary {vocabulary!r}; there are {', '.join(known)}")
    if not kind:
        return None
    return Bytes() if kind == "bytes" else kinds[kind](**given)


_NAMES = {
    "unseen": "unseen",
    "pattern": "word_pattern",
    "minimum": "minimum_count",
    "largest": "largest",
}


def _joined(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Blocks that are small, together: an array is not made for each."""
    found, size = [], 0
    for block in blocks:
        found.append(block)
        size += len(block)
        if size >= _TOGETHER:
            yield found
            found, size = [], 0
    if found:
        yield found


def _counts(blocks: list[bytes]) -> np.ndarray:
    return np.bincount(np.frombuffer(b"".join(blocks), np.uint8), minlength=256)


def _check(unseen: str, minimum: int) -> None:
    if unseen not in UNSEEN:
        raise InputError(f"unseen is {unseen!r}; it may be {', '.join(UNSEEN)}")
    if minimum < 1:
        raise InputError(f"a minimum count of {minimum}: 1 is the least")
    if unseen == "refuse" and minimum > 1:
        raise InputError(
            f"unseen is 'refuse' and the minimum count {minimum}: the training text itself would "
            "be refused; a minimum of 1 is needed"
        )
