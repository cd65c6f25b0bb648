"""Preparing a corpus: documents in, a folder of shards and a manifest out, whole or not at all."""

import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mlstm.corpus import (
    agreement,
    cut_by_bytes,
    identity,
    named,
    sources,
    splitting,
    temporary,
    translating,
)
from mlstm.corpus import manifest as manifests
from mlstm.corpus.cleaned import CleanedDocument
from mlstm.corpus.cleaning import check_recipe
from mlstm.corpus.cut_by_bytes import FilePart
from mlstm.corpus.files import user_path
from mlstm.corpus.fitting import Fit
from mlstm.corpus.folders import publish, recover, unfinished, writing
from mlstm.corpus.reading import Corpus
from mlstm.corpus.records import prepare_texts as prepare_texts
from mlstm.corpus.sources import SPLITS, Document, TextFile
from mlstm.corpus.vocabulary import Bytes, Vocabulary
from mlstm.corpus.writing import SplitWriter
from mlstm.errors import InputError

SHARD_BYTES = 256 << 20
Progress = Callable[[int, int], None]


def prepare(
    documents: Iterable[Document | TextFile | FilePart],
    folder: str | os.PathLike,
    *,
    splits: Sequence[float] | None = None,
    reset: str = "document",
    vocabulary: Vocabulary | Fit | None = None,
    cleaning: str = "none",
    source: dict[str, Any] | None = None,
    strict: bool = False,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """Writes the documents to `folder` as a corpus and opens it.

    A document goes where it says; else to a split by the hash of its name; a document that is
    alone is cut by bytes into train, validation and test, in this order. `splits`: the fractions
    of the three, (0.9, 0.05, 0.05) unless given. `reset`: "document" or "shard". `vocabulary`:
    what makes ids of them, bytes unless given; a document with a byte that it does not have is
    one that cannot be read. One of `fitting` is made from the train split first: the text is
    prepared as bytes beside `folder`, and goes from there. `cleaning`: the recipe of
    `corpus.cleaning` that each document is put through, for which it is held in memory. `source`:
    what the manifest says of their origin.
    Empty documents are left out and counted, and so are those that cannot be read; with `strict`
    the first of these ends it. `progress` is called with the source bytes read so far;
    where a vocabulary is made first, up to twice as many.

    The same documents give the same files, bit by bit. `folder` appears when all of it is on the
    disk. A folder that exists is left alone unless it is empty; it may be a corpus with the same
    contents, which is opened, its manifest telling of this run from then on, or, with
    `overwrite`, any corpus without foreign files in it. Raises InputError.
    """
    folder = user_path(folder).absolute()
    source = source or {"kind": "documents"}
    fractions = splitting.fractions(splits)
    vocabulary = vocabulary or Bytes()
    if not isinstance(vocabulary, Fit) and not vocabulary.encodes:
        raise InputError(f"the vocabulary {vocabulary} cannot encode text: a corpus needs one")
    cleaned: Iterable[Document | TextFile | FilePart | CleanedDocument] = documents
    if check_recipe(cleaning) != "none":
        cleaned = (CleanedDocument(document, cleaning) for document in documents)
    if reset not in manifests.RESETS:
        raise InputError(f"reset is {reset!r}; it can be {' or '.join(manifests.RESETS)}")
    if shard_bytes < 1:
        raise InputError(f"shards of {shard_bytes} bytes hold nothing; 1 is the least")
    recover(folder)
    told = "fitted" if isinstance(vocabulary, Fit) else "vocabulary"
    settings = {"reset": reset, told: vocabulary.to_json(), "cleaning": cleaning}
    agreement.check_output(folder, overwrite, source=source, settings=settings, fractions=fractions)
    if isinstance(vocabulary, Fit):
        read = 0

        def report(done: int) -> None:
            if progress:
                progress(done)

        def reading(done: int) -> None:
            nonlocal read
            read = done
            report(done)

        with unfinished(folder) as scratch, unfinished(folder) as new:
            of_bytes = prepare(
                documents,
                scratch / "bytes",
                splits=splits,
                reset=reset,
                cleaning=cleaning,
                source=source,
                strict=strict,
                shard_bytes=shard_bytes,
                progress=reading,
            )
            manifest = translating.translate(
                of_bytes,
                new,
                vocabulary,
                output=folder,
                progress=lambda done, total: report(read + done * read // total),
            )
            if not publish(new, folder, replace=overwrite):
                agreement.adopt(new, folder, manifest)
        return Corpus.open(folder)
    with unfinished(folder) as new:
        writers = {split: SplitWriter(new, split, shard_bytes, vocabulary) for split in SPLITS}
        try:
            fixed, skipped = splitting.write(
                cleaned, writers, folder, splits=splits, strict=strict, progress=progress
            )
            with writing(folder):
                written = {split: writer.close() for split, writer in writers.items()}
        finally:
            for writer in writers.values():
                writer.abandon()
        splitting.check_filled(written, None if fixed else fractions, skipped)
        manifest = manifests.make(
            written,
            vocabulary=vocabulary,
            cleaning=cleaning,
            reset=reset,
            source=source,
            fractions=None if fixed else list(fractions),
            skipped=skipped,
        )
        with writing(folder):
            manifests.write(manifest, new)
        if not publish(new, folder, replace=overwrite):
            agreement.adopt(new, folder, manifest)
    return Corpus.open(folder)


def prepare_source(
    source: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    splits_bytes: Sequence[int] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Corpus:
    """Prepares "python_stdlib", a public corpus by name, a file or a folder of text; `settings` are
    those of `prepare`. A public corpus of records becomes what `prepare_texts` makes of it.

    splits_bytes: of train, validation and test, which are cut from one file in this order and are
    all of it: (90_000_000, 5_000_000, 5_000_000) is the custom for enwik8 and text8.

    `progress` is called with the bytes of the source read so far and in all: files are read
    twice, to know them again and to write them. Raises InputError.
    """
    if named.field(source):
        if splits_bytes is not None:
            raise InputError(f"{source} is records, which cannot be cut by bytes")
        return prepare_texts(source, folder, progress=progress, **settings)
    files, folder = list(sources.documents(source)), user_path(folder)
    embedded = str(source) == sources.PYTHON_STDLIB
    if settings.get("splits") is None and splits_bytes is None:
        settings["splits"] = named.splits(source)
    if not embedded:
        text = os.path.realpath(user_path(source))
        if os.path.isdir(text) and Path(os.path.realpath(folder)).is_relative_to(text):
            raise InputError(f"{folder} lies inside the text {source}; name an output elsewhere")
    size = sum(file.size for file in files)
    hashed = 0 if embedded else size
    passes = 2 if isinstance(settings.get("vocabulary"), Fit) else 1

    def report(done: int) -> None:
        if progress:
            progress(done, hashed + passes * size)

    described = identity.describe(source, files, report)
    documents: Iterable[Document | TextFile | FilePart] = files
    if splits_bytes is not None:
        if settings.get("splits") is not None:
            raise InputError("fractions and bytes of the splits are both given; one is enough")
        if len(files) != 1 or embedded:
            raise InputError(f"{source} is no single file, which could be cut by bytes")
        documents = cut_by_bytes.parts(files[0], splits_bytes)
        settings = settings | {"strict": True}
        described |= {"splits_bytes": list(splits_bytes)}
    return prepare(
        documents,
        folder,
        source=described,
        progress=lambda done: report(hashed + done),
        **settings,
    )


def open_source(
    source: str | os.PathLike,
    cache: str | os.PathLike | None = None,
    *,
    splits: Sequence[float] | None = None,
    reset: str | None = None,
    vocabulary: Vocabulary | Fit | None = None,
    cleaning: str | None = None,
) -> Corpus:
    """Opens a prepared corpus, or prepares "python_stdlib", a raw file or a folder first.

    `cache` is the folder that becomes the corpus; one that is there already is opened if it was
    made from the same source (any version of python_stdlib is the same) with the same settings.
    Several processes may do this at once. Without `cache` the corpus is temporary: it goes when
    it is no longer used. `splits`, `reset`, `vocabulary` and `cleaning` are those of `prepare`; a
    prepared corpus brings its own, and is refused where others are given. Raises InputError.
    """
    if str(source) not in ("", sources.PYTHON_STDLIB):
        path = user_path(source)
        if manifests.is_in(path):
            return agreement.with_settings(Corpus.open(path), splits, reset, vocabulary, cleaning)
    settings = {
        "splits": splits,
        "reset": reset or "document",
        "vocabulary": vocabulary,
        "cleaning": cleaning or "none",
    }
    if cache is None:
        scratch = temporary.make()
        try:
            corpus = prepare_source(source, scratch / "corpus", **settings)
        except BaseException:
            temporary.remove(scratch)
            raise
        weakref.finalize(corpus, temporary.remove, scratch)
        return corpus
    cache = user_path(cache)
    if not manifests.is_in(cache):
        return prepare_source(source, cache, **settings)
    corpus = Corpus.open(cache)
    described = corpus.manifest["source"]
    if not identity.is_same(source, described):
        raise InputError(
            f"{cache} was prepared from {identity.words(described)}; {source} is another text, or "
            "was changed since: put the old one back, remove that folder or use another"
        )
    return agreement.with_settings(corpus, splits, reset, vocabulary, cleaning)
