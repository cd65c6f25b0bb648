"""Pieces to a corpus: joined in the order of the text, or of hashes into equal shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus import agreement, splitting, texts
from mlstm.corpus import manifest as manifests
from mlstm.corpus.folders import publish, unfinished, writing
from mlstm.corpus.preparing import comparing, duplicates, order, pieces
from mlstm.corpus.preparing.comparing import Found
from mlstm.corpus.preparing.joining import Joiner
from mlstm.corpus.preparing.making import FileOf
from mlstm.corpus.preparing.pieces import Part, Piece
from mlstm.corpus.preparing.request import Request
from mlstm.corpus.reading import Corpus
from mlstm.corpus.sources import SPLITS, Document
from mlstm.corpus.writing import SplitWriter
from mlstm.errors import InputError

NAMED = 1000
"""How many broken records a manifest names; the rest are counted."""


def assemble(
    found: Sequence[Found],
    folder: Path,
    request: Request,
    files: Sequence[FileOf],
    *,
    source: dict[str, Any],
    unreadable: list[dict[str, str]],
    report: Callable[[float], None],
) -> Corpus:
    """Writes the corpus. Raises InputError."""
    with unfinished(folder) as new:
        joined = _Joined(new, folder, request, files, found, report)
        skipped = joined.skipped
        if request.shards is None:
            fractions = None if any(file.split for file in files) else request.fractions
            joined.in_order()
        else:
            fractions = None
            joined.shuffled()
        skipped["unreadable"] = unreadable + skipped["unreadable"]
        broken = skipped.pop("broken") + len(unreadable)
        if broken > len(skipped["unreadable"]):
            skipped["broken"] = broken
        splitting.check_filled(joined.written, fractions, skipped)
        manifest = manifests.make(
            joined.written,
            vocabulary=request.ids,
            cleaning=request.cleaning,
            reset=request.reset,
            source=source,
            fractions=fractions,
            skipped=skipped,
        )
        with writing(folder):
            manifests.write(manifest, new)
        if not publish(new, folder, replace=request.overwrite):
            agreement.adopt(new, folder, manifest)
    return Corpus.open(folder)


def damaged(folder: Path, path: Path) -> InputError:
    """For a file among the pieces of the corpus `folder`, which is removed."""
    path.unlink(missing_ok=True)
    return InputError(f"{folder}: a part that was made before was damaged since; run again")


class _Joined:
    """`written` is what a manifest says of the splits, `skipped` of what was left out."""

    def __init__(
        self,
        new: Path,
        folder: Path,
        request: Request,
        files: Sequence[FileOf],
        found: Sequence[Found],
        report: Callable[[float], None],
    ):
        self.new, self.folder, self.request, self.files = new, folder, request, files
        self.found, self.report = found, report
        self.itemsize = request.ids.dtype().itemsize
        self.written: dict[str, list] = {}
        self.skipped: dict[str, Any] = {"empty": 0, "unreadable": [], "broken": 0}
        if request.deduplicate_against:
            self.skipped["duplicates"] = 0
        self.records = 0

    def in_order(self) -> None:
        limit = self.request.shard_bytes
        joiners = {split: Joiner(self.new, split, limit, self.itemsize) for split in SPLITS}
        last: tuple[str, Part] | None = None
        try:
            for number, found in enumerate(self.found):
                piece, name = self._read(found), self.files[found.file].name
                for split, part in piece.parts.items():
                    if split == found.split:
                        part = self._kept(found, part)
                    if len(part.lengths):
                        last = name, part
                    with writing(self.folder):
                        joiners[split].add(name, part)
                self.report((number + 1) / len(self.found))
            with writing(self.folder):
                for joiner in joiners.values():
                    joiner.end_shard()
        finally:
            for joiner in joiners.values():
                joiner.abandon()
        self.written = {split: joiner.shards for split, joiner in joiners.items()}
        if self.records == 1 and last and not any(file.split for file in self.files):
            self._cut(*last)

    def _cut(self, name: str, part: Part) -> None:
        """The only document is cut by its bytes, as `corpus.prepare` does."""
        for path in self.new.iterdir():
            path.unlink()
        ids = np.frombuffer(part.ids, self.request.ids.dtype)
        document = Document(f"{name}:{part.numbers[0]}", self.request.ids.decode(ids))
        limit, ids_of = self.request.shard_bytes, self.request.ids
        writers = {split: SplitWriter(self.new, split, limit, ids_of) for split in SPLITS}
        splitting.write_cut(document, writers, self.folder, self.request.fractions, None)
        with writing(self.folder):
            self.written = {split: writer.close() for split, writer in writers.items()}

    def shuffled(self) -> None:
        for found in self.found:
            self._kept(found, self._read(found).parts["all"])
        request = self.request
        assert request.shards is not None
        held_out = comparing.held_out_counts(self.found, request)
        shuffled = order.Shuffled(comparing.sources_of(self.found, self.files), self.itemsize)
        documents = shuffled.documents - self.skipped.get("duplicates", 0)
        rest = documents - sum(held_out)
        if rest < request.shards or 0 in held_out:
            copies = self.skipped.get("duplicates", 0)
            without = f", {copies:,} copies of held-out ones left out," if copies else ""
            raise InputError(
                f"{documents:,} documents{without} are too few for {request.shards} shards and "
                f"{len(held_out)} held-out ones"
            )
        borders = [rest * number // request.shards for number in range(request.shards + 1)]
        counts = held_out + np.diff(borders).tolist()
        validation, test = request.held_out_shards
        splits = ["validation"] * validation + ["test"] * test + ["train"] * request.shards
        ends = order.borders(shuffled.sources, counts)
        joiners = {split: Joiner(self.new, split, None, self.itemsize) for split in SPLITS}
        try:
            for number, (split, count, end) in enumerate(zip(splits, counts, ends, strict=True)):
                for documents in shuffled.up_to(end, count):
                    with writing(self.folder):
                        joiners[split].add_named(*documents)
                with writing(self.folder):
                    joiners[split].end_shard()
                self.report((number + 1) / len(splits))
        finally:
            for joiner in joiners.values():
                joiner.abandon()
        self.written = {split: joiner.shards for split, joiner in joiners.items()}

    def _read(self, found: Found) -> Piece:
        piece = pieces.read(found.path)
        if piece is None:
            raise damaged(self.folder, found.path)
        self.records += piece.records
        skipped, file = self.skipped, self.files[found.file]
        skipped["empty"] += piece.empty
        skipped["broken"] += piece.broken
        for line, why in piece.examples[: NAMED - len(skipped["unreadable"])]:
            error = f"{texts.place(file.path, line, file.format)}: {why}"
            skipped["unreadable"].append({"name": f"{file.name}:{line}", "error": error})
        return piece

    def _kept(self, found: Found, part: Part) -> Part:
        """The documents that are no copies of held-out ones; the others are counted."""
        if found.kept is None:
            return part
        kept = duplicates.read_kept(found.kept)
        if len(kept) != len(part.lengths):
            raise damaged(self.folder, found.kept)
        self.skipped["duplicates"] += int((~kept).sum())
        return order.keep(part, kept, self.itemsize)
