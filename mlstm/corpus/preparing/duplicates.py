"""Training documents that are copies of held-out ones, found and left out."""

from __future__ import annotations

import json
import os
import socket
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus.preparing import pieces, signatures
from mlstm.corpus.preparing.pieces import Part
from mlstm.corpus.preparing.signatures import Signatures
from mlstm.corpus.vocabulary import Table, from_json
from mlstm.errors import InputError

MOST_GRAMS = 24_000_000
"""Of held-out text: 8 bytes each, for all processes together; about 140 MB of English."""
_HEADER = 64  # bytes
_BITS = 24  # a table of as many bits tells most strangers at once


class HeldOut:
    """Collects the signatures of held-out documents."""

    def __init__(self) -> None:
        self._texts: list[np.ndarray] = []
        self._grams: list[np.ndarray] = []
        self._waiting = 0

    def add(self, found: Signatures) -> None:
        """Raises InputError where there are too many to compare with."""
        self._texts.append(found.texts[found.texts != 0])
        self._grams.append(found.grams)
        self._waiting += len(found.grams)
        if self._waiting > MOST_GRAMS // 4:
            self._settle()

    def _settle(self) -> None:
        self._texts = [np.unique(np.concatenate(self._texts))]
        self._grams = [np.unique(np.concatenate(self._grams))]
        self._waiting = 0
        if len(self._grams[0]) > MOST_GRAMS:
            raise InputError(
                f"the held-out text has more than {MOST_GRAMS:,} different runs of "
                f"{signatures.WORDS} words, too many to compare with; hold less out (--splits, "
                "--shards), or compare with a part of it"
            )

    def write(self, path: Path) -> None:
        if self._texts:
            self._settle()
        empty = np.empty(0, np.uint64)
        texts = self._texts[0] if self._texts else empty
        grams = self._grams[0] if self._grams else empty
        _write(path, [texts, grams])


def add_texts(held_out: HeldOut, documents: Iterable[bytes]) -> None:
    """Raises InputError where there are too many to compare with."""
    waiting, size = [], 0
    for text in documents:
        waiting.append(text)
        size += len(text)
        if size > 1 << 20:
            held_out.add(_signatures_of(waiting))
            waiting, size = [], 0
    held_out.add(_signatures_of(waiting))


def _signatures_of(texts: list[bytes]) -> Signatures:
    return signatures.of_documents(b"".join(texts), np.array([len(t) for t in texts], np.int64))


def held_out_of(part: Part, vocabulary: dict[str, Any], border: int | None) -> Signatures:
    """Those of a part: all, or those with hashes below `border`."""
    documents = len(part.lengths) if border is None else _below(part, border)
    lengths = part.lengths[:documents]
    text = _text(part, vocabulary)[: int(lengths.sum(dtype=np.int64))]
    return signatures.of_documents(text.data, lengths)


def compare(
    piece: Path,
    held_out: Path,
    path: Path,
    share: float,
    vocabulary: dict[str, Any],
    border: int | None,
    split: str,
) -> int:
    """Writes to `path`, for each document of `split`, whether it is kept: `read_kept`.

    It is not where its words are those of a held-out text, or where more than `share` of its runs
    of words are in one or another of them. border: of the hashes, below which all is held out.
    Returns the size of the piece in bytes.
    """
    part = pieces.opened(piece).get(split)
    if part is None:
        _write(path, [np.empty(0, np.bool_)])
        return piece.stat().st_size
    first = _below(part, border) if border is not None else 0
    of_train = part.lengths[first:]
    begin = int(part.lengths[:first].sum(dtype=np.int64))
    texts, grams = _read(held_out)
    kept = np.ones(len(part.lengths), np.bool_)
    text = _text(part, vocabulary)[begin:]
    table = np.zeros(1 << _BITS, np.bool_)
    table[grams >> np.uint64(64 - _BITS)] = True
    ends, place = np.cumsum(of_train.astype(np.int64)), 0
    while place < len(of_train):
        start = int(ends[place - 1]) if place else 0
        stop = max(place + 1, int(np.searchsorted(ends, start + (1 << 20), side="right")))
        found = signatures.of_documents(text[start : ends[stop - 1]].data, of_train[place:stop])
        shared = table[found.grams >> np.uint64(64 - _BITS)]
        shared[shared] = _among(found.grams[shared], grams)
        count = stop - place
        runs = np.bincount(found.document, minlength=count)
        copied = np.bincount(found.document, shared, minlength=count) > share * runs
        copied |= _among(found.texts, texts)
        kept[first + place : first + stop] = ~copied
        place = stop
    _write(path, [kept])
    return piece.stat().st_size


def _below(part: Part, border: int) -> int:
    assert part.hashes is not None
    if border >= 1 << 64:
        return len(part.hashes)
    return int(np.searchsorted(part.hashes, np.uint64(border), side="left"))


def _among(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[place] == values


def _text(part: Part, vocabulary: dict[str, Any]) -> np.ndarray:
    """(ids,) uint8: the byte of each id; a space where it has none."""
    kind = from_json(vocabulary)
    ids = np.frombuffer(part.ids, kind.dtype)
    if not isinstance(kind, Table):
        return ids
    codes = [symbol[0] if symbol else 0x20 for symbol in kind.symbols]
    return np.array(codes, np.uint8)[ids]


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open("rb") as file:
        _, texts, grams = json.loads(file.read(_HEADER))
    sizes = np.memmap(path, np.uint64, "r", _HEADER, (texts + grams,)) if texts + grams else None
    if sizes is None:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    return np.asarray(sizes[:texts]), np.asarray(sizes[texts:])


def read_kept(path: Path) -> np.ndarray:
    """(documents,) bool: what `compare` wrote."""
    return np.fromfile(path, np.bool_, offset=_HEADER)


def is_whole(path: Path) -> bool:
    """Whether a file of `compare` or `HeldOut.write` is there as it was written."""
    try:
        with path.open("rb") as file:
            said, *_ = json.loads(file.read(_HEADER))
            crc = 0
            while data := file.read(1 << 20):
                crc = zlib.crc32(data, crc)
    except (OSError, ValueError, TypeError):
        return False
    return crc == said


def _write(path: Path, arrays: list[np.ndarray]) -> None:
    """Behind a line of JSON: the CRC of what follows, and how long each array is."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(array.view(np.uint8).data, crc)
    header = json.dumps([crc, *map(len, arrays)]).ljust(_HEADER).encode()
    beside = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    with beside.open("wb") as file:
        file.write(header)
        for array in arrays:
            file.write(array.data)
    os.replace(beside, path)
