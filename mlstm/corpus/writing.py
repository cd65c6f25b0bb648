"""Documents to shards on disk, one split at a time, able to take back the last document."""

import array
import contextlib
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus.cutting import Cutter
from mlstm.corpus.manifest import shard_files
from mlstm.corpus.symbols import Pieces
from mlstm.corpus.unknown import UnknownWriter
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
    unknown: UnknownWriter | None = None


class SplitWriter:
    """Writes a split into `folder` as shards of at most `limit` bytes.

    begin(name), write(data)..., end(), then take_back() or the next: a document whose file proves
    damaged half-way leaves nothing behind. A document longer than a shard goes on in the next,
    where it has no start. Tokens of several bytes wait for the end of a block (see `cutting`).
    """

    def __init__(self, folder: Path, split: str, limit: int, vocabulary: Vocabulary):
        self.folder, self.split, self.vocabulary = folder, split, vocabulary
        self.limit = max(1, limit // vocabulary.dtype().itemsize)
        self.shards: list[dict[str, Any]] = []
        self._open: list[_Shard] = []  # from the shard where the current document begins
        self._mark: tuple[int, Any, Any] = (0, None, None)
        self._read = 0  # bytes of the current document
        self._written = 0  # ids of the current document
        self._cutter = Cutter()

    def write_each(
        self, names: Sequence[str], texts: Sequence[bytes], *, new_shard: bool = False
    ) -> int:
        """Several documents, none longer than a block, as one by one: how many are left out, which
        have no ids."""
        self._make_room(new_shard)
        shard, cuts = self._open[0], None
        if isinstance(self.vocabulary, Pieces):
            with contextlib.suppress(InputError):  # one by one it names the document
                cuts = self.vocabulary.cut_each(texts)
        if cuts is None or shard.ids + len(cuts.ids) > self.limit:
            return sum(map(self._write_whole, names, texts))
        kept = [number for number, count in enumerate(cuts.counts) if count]
        ends = shard.ids + np.cumsum(cuts.counts)
        shard.starts.extend((ends - cuts.counts)[kept].tolist())
        shard.names += [names[number] for number in kept]
        shard.stream.write(cuts.ids.data)
        shard.hash.update(cuts.ids.data)
        shard.ids += len(cuts.ids)
        if shard.unknown:
            changed = [cuts.changed[number] for number in kept]
            shard.unknown.write_each(cuts.ids, cuts.unknown, changed)
        return len(names) - len(kept)

    def _write_whole(self, name: str, text: bytes) -> bool:
        """Whether the document is left out."""
        self.begin(name)
        self.write(text)
        if self.end():
            return False
        self.take_back()
        return True

    def begin(self, name: str, *, new_shard: bool = False) -> None:
        self._make_room(new_shard)
        shard = self._open[0]
        unknown = shard.unknown.mark() if shard.unknown else None
        self._mark = (shard.ids, shard.hash.copy(), unknown)
        shard.starts.append(shard.ids)
        shard.names.append(name)
        self._read = self._written = 0
        self._cutter = Cutter()

    def _make_room(self, new_shard: bool) -> None:
        if not self._open or self._open[-1].ids >= (1 if new_shard else self.limit):
            self._next()
        while len(self._open) > 1:
            self._finish(self._open.pop(0))

    def write(self, data: bytes) -> None:
        if self.vocabulary.bytewise:
            self._put(data)
            return
        for block in self._cutter.push(data):
            self._put(block)

    def end(self) -> bool:
        """Writes what is left of the document: whether it has any ids. Nothing is left of it where
        each token is a byte, and a second time."""
        for block in self._cutter.end():
            self._put(block)
        return self._written > 0

    def _put(self, data: bytes) -> None:
        unknown, changed = [], 0
        try:
            if isinstance(self.vocabulary, Pieces):
                ids, unknown, changed = self.vocabulary.cut(data)
            else:
                ids = self.vocabulary.encode(data)
        except InputError as error:
            before = f" after {self._read:,} bytes" if self._read else ""
            raise InputError(f"{self._open[0].names[-1]}{before}: {error}") from None
        self._read += len(data)
        self._written += len(ids)
        while len(ids):
            if self._open[-1].ids >= self.limit:
                self._next()
            shard = self._open[-1]
            piece, ids = np.split(ids, [self.limit - shard.ids])
            shard.stream.write(piece.data)
            shard.hash.update(piece.data)
            shard.ids += len(piece)
            if shard.unknown:
                unknown, changed = shard.unknown.write(piece, unknown, changed), 0

    def take_back(self) -> None:
        """Forgets the document that was begun last."""
        self._cutter = Cutter()
        while len(self._open) > 1:
            extra = self._open.pop()
            self._close(extra)
            self._remove(extra)
        shard = self._open[0]
        shard.ids, shard.hash, unknown = self._mark
        if shard.unknown:
            shard.unknown.take_back(unknown)
        shard.starts.pop()
        shard.names.pop()
        shard.stream.seek(shard.ids * self.vocabulary.dtype().itemsize)
        shard.stream.truncate()

    def close(self) -> list[dict[str, Any]]:
        """Finishes the last shards; the shards as a manifest describes them."""
        self.end()
        while self._open:
            shard = self._open.pop(0)
            if shard.ids:
                self._finish(shard)
            else:
                self._close(shard)
                self._remove(shard)
        return self.shards

    def abandon(self) -> None:
        """Closes what is open, finishing nothing: that it cannot be written is no matter now."""
        for shard in self._open:
            with contextlib.suppress(OSError):
                self._close(shard)

    def _next(self) -> None:
        number = len(self.shards) + len(self._open)
        shard = _Shard(number, self._path(number).open("wb"))
        self._open.append(shard)
        if not self.vocabulary.bytewise:
            shard.unknown = UnknownWriter(self._path(number, -1), self.vocabulary)

    def _path(self, number: int, part: int = 0) -> Path:
        names = shard_files(self.split, number, bytewise=self.vocabulary.bytewise)
        return self.folder / names[part]

    def _close(self, shard: _Shard) -> None:
        shard.stream.close()
        if shard.unknown:
            shard.unknown.close()

    def _remove(self, shard: _Shard) -> None:
        self._path(shard.number).unlink()
        if shard.unknown:
            self._path(shard.number, -1).unlink()

    def _finish(self, shard: _Shard) -> None:
        shard.stream.close()
        ids, starts, names = shard_files(self.split, shard.number)
        buffer = io.BytesIO()
        np.lib.format.write_array(
            buffer, np.asarray(shard.starts, "<i8"), version=(1, 0), allow_pickle=False
        )
        lines = "".join(json.dumps(name) + "\n" for name in shard.names).encode()
        files = {
            ids: {
                "size": shard.ids * self.vocabulary.dtype().itemsize,
                "sha256": shard.hash.hexdigest(),
            }
        }
        for name, data in ((starts, buffer.getvalue()), (names, lines)):
            (self.folder / name).write_bytes(data)
            files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        described: dict[str, Any] = {"ids": shard.ids, "documents": len(shard.starts)}
        if shard.unknown:
            files[self._path(shard.number, -1).name] = shard.unknown.close()
            spelled = shard.unknown.spelled
            described |= {"bytes": spelled.bytes, "unknown": spelled.unknown}
            described |= {"spelling": spelled.nats, "changed": shard.unknown.changed}
        self.shards.append(described | {"files": files})
