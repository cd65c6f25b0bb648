"""Preparing a corpus: documents in, a folder of shards and a manifest out, whole or not at all."""

import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mlstm.corpus import agreement, identity, named, sources, splitting, temporary, texts
from mlstm.corpus import manifest as manifests
from mlstm.corpus.cleaned import CleanedDocument
from mlstm.corpus.cleaning import check_recipe
from mlstm.corpus.files import user_path
from mlstm.corpus.folders import publish, recover, unfinished, writing
from mlstm.corpus.reading import Corpus
from mlstm.corpus.sources import SPLITS, Document, TextFile
from mlstm.corpus.vocabulary import Bytes, Vocabulary
from mlstm.corpus.writing import SplitWriter
from mlstm.errors import InputError

SHARD_BYTES = 256 << 20
Progress = Callable[[int, int], None]


def prepare(
    documents: Iterable[Document | TextFile],
    folder: str | os.PathLike,
    *,
    splits: Sequence[float] | None = None,
    reset: str = "document",
    vocabulary: Vocabulary | None = None,
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
    one that cannot be read. `cleaning`: the recipe of `corpus.cleaning` that each document is put
    through, for which it is held in memory. `source`: what the manifest says of their origin.
    Empty documents are left out and counted, and so are those that cannot be read; with `strict`
    the first of these ends it. `progress` is called with the source bytes read so far.

    The same documents give the same files, bit by bit. `folder` appears when all of it is on the
    disk. A folder that exists is left alone unless it is empty; it may be a corpus with the same
    contents, which is opened, its manifest telling of this run from then on, or, with
    `overwrite`, any corpus without foreign files in it. Raises InputError.
    """
    folder = user_path(folder).absolute()
    source = source or {"kind": "documents"}
    fractions = splitting.fractions(splits)
    vocabulary = vocabulary or Bytes()
    if not vocabulary.encodes:
        raise InputError(f"the vocabulary {vocabulary} cannot encode text: a corpus needs one")
    cleaned: Iterable[Document | TextFile | CleanedDocument] = documents
    if check_recipe(cleaning) != "none":
        cleaned = (CleanedDocument(document, cleaning) for document in documents)
    if reset not in manifests.RESETS:
        raise InputError(f"reset is {reset!r}; it can be {' or '.join(manifests.RESETS)}")
    if shard_bytes < 1:
        raise InputError(f"shards of {shard_bytes} bytes hold nothing; 1 is the least")
    recover(folder)
    settings = {
        "reset": reset,
        "vocabulary": vocabulary.to_json(),
        "cleaning": cleaning,
    }
    agreement.check_output(folder, overwrite, source=source, settings=settings, fractions=fractions)
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
        _check_filled(written, None if fixed else fractions, skipped)
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
    progress: Progress | None = None,
    **settings: Any,
) -> Corpus:
    """Prepares "python_stdlib", a public corpus by name, a file or a folder of text; `settings` are
    those of `prepare`.

    `progress` is called with the bytes of the source read so far and in all: files are read
    twice, to know them again and to write them. Raises InputError.
    """
    files, folder = list(sources.documents(source)), user_path(folder)
    embedded = str(source) == sources.PYTHON_STDLIB
    if settings.get("splits") is None:
        settings["splits"] = named.splits(source)
    if not embedded:
        text = os.path.realpath(user_path(source))
        if os.path.isdir(text) and Path(os.path.realpath(folder)).is_relative_to(text):
            raise InputError(f"{folder} lies inside the text {source}; name an output elsewhere")
    size = sum(file.size for file in files)
    hashed = 0 if embedded else size

    def report(done: int) -> None:
        if progress:
            progress(done, hashed + size)

    return prepare(
        files,
        folder,
        source=identity.describe(source, files, report),
        progress=lambda done: report(hashed + done),
        **settings,
    )


def prepare_texts(
    file: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    field: str = "text",
    progress: Progress | None = None,
    **settings: Any,
) -> Corpus:
    """Prepares one file of which each line is a document, or each row of a .csv or .tsv or each
    object of a .jsonl, of which `field` is the text (see `corpus.texts`); named by their numbers.
    A line keeps a line end, "\\n", where it is not cleaned and the vocabulary has one; one without
    text is left out. A field is as it is.

    `settings` are those of `prepare`; `progress` is called as by `prepare_source`. Raises
    InputError.
    """
    files = list(sources.documents(file))
    path, size = files[0].path, sum(each.size for each in files)
    if len(files) != 1 or os.path.isdir(user_path(file)):
        raise InputError(f"{file} is no single file, whose lines would be the documents")

    def report(done: int) -> None:
        if progress:
            progress(min(done, 2 * size), 2 * size)

    records = texts.read_records(path, field)
    kept = texts.are_lines(path) and settings.get("cleaning", "none") == "none"
    end = b"\n" if kept and _has_line_end(settings.get("vocabulary") or Bytes()) else b""
    source = identity.describe(file, files, report)
    return prepare(
        (
            Document(f"{path.name}:{number}", record.text and record.text + end)
            for number, record in enumerate(records, 1)
        ),
        folder,
        source=source | {"field": field},
        progress=lambda done: report(size + done),
        **settings,
    )


def _has_line_end(vocabulary: Vocabulary) -> bool:
    return isinstance(vocabulary, Bytes) or b"\n" in vocabulary.symbols


def open_source(
    source: str | os.PathLike,
    cache: str | os.PathLike | None = None,
    *,
    splits: Sequence[float] | None = None,
    reset: str | None = None,
    vocabulary: Vocabulary | None = None,
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
        if _holds_corpus(path):
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
    if not _holds_corpus(cache):
        return prepare_source(source, cache, **settings)
    corpus = Corpus.open(cache)
    described = corpus.manifest["source"]
    if not identity.is_same(source, described):
        raise InputError(
            f"{cache} was prepared from {identity.words(described)}; {source} is another text, or "
            "was changed since: put the old one back, remove that folder or use another"
        )
    return agreement.with_settings(corpus, splits, reset, vocabulary, cleaning)


def _holds_corpus(folder: Path) -> bool:
    return os.path.exists(folder / manifests.NAME)


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
