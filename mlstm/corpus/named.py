"""Public corpora by name, on this machine: downloaded, checked and kept, or put there by a person.

A corpus NAME lies in corpora/NAME of the cache of `mlstm.downloads`. What is there is used once its
sha256 is found to be right; where no sha256 is known, that of the first download is noted, and what
is there later has to be the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlstm import downloads
from mlstm.corpus.named_corpora import CORPORA, Download, Named, Text
from mlstm.corpus.unpacking import unpack
from mlstm.downloads import Progress
from mlstm.errors import InputError


def is_name(source: str | os.PathLike) -> bool:
    """Whether a source is a corpus of this name, and no file or folder here."""
    return any(corpus.name == str(source) for corpus in CORPORA) and not os.path.lexists(source)


def entry(name: str) -> Named:
    """The corpus of this name. Raises InputError."""
    for corpus in CORPORA:
        if corpus.name == name:
            return corpus
    raise InputError(
        f"no public corpus {name!r} is known; there are "
        f"{', '.join(corpus.name for corpus in CORPORA)}"
    )


def folder(name: str) -> Path:
    """Where its files lie, or would."""
    return downloads.cache() / "corpora" / entry(name).name


def locate(name: str, progress: Progress | None = None) -> list[tuple[Path, str | None]]:
    """The files of a corpus on this machine, and the split that each is of, where the corpus says
    so itself; downloaded and unpacked if need be.

    progress: called with the bytes so far and in all, of each download. Several processes may do
    this at once. Raises InputError, which says what a person can do.
    """
    corpus = entry(name)
    return [(_file(corpus, text, progress), text.split) for text in corpus.texts]


def path(name: str, progress: Progress | None = None) -> Path:
    """The file of a corpus that has one, or else the folder of its files. Raises InputError."""
    files = locate(name, progress)
    return files[0][0] if len(files) == 1 else files[0][0].parent


def splits(source: str | os.PathLike) -> Sequence[float] | None:
    """The shares that the field cuts a corpus into; None for any other source, and for a corpus
    that is published in splits."""
    return entry(str(source)).splits if is_name(source) else None


def field(source: str | os.PathLike) -> str:
    """Of a corpus whose files are records, the field of their texts; "" of any other source. Raises
    InputError for one of which no texts can be prepared."""
    if not is_name(source):
        return ""
    corpus = entry(str(source))
    if corpus.records and not corpus.field:
        raise InputError(
            f"{corpus.name} is {corpus.records}, no text to prepare; --format=lines takes "
            "its lines as they are"
        )
    return corpus.field


def _file(corpus: Named, text: Text, progress: Progress | None) -> Path:
    place = folder(corpus.name) / text.name
    advice = f"get it from {corpus.page}, or remove it to have it downloaded"
    if text.member is None:
        if not place.is_file():
            _fetch(corpus, text.download, text.name, progress)
        downloads.verify(place, text.download.sha256, advice)
        return place
    if not place.is_file():
        archive = place.parent / text.download.name
        if not archive.is_file():
            _fetch(corpus, text.download, text.name, progress)
        downloads.verify(archive, text.download.sha256, advice)
        with downloads.alone(place):
            if not place.is_file():
                unpack(archive, text.member, place, text.largest or downloads.LARGEST)
    downloads.verify(place, text.sha256, advice)
    return place


def _fetch(corpus: Named, download: Download, wanted: str, progress: Progress | None) -> None:
    """From the first address that gives it."""
    target, failed = folder(corpus.name) / download.name, []
    for address in download.addresses:
        try:
            return downloads.fetch(
                address, target, download.sha256, progress, largest=download.bytes
            )
        except downloads.Unreachable as error:
            failed.append(str(error))
    unpacked = f", or {wanted} of it," if wanted != download.name else ""
    others = f", and {len(failed) - 1} other address failed too" if len(failed) > 1 else ""
    raise InputError(
        f"{corpus.name}: {failed[0]}{others}; without a network put {download.name} of "
        f"{corpus.page}{unpacked} into {target.parent}"
    )


def table() -> str:
    """All of them, for people."""
    lines = [f"{'name':18}{'MB':>8}  {'licence':22}what, from whom, and where"]
    for corpus in CORPORA:
        files = {text.download for text in corpus.texts}
        sizes = [file.bytes for file in files]
        size = f"{sum(filter(None, sizes)) / 1e6:.1f}" if all(sizes) else "?"
        known = "" if all(file.sha256 for file in files) else "; sha256 not known"
        lines += [
            f"{corpus.name:18}{size:>8}  {corpus.licence:22}{corpus.what}",
            f"{'':50}{corpus.citation}",
            f"{'':50}{corpus.page}{known}",
        ]
        if corpus.records:
            lines.append(f"{'':50}files: {corpus.records}")
    where = downloads.cache() / "corpora"
    return "\n".join([*lines, "", f"MB are those of the download; files are kept in {where}."])
