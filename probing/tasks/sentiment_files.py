"""The forms in which labelled reviews are published, each read into the same texts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlstm.corpus.files import text_name
from mlstm.errors import InputError
from probing.tasks import records
from probing.tasks.text_files import (
    Source,
    files_below,
    given,
    official_splits,
    read_lines,
    read_text,
    split_of,
    suffix,
)
from probing.tasks.trees import TreeError, looks_like_tree, parse_tree

RECORDS, TREES, CLASS_FILES, CLASS_FOLDERS = (
    "fields",
    "sentiment trees",
    "a file for each class",
    "a folder for each class",
)
_CLASS_NAME = re.compile(r"(?:^|[._-])(?:(pos)(?:itive)?|neg(?:ative)?)$", re.IGNORECASE)
_NAMED = {"positive": True, "pos": True, "negative": False, "neg": False}


class Text(NamedTuple):
    """A review as its file has it."""

    name: str
    text: str
    label: float | bool  # a number, or whether it is positive where the file says so by name
    split: str


class Found(NamedTuple):
    """Files of one form, and those beside them that were left alone."""

    form: str
    files: list[Path]
    left: list[Path]


def find(source: Source) -> Found:
    """What a source holds. A folder is asked for pos/ and neg/ (perhaps within train/ and test/),
    then for files of one form; where some of these make an official split by their names, they are
    all that is taken. InputError where there are none, or several forms.
    """
    paths = given(source)
    if len(paths) == 1 and paths[0].is_dir() and _class_folders(paths[0]):
        return Found(CLASS_FOLDERS, paths, [])
    forms: dict[str, list[Path]] = {}
    left: list[Path] = []
    for path in paths:
        for file in files_below(path):
            form = _form(file)
            if form:
                forms.setdefault(form, []).append(file)
            elif path.is_dir():
                left.append(file)
            else:
                raise InputError(f"{file}: {_no_form()}")
    if not forms:
        raise InputError(f"{', '.join(map(str, paths))}: no reviews with labels. {_no_form()}")
    in_folder = any(path.is_dir() for path in paths)
    official = {
        form: [file for file in files if split_of(file.name)]
        for form, files in forms.items()
        if in_folder and any(official_splits(file.name for file in files).values())
    }
    chosen = official if len(official) == 1 else forms
    if len(chosen) > 1:
        there = "; ".join(f"{form}: {files[0].name}" for form, files in chosen.items())
        raise InputError(f"{', '.join(map(str, paths))}: several forms ({there}); name the files")
    [(form, files)] = chosen.items()
    others = [file for group in forms.values() for file in group if file not in files]
    return Found(form, files, others + left)


def read(found: Found, fields: records.Fields) -> Iterator[Text]:
    """The texts in the order of the files. InputError with file and line."""
    if found.form == CLASS_FOLDERS:
        yield from _read_folders(found.files[0])
        return
    splits = official_splits(file.name for file in found.files)
    for path in found.files:
        empty = True
        for name, text, label in _read_file(path, found.form, fields):
            empty = False
            yield Text(name, text, label, splits[path.name])
        if empty:
            raise InputError(f"{path}: no documents in it")


def _read_file(
    path: Path, form: str, fields: records.Fields
) -> Iterator[tuple[str, str, float | bool]]:
    """Yields name, text and label of each document."""
    if form == RECORDS:
        for record in records.read_records(path, fields):
            label = _label(path, record.line, record.label)
            yield f"{path.name}:{record.line}", record.text, label
        return
    positive = _class_of(path)
    for line, content in read_lines(path):
        name = f"{path.name}:{line}"
        if form == CLASS_FILES:
            yield name, content, bool(positive)
        elif content.strip():
            try:
                tree = parse_tree(content)
            except TreeError as error:
                raise InputError(f"{path}:{line}: not a sentiment tree: {error}") from None
            yield name, tree.text, float(tree.label)


def _read_folders(root: Path) -> Iterator[Text]:
    parts = _class_folders(root)
    splits = official_splits(part.name for part in parts if part != root)
    for part in parts:
        for label in ("pos", "neg"):
            files = sorted((part / label).glob("*.txt"))
            if not files:
                raise InputError(f"{part / label}: no .txt files in this folder; one is a document")
            for file in files:
                name = file.relative_to(root).as_posix()
                yield Text(name, read_text(file), label == "pos", splits.get(part.name, ""))


def _class_folders(root: Path) -> list[Path]:
    """The folders that have pos/ or neg/ in them: the root itself, or those named as splits."""
    candidates = [root, *sorted(p for p in root.iterdir() if p.is_dir() and split_of(p.name))]
    return [p for p in candidates if (p / "pos").is_dir() or (p / "neg").is_dir()]


def _form(path: Path) -> str:
    if suffix(path) in records.SUFFIXES:
        return RECORDS
    if _class_of(path) is not None:
        return CLASS_FILES
    if suffix(path) == ".txt":
        first = next((line for _, line in read_lines(path) if line.strip()), "")
        return TREES if looks_like_tree(first) else ""
    return ""


def _class_of(path: Path) -> bool | None:
    """Whether the name of a file says positive, negative, or nothing: movies.pos, neg.txt."""
    match = _CLASS_NAME.search(text_name(path.name).removesuffix(".txt"))
    return None if match is None else bool(match[1])


def _label(path: Path, line: int, label: object) -> float | bool:
    if isinstance(label, str) and label.strip().lower() in _NAMED:
        return _NAMED[label.strip().lower()]
    try:
        value = float(label)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{path}:{line}: the label is {str(label)[:40]!r}; it is a number, positive or negative"
        )
    return value


def _no_form() -> str:
    return (
        "Labelled reviews are .csv, .tsv or .jsonl with named fields, .txt of sentiment trees, "
        "two files with names that end in .pos and .neg, or a folder with pos/ and neg/"
    )
