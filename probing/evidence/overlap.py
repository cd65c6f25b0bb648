"""How many of a task's documents a model may have read in training: shared 13-grams of words.

The measure of Brown et al. (2020, appendix C): a document counts where one of its 13-grams of
lower-case words, split at white space, occurs in the training text. A document of fewer words
counts where all of its words do, in their order.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

WORDS = 13
PIECE = 1 << 20  # bytes of training text at a time
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no power of it is lost modulo 2^64


@dataclass(frozen=True)
class Overlap:
    """What `overlap` found."""

    documents: int
    shared: int  # of them, have a 13-gram of the training text
    words: int = WORDS

    @property
    def share(self) -> float:
        return self.shared / self.documents if self.documents else float("nan")

    def __str__(self) -> str:
        return (
            f"{self.shared:,} of {self.documents:,} documents ({self.share:.1%}) share "
            f"{self.words} words in a row with the training text"
        )


def overlap(
    documents: Iterable[bytes],
    text: Iterable[bytes],
    *,
    progress: Callable[[int], None] | None = None,
) -> Overlap:
    """Compare documents with the pieces of a training text, as `pieces` cuts it.

    Memory is that of the documents' 13-grams. Two different 13-grams are taken for one with a
    chance of about their number over 2^64, or where the CRC-32 of two words is the same.
    """
    of_length: dict[int, list[tuple[np.ndarray, int]]] = {}
    count = 0
    for count, data in enumerate(documents, 1):
        words = _words(data)
        if len(words):
            length = min(WORDS, len(words))
            of_length.setdefault(length, []).append((_grams(words, length), count - 1))
    tables = {}
    for length, found in of_length.items():
        grams = np.concatenate([grams for grams, _ in found])
        owners = np.concatenate([np.full(len(grams), owner) for grams, owner in found])
        order = np.argsort(grams, kind="stable")
        tables[length] = grams[order], owners[order]
    shared = np.zeros(count, bool)
    done = 0
    for piece in text:
        words = _words(piece)
        for length, (grams, owners) in tables.items():
            if len(words) >= length:
                here = np.isin(grams, _grams(words, length))
                shared[owners[here]] = True
        done += len(piece)
        if progress:
            progress(done)
    return Overlap(count, int(shared.sum()))


def pieces(length: int, read: Callable[[int, int], np.ndarray], size: int = PIECE):
    """A text of `length` bytes in pieces that overlap by enough for any 13 words of usual size.

    read(start, stop): its bytes as an array, as `Split.read` gives them.
    """
    overlap_bytes = WORDS * 32
    for start in range(0, length, size):
        yield read(start, min(length, start + size + overlap_bytes)).astype(np.uint8).tobytes()


def _words(data: bytes) -> np.ndarray:
    return np.array([zlib.crc32(word) for word in data.lower().split()], np.uint64)


def _grams(words: np.ndarray, length: int) -> np.ndarray:
    """A 64-bit hash of each `length` words in a row: a polynomial in an odd base."""
    grams = np.zeros(len(words) - length + 1, np.uint64)
    with np.errstate(over="ignore"):
        for k in range(length):
            grams = grams * _BASE + words[k : k + len(grams)] + np.uint64(1)
    return grams
