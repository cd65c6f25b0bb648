"""Preparing a corpus: documents in, a folder of shards and a manifest out, whole or not at all."""

import itertools
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mlstm.corpus import manifest as manifests
from mlstm.corpus import sources
from mlstm.corpus.folders import publish, unfinished
from mlstm.corpus.reading import Corpus, Split
from mlstm.corpus.sources import FRACTIONS, SPLITS, Document, TextFile
from mlstm.corpus.vocabulary import Bytes
from mlstm.corpus.writing import SplitWriter
from mlstm.errors import InputError

__all__ = ["SHARD_BYTES", "Corpus", "Split", "open_source", "prepare", "prepare_source"]

SHARD_BYTES = 256 << 20
Progress = Callable[[int, int], None]


def prepare(
    documents: Iterable[Document | TextFile],
    folder: str | os.PathLike,
    *,
    splits: Sequence[float] | None = None,
    reset: str = "document",
    source: dict[str, Any] | None = None,
    strict: bool = False,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """Writes the documents to `folder` as a corpus and opens it.

    A document goes where it says; else to a split by the hash of its name; a document that is
    alone is cut by bytes into train, validation and test, in this order. `splits`: the fractions
    of the three, (0.9, 0.05, 0.05) unless given. `reset`: "document" or "shard". `source`: what
    the manifest says of where they came from. Empty documents are left out and counted, and so
    are those that cannot be read; with `strict` the first of these ends it. `progress` is called
    with the source bytes read so far.

    The same documents give the same files, bit by bit. `folder` appears when all of it is on the
    disk. A folder that exists is left alone unless it is empty; it may be a corpus with the same
    contents, which is opened, or, with `overwrite`, any corpus without foreign files in it.
    Raises InputError.
    """
    folder = Path(folder).expanduser().absolute()
    fractions = _fractions(splits)
    if reset not in manifests.RESETS:
        raise InputError(f"reset is {reset!r}; it can be {' or '.join(manifests.RESETS)}")
    if shard_bytes < 1:
        raise InputError(f"shards of {shard_bytes} bytes hold nothing; 1 is the least")
    _check_output(folder, overwrite)
    try:
        with unfinished(folder) as new:
            writers = {split: SplitWriter(new, split, shard_bytes, Bytes()) for split in SPLITS}
            try:
                fixed, skipped = _write(documents, writers, splits, strict, progress)
                written = {split: writer.close() for split, writer in writers.items()}
            finally:
                for writer in writers.values():
                    writer.abandon()
            _check_filled(written, None if fixed else fractions, skipped)
            manifest = manifests.make(
                written,
                vocabulary=Bytes(),
                reset=reset,
                source=source or {"kind": "documents"},
                fractions=None if fixed else list(fractions),
                skipped=skipped,
            )
            manifests.write(manifest, new)
            if not publish(new, folder, replace=overwrite):
                _check_same(folder, manifest["digest"])
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return Corpus.open(folder)


def prepare_source(
    source: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> Corpus:
    """Prepares "python_stdlib", a file or a folder of text; `settings` are those of `prepare`.

    `progress` is called with the bytes of the source read so far and in all. Raises InputError.
    """
    files = list(sources.documents(source))
    if str(source) != sources.PYTHON_STDLIB:
        text, output = Path(source).expanduser().resolve(), Path(folder).expanduser().resolve()
        if text.is_dir() and output.is_relative_to(text):
            raise InputError(f"{folder} lies inside the text {source}; name an output elsewhere")
    total = sum(file.size for file in files)
    return prepare(
        files,
        folder,
        source=sources.describe(source),
        progress=(lambda done: progress(done, total)) if progress else None,
        **settings,
    )


def open_source(
    source: str | os.PathLike,
    cache: str | os.PathLike | None = None,
    *,
    splits: Sequence[float] | None = None,
    reset: str | None = None,
) -> Corpus:
    """Opens a prepared corpus, or prepares "python_stdlib", a raw file or a folder first.

    `cache` is the folder that becomes the corpus; one that is there already is opened if it was
    made from the same source (any version of python_stdlib is the same) with the same settings.
    Several processes may do this at once. Without `cache` the corpus is temporary: it goes when
    it is no longer used. `splits` and `reset` are those of `prepare`; a prepared corpus brings
    its own. Raises InputError.
    """
    if str(source) != sources.PYTHON_STDLIB:
        path = Path(source).expanduser()
        if str(source) and (path / manifests.NAME).exists():
            return _with_settings(Corpus.open(path), splits, reset)
    settings = {"splits": splits, "reset": reset or "document"}
    if cache is None:
        temporary = Path(tempfile.mkdtemp(prefix="mlstm-corpus-"))
        try:
            corpus = prepare_source(source, temporary / "corpus", **settings)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        weakref.finalize(corpus, shutil.rmtree, temporary, ignore_errors=True)
        return corpus
    cache = Path(cache).expanduser()
    if not (cache / manifests.NAME).exists():
        return prepare_source(source, cache, **settings)
    corpus = Corpus.open(cache)
    if _identity(corpus.manifest["source"]) != _identity(sources.describe(source)):
        raise InputError(
            f"{cache} was prepared from {corpus.manifest['source']}, not from "
            f"{sources.describe(source)}; remove it or use another folder"
        )
    return _with_settings(corpus, splits, reset)


def _write(
    documents: Iterable[Document | TextFile],
    writers: dict[str, SplitWriter],
    splits: Sequence[float] | None,
    strict: bool,
    progress: Callable[[int], None] | None,
) -> tuple[bool, dict[str, Any]]:
    """Whether the source fixed the split, and what was left out."""
    fractions = _fractions(splits)
    stream = iter(documents)
    head = list(itertools.islice(stream, 2))
    if not head:
        raise InputError("there are no documents to prepare")
    empty, unreadable, fixed, done = 0, [], False, 0
    if len(head) == 1 and head[0].split is None:
        _write_cut(head[0], writers, fractions, progress)
        return False, {"empty": 0, "unreadable": []}
    for document in itertools.chain(head, stream):
        fixed = fixed or document.split is not None
        if document.split is not None and splits is not None:
            raise InputError("this source fixes its own split; leave the fractions out")
        writer = writers[document.split or sources.split_by_name(document.name, fractions)]
        writer.begin(document.name)
        try:
            length = 0
            for data, consumed in document.chunks():
                writer.write(data)
                length += len(data)
                if progress:
                    progress(done + consumed)
        except InputError as error:
            if strict:
                raise
            writer.take_back()
            unreadable.append({"name": document.name, "error": str(error)})
        else:
            if not length:
                writer.take_back()
                empty += 1
        done += document.size
    return fixed, {"empty": empty, "unreadable": unreadable}


def _write_cut(
    document: Document | TextFile,
    writers: dict[str, SplitWriter],
    fractions: Sequence[float],
    progress: Callable[[int], None] | None,
) -> None:
    """One document to contiguous pieces, the splits' shares of its bytes. A compressed one is read
    twice: its length has to be known first."""
    length, halves = document.length(), False
    if length is None:
        length, halves = 0, True
        for data, consumed in document.chunks():
            length += len(data)
            if progress:
                progress(consumed // 2)
    # The addition outweighs the rounding of the sum, so that .6 + .3 + .1 is 1.
    borders = [int(length * border + 1e-3) for border in itertools.accumulate(fractions)]
    last = max(number for number, fraction in enumerate(fractions) if fraction)
    borders[last:] = [length] * (len(SPLITS) - last)
    position, data = 0, b""
    begun: set[str] = set()
    for data, consumed in document.chunks():
        for split, border in zip(SPLITS, borders, strict=True):
            piece, data = data[: max(0, border - position)], data[max(0, border - position) :]
            if piece:
                if split not in begun:
                    begun.add(split)
                    writers[split].begin(document.name)
                writers[split].write(piece)
                position += len(piece)
        if data:
            break
        if progress:
            progress((document.size + consumed) // 2 if halves else consumed)
    if position != length or data:
        raise InputError(f"{document.name} changed while it was read; try again")


def _fractions(splits: Sequence[float] | None) -> tuple[float, ...]:
    fractions = FRACTIONS if splits is None else tuple(float(part) for part in splits)
    fit = len(fractions) == 3 and all(0 <= part <= 1 for part in fractions)
    if not fit or not math.isclose(sum(fractions), 1, abs_tol=1e-6) or not fractions[0]:
        raise InputError(
            f"splits are {', '.join(f'{part:g}' for part in fractions)}; three fractions of train, "
            "validation and test are wanted that sum to 1, train's above 0"
        )
    return fractions


def _check_output(folder: Path, overwrite: bool) -> None:
    """Refuses what must not be replaced before any work is done."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder} exists and is not a folder; name another output")
    names = set(os.listdir(folder))
    if not names:
        return
    if manifests.NAME not in names:
        raise InputError(
            f"{folder} exists, is not empty and is no prepared corpus; name another output"
        )
    foreign = names - set(manifests.files(manifests.read(folder))) - {manifests.NAME}
    if foreign and overwrite:
        raise InputError(
            f"{folder} holds {min(foreign)}, which is no part of the corpus there; "
            "move it away or name another output"
        )


def _check_same(folder: Path, digest: str) -> None:
    """Refuses a corpus with other contents than those just prepared, or without its files."""
    found = manifests.read(folder)
    manifests.check_sizes(found, folder)
    if found["digest"] != digest:
        raise InputError(
            f"{folder} is a corpus with other contents; overwrite it (--overwrite) or name "
            "another output"
        )


def _check_filled(
    written: dict[str, list], fractions: Sequence[float] | None, skipped: dict[str, Any]
) -> None:
    count = sum(shard["documents"] for shards in written.values() for shard in shards)
    if not count:
        bad = skipped["unreadable"]
        raise InputError(bad[0]["error"] if bad else "there is no text: every document is empty")
    for split, wanted in zip(SPLITS, fractions or (1, 0, 0), strict=True):
        if wanted and not written[split]:
            raise InputError(
                f"the {split} split comes out empty: {count} documents are too few for these "
                "fractions; give others (--splits=1,0,0 is train alone), or join the text to one "
                "file, which is cut by bytes"
            )


def _with_settings(corpus: Corpus, splits: Sequence[float] | None, reset: str | None) -> Corpus:
    """The corpus, if it has the settings that were asked for."""
    if reset is not None and corpus.reset != reset:
        raise InputError(
            f"{corpus.folder} was prepared with reset {corpus.reset!r}, not {reset!r}; "
            "prepare it again elsewhere"
        )
    if splits is not None and corpus.manifest["fractions"] != list(_fractions(splits)):
        raise InputError(
            f"{corpus.folder} was prepared with splits {corpus.manifest['fractions']}, not "
            f"{list(splits)}; prepare it again elsewhere"
        )
    return corpus


def _identity(source: dict[str, Any]) -> dict[str, Any]:
    """What makes it the same source: a run goes on after its interpreter was updated."""
    if source.get("kind") == sources.PYTHON_STDLIB:
        return {"kind": sources.PYTHON_STDLIB}
    return source
