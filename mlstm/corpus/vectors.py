"""Word vectors that others have trained, as text (GloVe, word2vec) or in word2vec's binary form.

A line of the text form is a word and its numbers; word2vec's begins with a line of two numbers, how
many words there are and of how many dimensions. The binary form has the same first line, then for
each word its name, a space, and float32 numbers. Only the vectors of words that are asked for are
kept, so that a file of any size takes bounded memory.
"""

# D dimensions

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from mlstm.corpus.files import read_chunks, user_path
from mlstm.errors import InputError

_LONGEST = 1 << 20
"""Bytes of a line, or of a word: longer ones are none."""


def read(
    path: str | os.PathLike, wanted: Iterable[bytes], dimensions: int
) -> dict[bytes, np.ndarray]:
    """(D,) float32 of each wanted word that is in the file; of a word that is there twice the
    first. A name that ends in .bin, before a compression's suffix, is of the binary form.

    Raises InputError, with the line, where the file is damaged or has other dimensions.
    """
    path, words = user_path(path), frozenset(wanted)
    text = Reader(path)
    name = path.name.lower()
    for suffix in (".gz", ".bz2", ".xz", ".zst"):
        name = name.removesuffix(suffix)
    lines = _binary(text, dimensions) if name.endswith(".bin") else _lines(text, dimensions)
    found: dict[bytes, np.ndarray] = {}
    for word, vector in lines:
        if word in words and word not in found:
            numbers = vector()
            if not np.isfinite(numbers).all():
                raise text.wrong(f"the vector of {_shown(word)} has a number that is not finite")
            found[word] = numbers
    return found


class Reader:
    """A file as lines and as numbers of bytes."""

    def __init__(self, path: os.PathLike):
        self.path, self.number = path, 0
        self._chunks, self._rest, self._place = read_chunks(path), b"", 0

    def wrong(self, what: str) -> InputError:
        return InputError(f"{self.path}:{self.number}: {what}")

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._rest, self._place = self._rest[self._place :] + chunk[0], 0
        return True

    def until(self, end: bytes) -> bytes | None:
        """What stands before `end`, which is passed over; at the end of the file what is left, or
        None where nothing is."""
        searched = self._place
        while (stop := self._rest.find(end, searched)) < 0:
            left = len(self._rest) - self._place
            if left > _LONGEST:
                raise self.wrong(f"no end of it within {_LONGEST:,} bytes: these are no vectors")
            if not self._more():
                found, self._rest, self._place = self._rest[self._place :], b"", 0
                return found or None
            searched = left
        found, self._place = self._rest[self._place : stop], stop + len(end)
        return found

    def exactly(self, count: int) -> bytes:
        while len(self._rest) - self._place < count:
            if not self._more():
                raise self.wrong("the file ends inside of a vector: it was cut short")
        found = self._rest[self._place : self._place + count]
        self._place += count
        return found


Found = Iterator[tuple[bytes, Callable[[], np.ndarray]]]


def _lines(text: Reader, dimensions: int) -> Found:
    while (line := text.until(b"\n")) is not None:
        text.number += 1
        line = line.rstrip(b" \r\t")
        if not line and text.number > 1:
            continue
        if text.number == 1 and (header := _header(line)):
            _check(text, header[1], dimensions)
            continue
        # A word may hold spaces; its numbers are the last of the line.
        parts = line.rsplit(None, dimensions)
        if len(parts) != dimensions + 1 or _is_number(parts[0].split()[1:][-1:]):
            count = _numbers(line)
            if text.number == 1:
                _check(text, count, dimensions)
            raise text.wrong(
                f"{count} numbers behind {_shown(line.split()[0] if line.split() else line)}, "
                f"where {dimensions} are wanted"
            )

        def vector(parts: list[bytes] = parts) -> np.ndarray:
            try:
                return np.array(parts[1:], np.float32)
            except ValueError:
                raise text.wrong(
                    f"the vector of {_shown(parts[0])} has something that is no number"
                ) from None

        yield parts[0].strip(), vector


def _binary(text: Reader, dimensions: int) -> Found:
    text.number = 1
    header = _header(text.until(b"\n") or b"")
    if header is None:
        raise text.wrong("the binary form begins with a line of two numbers, words and dimensions")
    _check(text, header[1], dimensions)
    for number in range(header[0]):
        text.number = 2 + number  # of the word, as if each had a line
        word = text.until(b" ")
        if word is None:
            raise text.wrong(f"{header[0]:,} words were announced, {number:,} are there")
        numbers = text.exactly(4 * dimensions)
        yield word.lstrip(b"\n"), lambda numbers=numbers: np.frombuffer(numbers, "<f4")


def _header(line: bytes) -> tuple[int, int] | None:
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() and len(part) < 12 for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _check(text: Reader, found: int, dimensions: int) -> None:
    if found != dimensions:
        raise text.wrong(
            f"the vectors have {found} dimensions, and config.model.embedding is {dimensions}"
        )


def _numbers(line: bytes) -> int:
    """How many numbers stand at the end of a line, behind its first word."""
    parts, count = line.split()[1:], 0
    while count < len(parts) and _is_number([parts[-1 - count]]):
        count += 1
    return count


def _is_number(parts: list[bytes]) -> bool:
    try:
        return bool(parts) and float(parts[0]) == float(parts[0])
    except ValueError:
        return False


def _shown(word: bytes) -> str:
    return repr(word[:40].decode("utf-8", "backslashreplace"))
