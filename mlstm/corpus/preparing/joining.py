"""Many documents at a time to the shards of a split, as `corpus.writing` writes them one by one."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlstm.corpus.manifest import shard_files
from mlstm.corpus.preparing.pieces import Part


class Joiner:
    """Writes a split into `folder`, one part of it after another.

    A shard ends where it has `limit` bytes, in the middle of a document if need be, which has no
    start where it goes on; or, without a limit, at `end_shard`.
    """

    def __init__(self, folder: Path, split: str, limit: int | None, itemsize: int):
        self.folder, self.split, self.itemsize = folder, split, itemsize
        self.limit = None if limit is None else max(1, limit // itemsize)
        self.shards: list[dict[str, Any]] = []
        self._stream: BinaryIO | None = None
        self._begin()

    def add(self, name: str, part: Part) -> None:
        """The documents of a file called `name`, in their order."""
        prefix = json.dumps(f"{name}:")[:-1]
        names = [f'{prefix}{number}"\n' for number in part.numbers.tolist()]
        self.add_named(names, part.lengths, memoryview(part.ids))

    def add_named(self, names: list[str], lengths: np.ndarray, ids: Any) -> None:
        """names: a line of JSON for each document; ids: their bytes."""
        lengths = lengths.astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        place, total = 0, int(lengths.sum())
        while place < total:
            if self.limit is not None and self._ids >= self.limit:
                self.end_shard()
            room = total - place if self.limit is None else self.limit - self._ids
            stop = min(total, place + room)
            first, last = np.searchsorted(starts, [place, stop])
            self._write(
                ids[place * self.itemsize : stop * self.itemsize],
                starts[first:last] - place + self._ids,
                names[first:last],
            )
            self._ids += stop - place
            place = stop

    def end_shard(self) -> None:
        """What follows is in the next. One without ids does not count."""
        if self._stream is None:
            return
        self._stream.close()
        ids, starts, names = shard_files(self.split, len(self.shards))
        header = io.BytesIO()
        array = np.concatenate(self._starts).astype("<i8")
        np.lib.format.write_array(header, array, version=(1, 0), allow_pickle=False)
        described = {ids: (self._ids * self.itemsize, self._hash)}
        for name, data in ((starts, header.getvalue()), (names, b"".join(self._names))):
            (self.folder / name).write_bytes(data)
            described[name] = (len(data), hashlib.sha256(data))
        self.shards.append(
            {
                "ids": self._ids,
                "documents": len(array),
                "files": {
                    name: {"size": size, "sha256": digest.hexdigest()}
                    for name, (size, digest) in described.items()
                },
            }
        )
        self._begin()

    def abandon(self) -> None:
        """Closes what is open."""
        if self._stream is not None:
            self._stream.close()

    def _begin(self) -> None:
        self._stream, self._ids, self._hash = None, 0, hashlib.sha256()
        self._starts: list[np.ndarray] = []
        self._names: list[bytes] = []

    def _write(self, ids: Any, starts: np.ndarray, names: list[str]) -> None:
        if self._stream is None:
            path = self.folder / shard_files(self.split, len(self.shards))[0]
            self._stream = path.open("wb")
        self._stream.write(ids)
        self._hash.update(ids)
        self._starts.append(starts)
        self._names.append("".join(names).encode())
