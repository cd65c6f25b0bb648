"""A prepared corpus, opened: memory-mapped ids, document starts and names."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus import identity
from mlstm.corpus import manifest as manifests
from mlstm.corpus.files import user_path
from mlstm.corpus.manifest import shard_files
from mlstm.corpus.unknown import NOTHING, Spelled, UnknownTokens
from mlstm.corpus.vocabulary import Bytes, Vocabulary, from_json
from mlstm.errors import InputError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus in `folder`. Open it with `Corpus.open`."""

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder) -> "Corpus":
        """Raises InputError when `folder` is no prepared corpus, or a file has another size than
        its manifest says. Contents are compared by `verify` alone: it reads all of them."""
        folder = user_path(folder)
        manifest = manifests.read(folder)
        manifests.check_sizes(manifest, folder)
        return cls(folder, manifest)

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        return from_json(self.manifest["vocabulary"])

    @property
    def reset(self) -> str:
        """Where a model's state is reset: at the start of each "document" or of each "shard"."""
        return self.manifest["reset"]

    @property
    def cleaning(self) -> str:
        return self.manifest["cleaning"]

    @property
    def digest(self) -> str:
        """sha256 over the digests of all files; equal digests mean equal corpora."""
        return self.manifest["digest"]

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that hold text."""
        return tuple(name for name, part in self.manifest["splits"].items() if part["ids"])

    def split(self, name: str) -> "Split":
        """Raises InputError when the corpus has no such split, or its starts are damaged."""
        if name not in self.splits:
            raise InputError(
                f"{self.folder} has no text in a split {name!r}; it has {', '.join(self.splits)}"
            )
        return Split(self, name)

    def status(self) -> str:
        """A digest of what the file system says of the files, which changes whenever one of them
        is written: where it is as it was, their contents are."""
        return identity.status(
            (name, self.folder / name) for name in manifests.files(self.manifest)
        )

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Compares the sha256 of every file; InputError names the first that differs.

        Opening a corpus does not do this: it takes a second for each gigabyte or so. `progress`
        is called with the bytes read so far and in all.
        """
        files = manifests.files(self.manifest)
        total, done = sum(file["size"] for file in files.values()), 0
        for name, file in files.items():
            path = self.folder / name
            try:
                with open(path, "rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
            if found != file["sha256"]:
                raise InputError(
                    f"{path} was changed: its sha256 is not the manifest's; "
                    "prepare the corpus again (--overwrite)"
                )
            done += file["size"]
            if progress:
                progress(done, total)
        for name in self.splits:
            self.split(name)

    def __str__(self) -> str:
        lines = [f"corpus {self.folder}"]
        for name, part in self.manifest["splits"].items():
            lines.append(self._counts(name, part))
        skipped = self.manifest.get("skipped", {})
        if skipped.get("empty"):
            lines.append(f"  left out: {skipped['empty']} empty documents")
        if unreadable := skipped.get("broken", len(skipped.get("unreadable", []))):
            lines.append(f"  left out: {unreadable:,} documents that are unreadable")
        if skipped.get("duplicates"):
            lines.append(f"  left out: {skipped['duplicates']:,} copies of held-out documents")
        if self.vocabulary != Bytes() or self.cleaning != "none":
            lines.append(f"  vocabulary {self.vocabulary}, cleaning {self.cleaning}")
        changed = sum(part.get("changed", 0) for part in self.manifest["splits"].values())
        if changed:
            lines.append(f"  the vocabulary has changed {changed:,} bytes or more")
        lines.append(f"  state is reset at the start of each {self.reset}")
        lines.append(f"  digest {self.digest}")
        return "\n".join(lines)

    def _counts(self, name: str, part: dict[str, Any]) -> str:
        documents = f"{part['documents']:>12,} documents"
        if self.vocabulary.bytewise:
            return f"  {name:<12}{part['ids']:>16,} bytes{documents}"
        share = part["unknown"] / max(1, part["ids"])
        unknown = "" if self.vocabulary.unknown is None else f"{share:>12.4%} unknown"
        return (
            f"  {name:<12}{part['ids']:>16,} tokens{part['bytes']:>16,} bytes{unknown}{documents}"
        )


class Split:
    """The ids of one split as one long sequence, and its documents.

    .name; .length (ids); .shards (count); .bytes (of its text); .unknown (ids that are);
    .documents (count); .vocabulary; .corpus, the corpus that it is of.
    """

    def __init__(self, corpus: Corpus, name: str):
        part = corpus.manifest["splits"][name]
        self.name, self.length, self.documents = name, part["ids"], part["documents"]
        self.vocabulary = corpus.vocabulary
        self.reset = corpus.reset
        self.corpus = corpus  # a corpus in a temporary folder lives as long as its splits
        bytewise = self.vocabulary.bytewise
        self.bytes = self.length if bytewise else part["bytes"]
        self.unknown = 0 if bytewise else part["unknown"]
        self._spelled = Spelled(
            self.length, self.bytes, self.unknown, 0.0 if bytewise else part["spelling"]
        )
        paths = [
            [corpus.folder / file for file in shard_files(name, number, bytewise=bytewise)]
            for number in range(len(part["shards"]))
        ]
        dtype = self.vocabulary.dtype
        try:
            self._ids = [np.asarray(np.memmap(ids, dtype, "r")) for ids, *_ in paths]
            self._shard_starts = [
                _starts(path, shard)
                for shard, (_, path, *_) in zip(part["shards"], paths, strict=True)
            ]
        except OSError as error:
            raise InputError(f"{corpus.folder}: cannot be read: {error}") from error
        self._name_files = [names for _, _, names, *_ in paths]
        self._unknown = [
            UnknownTokens(files[-1], ids, self.vocabulary, shard["unknown"])
            for files, ids, shard in zip(paths, self._ids, part["shards"], strict=True)
            if not bytewise
        ]
        self.shards = len(self._ids)
        self._ends = np.cumsum([len(ids) for ids in self._ids], dtype=np.int64)
        self._begins = self._ends - [len(ids) for ids in self._ids]

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> np.ndarray:
        """ids [start, stop), whatever shards they lie in. Raises IndexError outside the split."""
        if not 0 <= start <= stop <= self.length:
            raise IndexError(f"[{start}, {stop}) is not inside a split of {self.length} ids")
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop, side="left"))
        pieces = [
            self._ids[shard][max(0, start - self._begins[shard]) : stop - self._begins[shard]]
            for shard in range(first, min(last + 1, len(self._ids)))
        ]
        return np.concatenate(pieces) if pieces else np.empty(0, self.vocabulary.dtype)

    def rows(self, starts: np.ndarray, width: int) -> np.ndarray:
        """ids [start, start + width) for each start: (len(starts), width), one gather a shard."""
        if len(self._ids) == 1:
            return _windows(self._ids[0], width)[starts]
        out = np.empty((len(starts), width), self.vocabulary.dtype)
        shard_of = np.searchsorted(self._ends, starts, side="right")
        inside = starts + width <= self._ends[shard_of]
        for shard in np.unique(shard_of[inside]):
            chosen = np.flatnonzero(inside & (shard_of == shard))
            out[chosen] = _windows(self._ids[shard], width)[starts[chosen] - self._begins[shard]]
        for row in np.flatnonzero(~inside):
            out[row] = self.read(int(starts[row]), int(starts[row]) + width)
        return out

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """int64 (documents,): where each document starts. One shard's stay on disk; those of
        several are joined in memory, 8 bytes for each document."""
        if len(self._shard_starts) == 1:
            return self._shard_starts[0]
        return np.concatenate(
            [starts + begin for starts, begin in zip(self._shard_starts, self._begins, strict=True)]
        )

    @property
    def reset_points(self) -> np.ndarray:
        """int64, ascending: where the manifest has a model's state reset before it reads the id."""
        return self.starts if self.reset == "document" else self._begins

    def document(self, number: int) -> bytes:
        """The text of a document, exactly. Raises IndexError."""
        return self.text(*self._range(number))

    def _range(self, number: int) -> tuple[int, int]:
        if not 0 <= number < self.documents:
            raise IndexError(f"document {number} of {self.documents}")
        stop = self.starts[number + 1] if number + 1 < self.documents else self.length
        return int(self.starts[number]), int(stop)

    def text(self, start: int, stop: int) -> bytes:
        """The text of the ids in [start, stop), with each unknown token as it was spelled."""
        if self.vocabulary.bytewise:
            return self.vocabulary.decode(self.read(start, stop))
        return b"".join(part.text(low, high) for part, low, high in self._parts(start, stop))

    def spelled(self, start: int = 0, end: int | None = None) -> Spelled:
        """How many bytes the ids in [start, end) stand for, how many of them are unknown, and
        what the spelling of these costs."""
        stop: int = self.length if end is None else end
        if self.vocabulary.bytewise:
            return Spelled(stop - start, stop - start, 0, 0.0)
        if stop == self.length and start < min(stop, _CHUNK):  # nearly all: counted already
            return self._spelled - self.spelled(0, start) if start else self._spelled
        return sum((p.spelled(low, high) for p, low, high in self._parts(start, stop)), NOTHING)

    def _parts(self, start: int, stop: int) -> Iterator[tuple[UnknownTokens, int, int]]:
        """The shards that [start, stop) lies in, and where in each."""
        if not 0 <= start <= stop <= self.length:
            raise IndexError(f"[{start}, {stop}) is not inside a split of {self.length} ids")
        for part, begin, end in zip(self._unknown, self._begins, self._ends, strict=True):
            low, high = max(start, begin), min(stop, end)
            if low < high:
                yield part, int(low - begin), int(high - begin)

    def starts_of(self, shard: int) -> tuple[np.ndarray, int]:
        """Where the documents start that begin in a shard, and where the last of them ends: with
        the shard, or in one behind it."""
        later = range(shard + 1, len(self._ids))
        next_start = ((self._shard_starts[n][:1] + self._begins[n]).tolist() for n in later)
        stop = next((start[0] for start in next_start if start), self.length)
        return self._shard_starts[shard] + self._begins[shard], stop

    def names_of(self, shard: int) -> Iterator[str]:
        """The names of the documents that begin in a shard, which may be too many to hold. Raises
        InputError where their file is damaged."""
        path = self._name_files[shard]
        try:
            with path.open("rb") as stream:
                yield from map(json.loads, stream)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: damaged ({error}); prepare the corpus again") from error

    @functools.cached_property
    def names(self) -> list[str]:
        """The names of the documents. Raises InputError where their file is damaged."""
        names = [name for shard in range(self.shards) for name in self.names_of(shard)]
        if len(names) != self.documents:
            raise InputError(
                f"{self.corpus.folder}: {len(names)} names for the {self.documents} documents of "
                f"{self.name}; prepare the corpus again"
            )
        return names


def _windows(ids: np.ndarray, width: int) -> np.ndarray:
    """All windows of `width` ids, as a view: (len(ids) - width + 1, width)."""
    return np.lib.stride_tricks.as_strided(
        ids, (len(ids) - width + 1, width), ids.strides * 2, writeable=False
    )


def _starts(path: Path, shard: dict[str, Any]) -> np.ndarray:
    try:
        starts = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (EOFError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); prepare the corpus again") from error
    fit = starts.shape == (shard["documents"],) and starts.dtype == np.int64
    if fit and len(starts):
        fit = starts[0] >= 0 and starts[-1] < shard["ids"] and (starts[1:] > starts[:-1]).all()
    if not fit:
        raise InputError(
            f"{path}: damaged: not ascending starts of documents; prepare the corpus again"
        )
    return starts
