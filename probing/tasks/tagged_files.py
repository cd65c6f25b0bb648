"""Files of words with a tag each: columns as CoNLL 2003 has them, or a .word beside a .label file.

Columns: a word a line, first the word and last its tag, an empty line between sentences, a line of
-DOCSTART- before each document (Tjong Kim Sang and De Meulder 2003). Parallel files: a sentence a
line in both, words and labels apart by spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlstm.corpus import sources
from mlstm.corpus.files import text_name
from mlstm.errors import InputError
from probing.tasks.documents import read_file

_SPLITS = (  # the words in a file's name that say which split it is
    ("train", ("train", "training")),
    ("dev", ("dev", "testa", "valid", "val", "validation", "development")),
    ("test", ("test", "testb")),
)


class Sentence(NamedTuple):
    words: list[str]
    tags: list[str]
    file: Path
    lines: list[int]  # of each word
    document: int = 0  # of which -DOCSTART- of its file it is; 0 of none
    name: str = ""  # of its file, from the folder that was read
    split: str = ""  # where that name puts it: train, dev or test


def sentences(path: Path) -> list[Sentence]:
    """The sentences of a file of columns, a .word file with its .label file, or a folder of these.

    Of a folder in which files are named as train, dev and test parts, only those are read.
    InputError with file and line for what is not as it should be.
    """
    files = list(sources.documents(path))
    if path.is_dir():
        words = [file for file in files if file.name.endswith(".word")]
        named = [file for file in words or files if _split(file.name)]
        files = named or words or files
    splits = [_split(file.name) for file in files]
    official = "train" in splits and len(set(splits)) > 1
    found = []
    for file, split in zip(files, splits, strict=True):
        parallel = text_name(file.name).endswith((".word", ".label"))
        read = _parallel(file.path) if parallel else _columns(file.path)
        where = {"name": file.name, "split": split if official else ""}
        found += [sentence._replace(**where) for sentence in read]
    return found


def _split(name: str) -> str:
    parts = re.split(r"[^a-z]+", name.rpartition("/")[2].lower())
    return next((split for split, names in _SPLITS if set(names) & set(parts)), "")


def _columns(path: Path) -> Iterator[Sentence]:
    words: list[str] = []
    tags: list[str] = []
    lines: list[int] = []
    document, count, first = 0, 0, 0

    def sentence() -> Iterator[Sentence]:
        nonlocal words, tags, lines
        if words:
            yield Sentence(words, tags, path, lines, document)
        words, tags, lines = [], [], []

    for number, line in enumerate(_lines(path), 1):
        if not line:
            yield from sentence()
            continue
        if line.startswith("-DOCSTART-"):
            yield from sentence()
            document += 1
            continue
        row = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
        count, first = count or len(row), first or number
        if len(row) != count or count < 2:
            wanted = f"{count}, as in line {first}" if count > 1 else "a word first, its tag last"
            raise InputError(f"{path}:{number}: {len(row)} column(s), not {wanted}")
        if not row[0].strip() or not row[-1].strip():
            raise InputError(f"{path}:{number}: an empty word or tag; every word has one tag")
        words.append(row[0].strip())
        tags.append(row[-1].strip())
        lines.append(number)
    yield from sentence()


def _parallel(path: Path) -> Iterator[Sentence]:
    words_path = _beside(path, ".word")
    tags_path = _beside(path, ".label")
    for each in (words_path, tags_path):
        if not each.is_file():
            raise InputError(f"{each}: no such file; NAME.word and NAME.label go together")
    all_words, all_tags = list(_lines(words_path)), list(_lines(tags_path))
    for number, (line, tagged) in enumerate(zip(all_words, all_tags, strict=False), 1):
        words, tags = (re.split(" +", each) if each else [] for each in (line, tagged))
        if len(words) != len(tags):
            raise InputError(
                f"{tags_path}:{number}: {len(tags)} label(s) for the {len(words)} word(s) of "
                f"{words_path}:{number}"
            )
        if words:
            yield Sentence(words, tags, tags_path, [number] * len(words))
    if len(all_words) != len(all_tags):
        number = min(len(all_words), len(all_tags)) + 1
        raise InputError(
            f"{words_path}:{number}: {len(all_words)} line(s), but {tags_path} has "
            f"{len(all_tags)}; each line of one belongs to the same line of the other"
        )


def _beside(path: Path, suffix: str) -> Path:
    name = text_name(path.name)
    return path.with_name(name[: name.rindex(".")] + suffix + path.name[len(name) :])


def _lines(path: Path) -> Iterator[str]:
    """Lines without white space at their ends: not those that str.splitlines would make."""
    lines = read_file(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines and not lines[-1].strip():
        lines.pop()
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode().strip("\r\n ").rstrip("\t")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}:{number}: not UTF-8 ({error.reason})") from None
