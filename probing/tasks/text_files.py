"""The files of a task: found, decoded with the line of what is wrong, and the split a name says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mlstm.corpus import named
from mlstm.corpus.files import read_chunks, text_name, user_path
from mlstm.errors import InputError

Source = str | os.PathLike | Sequence[str | os.PathLike]

_SPLIT = re.compile(r"(?:^|[-_.])(train|dev|valid|validation|val|test)(?=[-_.]|$)", re.IGNORECASE)
_NAMES = {"train": "train", "test": "test"}  # all others are "dev"


def given(source: Source) -> list[Path]:
    """The files and folders that a source names: one path, several with commas between, a list, or
    a public corpus of `mlstm.corpus.named`.

    InputError where one is not there.
    """
    if isinstance(source, str) and named.is_name(source):
        return [named.path(source)]
    if isinstance(source, (str, os.PathLike)):
        whole = user_path(source)
        parts = [source] if whole.exists() else os.fspath(source).split(",")
    else:
        parts = list(source)
    paths = [user_path(part.strip() if isinstance(part, str) else part) for part in parts]
    if not paths or not all(os.fspath(part).strip() for part in parts):
        raise InputError(
            f"{source!r}: an empty name; name a file or folder, or several with commas"
        )
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
    return paths


def files_below(path: Path) -> list[Path]:
    """The file itself, or the folder's own files in the order of their names, hidden ones not."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))


def suffix(path: Path) -> str:
    """The suffix in small letters, without that of a compression: ".csv" of a.CSV.gz."""
    return os.path.splitext(text_name(path.name))[1].lower()


def read_text(path: Path) -> str:
    """The whole text of a file, perhaps compressed, without a byte order mark.

    InputError where it cannot be read, or where it is not UTF-8, with the line.
    """
    data = b"".join(chunk for chunk, _ in read_chunks(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; convert the file first, "
            "for example with iconv -f windows-1252 -t utf-8"
        ) from None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (number from 1, line without its line end). A line ends in "\\n" or "\\r\\n" alone:
    what else Unicode has for line ends may be within a text. Raises InputError."""
    lines = read_text(path).split("\n")
    for number, line in enumerate(lines, 1):
        if number < len(lines) or line:
            yield number, line.removesuffix("\r")


def split_of(name: str) -> str:
    """The official split that a file's name says: train, dev or test, or nothing.

    The last one of the name counts: en_ewt-ud-train.conllu, train_binary_sent.csv, test.txt.
    """
    found = _SPLIT.findall(text_name(name))
    return _NAMES.get(found[-1].lower(), "dev") if found else ""


def official_splits(names: Iterable[str]) -> dict[str, str]:
    """The official split of each file name; nothing for all of them unless there is a train part
    and another: a single part of an official split is divided like any other text."""
    splits = {name: split_of(name) for name in names}
    found = set(splits.values()) - {""}
    return splits if "train" in found and len(found) > 1 else dict.fromkeys(splits, "")
