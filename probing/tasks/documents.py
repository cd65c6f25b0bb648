"""Raw documents to label: a file, a folder of files, a prepared corpus or one split of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mlstm.corpus import sources
from mlstm.corpus.files import user_path
from mlstm.corpus.reading import Corpus, Split

Source = str | os.PathLike | Split


def documents(
    source: Source, suffixes: tuple[str, ...] = ()
) -> tuple[str, Iterator[tuple[str, bytes]]]:
    """Where the documents came from, in words, and their names and bytes, one after another.

    source: a file (compressed too) is one document; of a folder all files below it, hidden ones
        left out; of a prepared corpus its test split; or an open split; or "python_stdlib".
    suffixes: which files of a folder are meant; all without.
    InputError where there is no such thing, or no such file in a folder.
    """
    if not isinstance(source, (str, os.PathLike)):
        return "corpus split", _of_split(source)
    if str(source) == sources.PYTHON_STDLIB:
        return sources.PYTHON_STDLIB, ((d.name, d.data) for d in sources.documents(source))
    path = user_path(source)
    if (path / "manifest.json").is_file():
        return f"{path} (test split)", _of_split(Corpus.open(path).split("test"))
    return str(path), ((file.name, file.data) for file in sources.documents(path, suffixes))


def cleaning_of(source: Source) -> str:
    """The recipe that the text was put through before it was a corpus; "none" of other text."""
    if not isinstance(source, (str, os.PathLike)):
        return source.corpus.cleaning
    path = user_path(source)
    return Corpus.open(path).cleaning if (path / "manifest.json").is_file() else "none"


def read_file(path: Path) -> bytes:
    """The bytes of one file, decompressed. InputError where it cannot be read."""
    return sources.TextFile(path.name, path, 0).data


def _of_split(split: Split) -> Iterator[tuple[str, bytes]]:
    return ((name, split.document(i)) for i, name in enumerate(split.names))
