"""What a text is known by when texts are compared: its words, whatever their case and what stands
between them, as one number for the whole and one for each eight words in a row.

A word is a run of letters and digits of ASCII, small and capital alike, and of all other bytes from
128 on; everything else only parts words. Numbers are hashes of 64 bits: two different things have
the same with a chance of about one in 10^19.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WORDS = 8
_AT_ONCE = 1 << 20  # bytes of text
_TABLE = np.zeros(256, np.uint8)
for _code in range(256):
    if chr(_code).isalnum() or _code >= 128:
        _TABLE[_code] = ord(chr(_code).lower()) if _code < 128 else _code
# Odd numbers of no meaning: multiplying by them loses nothing modulo 2^64.
_OF_BYTES, _OF_WORDS, _OF_GRAMS = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9


class Signatures(NamedTuple):
    """Of documents next to each other."""

    texts: np.ndarray  # (documents,) uint64: of all words of each; 0 without any
    grams: np.ndarray  # (grams,) uint64: of each WORDS words in a row
    document: np.ndarray  # (grams,) the document of each


def of_documents(data: bytes | memoryview, lengths: np.ndarray) -> Signatures:
    """The signatures of documents that follow each other in `data`; lengths: bytes of each."""
    codes = np.frombuffer(data, np.uint8)
    ends = np.cumsum(lengths.astype(np.int64))
    found: list[Signatures] = []
    first = 0
    while first < len(ends):
        begin = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begin + _AT_ONCE, side="right")))
        part = _of_some(codes[begin : ends[last - 1]], ends[first:last] - begin)
        found.append(part._replace(document=part.document + first))
        first = last
    if not found:
        return Signatures(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))
    return Signatures(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def _of_some(codes: np.ndarray, ends: np.ndarray) -> Signatures:
    letters = _TABLE[codes]
    inside = letters != 0
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    first = np.concatenate([[0], ends[:-1]])  # a document begins a word, whatever is before it
    first = first[first < len(codes)]
    begins[first] |= inside[first]
    starts = np.flatnonzero(begins)
    documents = len(ends)
    texts = np.zeros(documents, np.uint64)
    if not len(starts):
        return Signatures(texts, np.empty(0, np.uint64), np.empty(0, np.int64))
    at = np.flatnonzero(inside)
    word_of = np.cumsum(begins[at]) - 1
    place = at - starts[word_of]
    values = letters[at].astype(np.uint64) * _powers(_OF_BYTES, int(place.max()) + 1)[place]
    words = _mix(np.add.reduceat(values, np.searchsorted(at, starts)))
    document = np.searchsorted(ends, starts, side="right")
    begun = np.flatnonzero(np.diff(document, prepend=-1))
    place = np.arange(len(words)) - np.repeat(begun, np.diff(np.append(begun, len(words))))
    whole = np.add.reduceat(words * _powers(_OF_WORDS, int(place.max()) + 1)[place], begun)
    texts[document[begun]] = _mix(whole) | np.uint64(1)
    grams = np.zeros(max(0, len(words) - WORDS + 1), np.uint64)
    for step, power in enumerate(_powers(_OF_GRAMS, WORDS)):
        grams += words[step : step + len(grams)] * power
    of_gram = document[: len(grams)]
    one = of_gram == document[WORDS - 1 :]
    return Signatures(texts, _mix(grams[one]), of_gram[one])


def _powers(base: int, count: int) -> np.ndarray:
    return np.multiply.accumulate(np.full(count, base, np.uint64))


def _mix(values: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits (the finalizer of splitmix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
