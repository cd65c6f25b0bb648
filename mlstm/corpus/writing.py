"""Documents to shards on disk, one split at a time, able to take back the last document."""

import array
import contextlib
import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus.manifest import shard_files
from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError


@dataclass
class _Shard:
    number: int
    stream: Any
    hash: Any = field(default_factory=hashlib.sha256)
    ids: int = 0
    starts: array.array = field(default_factory=lambda: array.array("q"))
    names: list[str] = field(default_factory=list)


class SplitWriter:
    """Writes a split into `folder` as shards of at most `limit` bytes.

    begin(name), write(data)..., then commit() or take_back(): a document whose file proves
    damaged half-way leaves nothing behind. A document longer than a shard goes on in the next,
    where it has no start.
    """

    def __init__(self, folder: Path, split: str, limit: int, vocabulary: Vocabulary):
        self.folder, self.split, self.vocabulary = folder, split, vocabulary
        self.limit = max(1, limit // vocabulary.dtype().itemsize)
        self.shards: list[dict[str, Any]] = []
        self._open: list[_Shard] = []  # from the shard where the current document begins
        self._mark: tuple[int, Any] = (0, None)
        self._read = 0  # bytes of the current document

    def begin(self, name: str) -> None:
        if not self._open or self._open[-1].ids >= self.limit:
            self._next()
        while len(self._open) > 1:
            self._finish(self._open.pop(0))
        shard = self._open[0]
        self._mark = (shard.ids, shard.hash.copy())
        shard.starts.append(shard.ids)
        shard.names.append(name)
        self._read = 0

    def write(self, data: bytes) -> None:
        try:
            ids = self.vocabulary.encode(data)
        except InputError as error:
            before = f" after {self._read:,} bytes" if self._read else ""
            raise InputError(f"{self._open[0].names[-1]}{before}: {error}") from None
        self._read += len(data)
        while len(ids):
            if self._open[-1].ids >= self.limit:
                self._next()
            shard = self._open[-1]
            piece, ids = np.split(ids, [self.limit - shard.ids])
            shard.stream.write(piece.data)
            shard.hash.update(piece.data)
            shard.ids += len(piece)

    def take_back(self) -> None:
        """Forgets the document that was begun last."""
        while len(self._open) > 1:
            extra = self._open.pop()
            extra.stream.close()
            self._path(extra).unlink()
        shard = self._open[0]
        shard.ids, shard.hash = self._mark
        shard.starts.pop()
        shard.names.pop()
        shard.stream.seek(shard.ids * self.vocabulary.dtype().itemsize)
        shard.stream.truncate()

    def close(self) -> list[dict[str, Any]]:
        """Finishes the last shards; the shards as a manifest describes them."""
        while self._open:
            shard = self._open.pop(0)
            if shard.ids:
                self._finish(shard)
            else:
                shard.stream.close()
                self._path(shard).unlink()
        return self.shards

    def abandon(self) -> None:
        """Closes what is open, finishing nothing: that it cannot be written is no matter now."""
        for shard in self._open:
            with contextlib.suppress(OSError):
                shard.stream.close()

    def _next(self) -> None:
        number = len(self.shards) + len(self._open)
        path = self.folder / shard_files(self.split, number)[0]
        stream = path.open("wb")
        self._open.append(_Shard(number, stream))

    def _path(self, shard: _Shard) -> Path:
        return self.folder / shard_files(self.split, shard.number)[0]

    def _finish(self, shard: _Shard) -> None:
        shard.stream.close()
        ids, starts, names = shard_files(self.split, shard.number)
        buffer = io.BytesIO()
        np.lib.format.write_array(
            buffer, np.asarray(shard.starts, "<i8"), version=(1, 0), allow_pickle=False
        )
        lines = "".join(json.dumps(name) + "\n" for name in shard.names).encode()
        described = {
            ids: {
                "size": shard.ids * self.vocabulary.dtype().itemsize,
                "sha256": shard.hash.hexdigest(),
            }
        }
        for name, data in ((starts, buffer.getvalue()), (names, lines)):
            (self.folder / name).write_bytes(data)
            described[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.shards.append({"ids": shard.ids, "documents": len(shard.starts), "files": described})
