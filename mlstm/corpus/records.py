"""Preparing a corpus of which each record of a file, a line, row or object, is a document."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mlstm.corpus import agreement, named, sources, translating
from mlstm.corpus.files import user_path
from mlstm.corpus.fitting import Fit
from mlstm.corpus.folders import publish, recover, unfinished
from mlstm.corpus.objects import DEFAULT_FIELD
from mlstm.corpus.preparing import comparing
from mlstm.corpus.preparing.engine import Progress, Waiting, prepare_records, there
from mlstm.corpus.preparing.request import Request
from mlstm.corpus.preparing.staging import Staging
from mlstm.corpus.reading import Corpus
from mlstm.corpus.vocabulary import Bytes, Vocabulary


def prepare_texts(
    source: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    processes: int = 1,
    progress: Progress | None = None,
    **settings: Any,
) -> Corpus:
    """Prepares a file, or a folder of files, of which each line is a document, or each row of a
    .csv, .tsv or .parquet, or each object of a .jsonl (see `corpus.texts`); named by their
    numbers. A line keeps a line end, "\\n", where it is not cleaned and the vocabulary has one; one
    without text is left out. A field is as it is.

    settings: `field` is that of the text ("text", else "reviewText", of a public corpus its own);
    `format`, one of `texts.FORMATS`, where the name of a file does not tell; `headings`, whether
    the articles of "wikitext" keep headings and blank lines (one of more than 32 MiB is cut to
    several documents); `splits`, `reset`, `vocabulary`, `cleaning`, `strict`, `overwrite` and
    `shard_bytes` are those of `prepare`. A record that cannot be read is left out, counted and, of
    the first thousand, named.

    `shards` puts all documents in the order of the hashes of their names and cuts it into so many
    shards of train, as equal as can be, and `held_out_shards` of validation and test.
    `deduplicate_against`: paths of held-out texts or of prepared corpora, or "own", this one's
    validation and test; a training document with the words of a held-out one, or more than
    `duplicate_share` of whose runs of eight words are held out, is left out and counted.

    Blocks of `block_bytes` are made to pieces by `processes`, in a hidden folder beside `folder`;
    the same call goes on from those that are there, and the result is the same whatever was
    interrupted and however many processes there were. `progress` is called with the bytes read so
    far and in all. Raises InputError.
    """
    made = _prepared(source, folder, settings, processes=processes, progress=progress)
    assert isinstance(made, Corpus)  # where there are no shares nothing is waited for
    return made


def prepare_share(
    source: str | os.PathLike,
    folder: str | os.PathLike,
    number: int,
    shares: int,
    *,
    processes: int = 1,
    progress: Progress | None = None,
    **settings: Any,
) -> Corpus | Waiting:
    """One of so many shares, from 0, of the work of `prepare_texts`, for the jobs of a cluster that
    have a file system in common. The one that finds all pieces made joins them and returns the
    corpus, the others a `Waiting`, which says whose pieces are missing. Raises InputError.
    """
    return _prepared(
        source, folder, settings, processes=processes, share=(number, shares), progress=progress
    )


def _prepared(
    source: str | os.PathLike, folder: str | os.PathLike, settings: dict[str, Any], **work: Any
) -> Corpus | Waiting:
    """Through a corpus of bytes, hidden beside `folder`, where tokens are made in another pass."""
    if settings.get("format", "auto") == "auto" and (own := named.field(source)):
        given = settings.get("field", DEFAULT_FIELD)
        settings = settings | {"field": own if given == DEFAULT_FIELD else given}
    vocabulary = settings.get("vocabulary") or Bytes()
    if not isinstance(vocabulary, Fit) and vocabulary.bytewise:
        return prepare_records(source, folder, Request(**settings), **work)
    folder = user_path(folder).absolute()
    of_ids: dict[str, Any] = settings | {"vocabulary": None}
    request = Request(**of_ids)
    recover(folder)
    if corpus := there(source, folder, request, vocabulary):
        return corpus
    staging = Staging(folder, _key(source, request))
    stages = _Stages(work.pop("progress", None))
    with staging.in_use():
        found = _through_bytes(source, folder, request, vocabulary, staging, stages, work)
    if isinstance(found, Corpus):
        staging.remove()
    return found


def _through_bytes(
    source: str | os.PathLike,
    folder: Path,
    request: Request,
    vocabulary: Vocabulary | Fit,
    staging: Staging,
    stages: _Stages,
    work: dict[str, Any],
) -> Corpus | Waiting:
    of_bytes = prepare_records(
        source,
        staging.folder / "bytes",
        replace(request, overwrite=False),
        progress=stages.first,
        **work,
    )
    if not isinstance(of_bytes, Corpus):
        return replace(of_bytes, folder=folder)
    with staging.assembling(wait=work.get("share") is None) as held:
        if not held:
            return Waiting(folder, ())
        # Another that did the same may have been faster.
        if corpus := there(source, folder, request, vocabulary):
            return corpus
        with unfinished(folder) as new:
            manifest = translating.translate(
                of_bytes, new, vocabulary, output=folder, progress=stages.second
            )
            if not publish(new, folder, replace=request.overwrite):
                agreement.adopt(new, folder, manifest)
    return Corpus.open(folder)


def _key(source: str | os.PathLike, request: Request) -> list[Any]:
    """All that a corpus of bytes depends on."""
    said = {field.name: getattr(request, field.name) for field in fields(request)}
    del said["overwrite"], said["vocabulary"]
    found = []
    for file in sources.documents(source):
        try:
            status = file.path.stat()
        except OSError:  # preparing says so
            continue
        place = [file.name, str(file.path), file.split]
        found.append([*place, status.st_size, status.st_mtime_ns])
    return ["bytes", repr(sorted(said.items())), comparing.key(request), found]


class _Stages:
    """The progress of two passes as that of one: the second counts as much as the first."""

    def __init__(self, progress: Progress | None):
        self.progress, self.size = progress, 0

    def first(self, done: int, total: int) -> None:
        self.size = total
        if self.progress:
            self.progress(done, 2 * total)

    def second(self, done: int, total: int) -> None:
        size = self.size or total  # the first may have been done before
        if self.progress:
            self.progress(self.size + done * size // total, self.size + size)
