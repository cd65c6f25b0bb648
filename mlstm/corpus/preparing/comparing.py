"""Which training documents are kept when a corpus is deduplicated against held-out text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlstm.corpus import identity, sources, texts
from mlstm.corpus import manifest as manifests
from mlstm.corpus.cleaning import clean_whole
from mlstm.corpus.files import user_path
from mlstm.corpus.folders import writing
from mlstm.corpus.preparing import crew, duplicates, order, pieces
from mlstm.corpus.preparing.making import ALL, FileOf
from mlstm.corpus.preparing.request import OWN, Request
from mlstm.corpus.preparing.staging import Staging
from mlstm.corpus.preparing.worker import Compare
from mlstm.corpus.reading import Corpus


class Found(NamedTuple):
    """A piece that is there, and the numbers of its file and of its block in it."""

    path: Path
    file: int
    number: int = 0
    kept: Path | None = None
    split: str = "train"  # that `kept` speaks of


def key(request: Request) -> list[Any]:
    """What tells one held-out text from another. Raises InputError where one is not there."""
    return [_key(name) for name in request.deduplicate_against]


def _key(name: str) -> str:
    if name == OWN:
        return OWN
    path = user_path(name)
    if manifests.is_in(path):
        return Corpus.open(path).digest
    return identity.status((file.name, file.path) for file in sources.documents(path))


def border(found: Sequence[Found], request: Request) -> int | None:
    """Of the hashes, below which documents are held out; None where splits are fractions."""
    if request.shards is None:
        return None
    held_out = held_out_counts(found, request)
    shuffled = _sources(found)
    documents = sum(map(_documents, found))
    return order.borders(shuffled, [sum(held_out), documents - sum(held_out)])[0]


def held_out_counts(found: Sequence[Found], request: Request) -> list[int]:
    """Documents of each held-out shard, validation's and then test's: as many as all shards would
    have on an average."""
    assert request.shards is not None
    held_out = sum(request.held_out_shards)
    documents, shards = sum(map(_documents, found)), request.shards + held_out
    borders = [documents * number // shards for number in range(held_out + 1)]
    return [stop - start for start, stop in itertools.pairwise(borders)]


def compared(
    found: Sequence[Found], staging: Staging, request: Request, processes: int
) -> list[Found]:
    """The pieces, with the files that say what of them is kept. Raises InputError."""
    if not request.deduplicate_against:
        return list(found)
    below = border(found, request)
    vocabulary = request.ids.to_json()
    held_out = staging.folder / "held out"
    lone = _lone(found, request)
    split = ALL if request.shards is not None else lone or "train"
    if not duplicates.is_whole(held_out):
        with writing(staging.output):
            _held_out([] if lone else found, request, below).write(held_out)
    kept = [piece.path.with_suffix(".kept") for piece in found]
    tasks = (
        Compare(piece.path, held_out, path, request.duplicate_share, vocabulary, below, split)
        for piece, path in zip(found, kept, strict=True)
        if not duplicates.is_whole(path)
    )
    for _ in crew.results(tasks, min(processes, len(found))):
        pass
    return [piece._replace(kept=path, split=split) for piece, path in zip(found, kept, strict=True)]


def _lone(found: Sequence[Found], request: Request) -> str | None:
    """The split of the only document of all, which is going to be cut by its bytes, so that train
    has some of it whichever that is and nothing of its own is held out beside it."""
    headers = [pieces.header(piece.path) for piece in found]
    if request.shards is not None or sum(each.records for each in headers if each) != 1:
        return None
    for piece in found:
        parts = pieces.opened(piece.path)
        if len(parts) == 1:  # the source says where it belongs
            continue
        for split, part in parts.items():
            if len(part.lengths):
                return split
    return None


def _held_out(found: Sequence[Found], request: Request, below: int | None) -> duplicates.HeldOut:
    held_out = duplicates.HeldOut()
    vocabulary = request.ids.to_json()
    for name in request.deduplicate_against:
        if name != OWN:
            duplicates.add_texts(held_out, _texts(user_path(name), request))
            continue
        for piece in found:
            for split, part in pieces.opened(piece.path).items():
                if split != "train":
                    border = below if split == ALL else None
                    held_out.add(duplicates.held_out_of(part, vocabulary, border))
    return held_out


def _texts(path: Path, request: Request) -> Iterator[bytes]:
    """Of a prepared corpus what it holds out, or all where it holds nothing out; of other files
    their records, cleaned as the corpus is."""
    if manifests.is_in(path):
        corpus = Corpus.open(path)
        for name in [split for split in corpus.splits if split != "train"] or ["train"]:
            split = corpus.split(name)
            yield from (split.document(number) for number in range(split.documents))
        return
    for file in sources.documents(path):
        field = request.field if texts.format_of(file.path) != "lines" else "text"
        for record in texts.read_records(file.path, field):
            yield clean_whole(record.text, request.cleaning)


def _sources(found: Sequence[Found]) -> list[order.Source]:
    return [order.Source(piece.path, "", piece.kept) for piece in found]


def _documents(piece: Found) -> int:
    return sum(len(part.lengths) for part in pieces.opened(piece.path).values())


def sources_of(found: Sequence[Found], files: Sequence[FileOf]) -> list[order.Source]:
    """The pieces, with the names of their files."""
    return [order.Source(piece.path, files[piece.file].name, piece.kept) for piece in found]
