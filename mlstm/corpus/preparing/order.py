"""All documents in the order of the hashes of their names, and that order cut into equal parts.

The order is that of a shuffle: it depends on the names alone, not on where a document stands in
its file, nor on which pieces there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlstm.corpus.preparing import pieces
from mlstm.corpus.preparing.duplicates import read_kept
from mlstm.corpus.preparing.making import ALL
from mlstm.corpus.preparing.pieces import Part

_BUCKETS = 1 << 16
_AT_ONCE = 16 << 20  # bytes of ids that are brought into order in memory
END = 1 << 64


class Source(NamedTuple):
    """A piece, the name of its file, and where it is said which of its documents are kept."""

    path: Path
    name: str
    kept: Path | None


class Documents(NamedTuple):
    names: list[str]  # a line of JSON for each
    lengths: np.ndarray
    ids: bytes


def borders(sources: Sequence[Source], counts: Sequence[int]) -> list[int]:
    """Where to cut the hashes, so that the parts have as many documents as `counts` say, in their
    order; the last ends at 2^64. Two passes over all hashes, in bounded memory."""
    filled = np.zeros(_BUCKETS, np.int64)
    for hashes in map(_hashes, sources):
        filled += np.bincount((hashes >> np.uint64(48)).astype(np.int64), minlength=_BUCKETS)
    ends = np.cumsum(filled)
    ranks = np.cumsum(counts)[:-1]
    wanted = np.searchsorted(ends, ranks, side="right")
    inside: dict[int, list[np.ndarray]] = {int(bucket): [] for bucket in wanted}
    chosen = np.zeros(_BUCKETS, bool)
    chosen[wanted[wanted < _BUCKETS]] = True
    for hashes in map(_hashes, sources):
        bucket_of = (hashes >> np.uint64(48)).astype(np.int64)
        for bucket in np.unique(bucket_of[chosen[bucket_of]]):
            inside[int(bucket)].append(hashes[bucket_of == bucket])
    found = []
    for rank, bucket in zip(ranks, wanted, strict=True):
        if bucket == _BUCKETS:
            found.append(END)
            continue
        members = np.sort(np.concatenate(inside[int(bucket)]))
        found.append(int(members[rank - (ends[bucket] - filled[bucket])]))
    return [*found, END]


class Shuffled:
    """Reads documents in the order of their hashes, from the least on."""

    def __init__(self, sources: Sequence[Source], itemsize: int):
        self.sources = sources
        self.cursors = [_Cursor(source, itemsize) for source in sources]
        self.documents = sum(cursor.documents for cursor in self.cursors)
        size = sum(cursor.size for cursor in self.cursors)
        self.at_once = max(1, self.documents * _AT_ONCE // max(1, size))  # documents
        self.place = 0

    def up_to(self, border: int, documents: int) -> Iterator[Documents]:
        """Those that are left whose hashes are below `border`; about so many `documents`."""
        begin, steps = self.place, max(1, -(-documents // self.at_once))
        for step in range(1, steps + 1):
            stop = border if step == steps else begin + (border - begin) * step // steps
            taken = [cursor.take(stop) for cursor in self.cursors]
            taken = [each for each in taken if each is not None]
            if taken:
                yield _in_order(taken)
            self.place = stop


class _Taken(NamedTuple):
    prefix: str
    part: Part


class _Cursor:
    """How far a piece has been read."""

    def __init__(self, source: Source, itemsize: int):
        part = _part(source)
        self.source, self.itemsize = source, itemsize
        self.documents, self.size = len(part.lengths), len(part.ids)
        self.place = self.offset = 0
        self.prefix = json.dumps(f"{source.name}:")[:-1]

    def take(self, border: int) -> _Taken | None:
        if self.place == self.documents:
            return None
        part = _part(self.source)
        assert part.hashes is not None
        stop = (
            self.documents
            if border >= END
            else int(np.searchsorted(part.hashes, np.uint64(border), side="left"))
        )
        if stop == self.place:
            return None
        chosen = slice(self.place, stop)
        end = self.offset + int(part.lengths[chosen].sum(dtype=np.int64)) * self.itemsize
        found = Part(
            part.lengths[chosen],
            part.numbers[chosen],
            part.hashes[chosen],
            bytes(part.ids[self.offset : end]),
        )
        if self.source.kept is not None:
            kept = read_kept(self.source.kept)[chosen]
            found = keep(found, kept, self.itemsize)
        self.place, self.offset = stop, end
        return _Taken(self.prefix, found)


def keep(part: Part, kept: np.ndarray, itemsize: int) -> Part:
    """The documents of a part that are kept."""
    if kept.all():
        return part
    ids = np.frombuffer(part.ids, np.uint8)
    of_ids = np.repeat(kept, part.lengths.astype(np.int64) * itemsize)
    hashes = None if part.hashes is None else part.hashes[kept]
    return Part(part.lengths[kept], part.numbers[kept], hashes, ids[of_ids].tobytes())


def _in_order(taken: list[_Taken]) -> Documents:
    hashes = np.concatenate([each.part.hashes for each in taken if each.part.hashes is not None])
    lengths = np.concatenate([each.part.lengths for each in taken])
    names = [f'{each.prefix}{number}"\n' for each in taken for number in each.part.numbers.tolist()]
    data = b"".join(each.part.ids for each in taken)
    total = int(lengths.sum(dtype=np.int64))
    itemsize = len(data) // total if total else 1
    ends = np.cumsum(lengths.astype(np.int64)) * itemsize
    begins = ends - lengths.astype(np.int64) * itemsize
    order = np.argsort(hashes, kind="stable")
    places = order.tolist()
    first, last = begins.tolist(), ends.tolist()
    return Documents(
        [names[place] for place in places],
        lengths[order],
        b"".join([data[first[place] : last[place]] for place in places]),
    )


def _part(source: Source) -> Part:
    return pieces.opened(source.path)[ALL]


def _hashes(source: Source) -> np.ndarray:
    hashes = _part(source).hashes
    assert hashes is not None
    return hashes if source.kept is None else hashes[read_kept(source.kept)]
