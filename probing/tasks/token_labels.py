"""Words with a label each, from files: named entities in columns, parallel files, word lists."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np

from mlstm.corpus.files import text_name, user_path
from mlstm.errors import InputError
from probing.tasks.documents import Source, cleaning_of, documents
from probing.tasks.labelled import LabelledData, LabelledDocument, Labels
from probing.tasks.tagged_files import Sentence, sentences
from probing.tasks.word_lists import Names, find_names, read_lists

Position = Literal["last", "every", "first"]

OUTSIDE = "O"
_TAG = re.compile(r"[BIES]-(.*)")


def token_labels(
    source: Source, *, position: Position = "last", lists: str | Sequence[str] = ()
) -> LabelledData:
    """Label the words of a text by what a file says of them.

    source: a file or folder of columns as in CoNLL 2003, the word first and its tag last, in IOB,
        IOB2 or BIOES; or NAME.word with NAME.label beside it, a sentence a line, tags or any
        labels. Each sentence is a document, its words joined by one space; those of one
        -DOCSTART- are a group. Files named train, dev (valid, testa) and test are official splits.
        A class is an entity type (or label); O is none. With `lists`, any text: a file, a folder,
        a prepared corpus or an open split of one.
    position: after which byte of a word the state is read: its last, its first, or every one.
    lists: files of names, one in each line, as PATH or CLASS=PATH. A class is the words of the
        list's names, of which the longest counts.
    InputError with file and line where they are not so.
    """
    if position not in get_args(Position):
        raise InputError(f"position {position!r}: there are {', '.join(get_args(Position))}")
    if lists:
        return _from_lists(source, position, read_lists(lists))
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(
            "a corpus split has no labels of words; name a file of them, or give lists"
        )
    path = user_path(source)
    found = sentences(path)
    types = _types(found)
    classes = tuple(sorted(set(types.values()) - {""}))
    places = {tag: classes.index(type) if type else -1 for tag, type in types.items()}
    return LabelledData(
        "token_labels",
        str(path),
        "token",
        classes,
        (),
        tuple(_document(sentence, places, len(classes), position) for sentence in found),
        exclusive=True,
        otherwise=OUTSIDE,
    )


def _types(found: Sequence[Sentence]) -> dict[str, str]:
    """The class of each tag, "" of none. The labels of parallel files may be other than IOB."""
    tags = sorted({tag for sentence in found for tag in sentence.tags} - {OUTSIDE})
    matches = {tag: _TAG.fullmatch(tag) for tag in tags}
    if not all(matches.values()) and all(_is_parallel(sentence) for sentence in found):
        outside = any(OUTSIDE in sentence.tags for sentence in found)
        if not (outside and any(matches.values())):
            return {tag: tag for tag in tags} | {OUTSIDE: ""}
    types = {OUTSIDE: ""}
    for tag, match in matches.items():
        if match is None or not match[1]:
            wrong = "is no tag of IOB, IOB2 or BIOES" if match is None else "names no class"
            raise InputError(f"{_first(found, tag)}: {tag!r} {wrong}: O, or B-, I-, E- or S-TYPE")
        types[tag] = match[1]
    return types


def _is_parallel(sentence: Sentence) -> bool:
    return text_name(sentence.file.name).endswith(".label")


def _first(found: Sequence[Sentence], tag: str) -> str:
    sentence = next(sentence for sentence in found if tag in sentence.tags)
    return f"{sentence.file}:{sentence.lines[sentence.tags.index(tag)]}"


def _document(
    sentence: Sentence, places: dict[str, int], count: int, position: Position
) -> LabelledDocument:
    words = [word.encode() for word in sentence.words]
    ends = np.cumsum([len(word) + 1 for word in words], dtype=np.int32) - 1
    starts = ends - np.array([len(word) for word in words], np.int32)
    of = np.array([places[tag] for tag in sentence.tags])
    return LabelledDocument(
        f"{sentence.name}:{sentence.lines[0]}",
        b" ".join(words),
        partial(_one_of, starts, ends, of, count, position),
        f"{sentence.name}, document {sentence.document}" if sentence.document else "",
        sentence.split,
    )


def _one_of(
    starts: np.ndarray, ends: np.ndarray, of: np.ndarray, count: int, position: Position
) -> Labels:
    return _labels(starts, ends, of[:, None] == np.arange(count), position)


def _labels(
    starts: np.ndarray, ends: np.ndarray, classes: np.ndarray, position: Position
) -> Labels:
    """Labels of words [start, end), classes (words, K): at one byte of each, or at every one."""
    if position == "every":
        word = np.repeat(np.arange(len(starts)), ends - starts)
        nth = np.arange(len(word)) - np.searchsorted(word, word)
        starts, ends, classes = starts[word], ends[word], classes[word]
        positions = (starts + nth).astype(np.int32)
    else:
        positions = starts if position == "first" else ends - 1
    return Labels(positions, starts, ends, classes, np.zeros((len(starts), 0), np.float32))


def _from_lists(source: Source, position: Position, lists: dict[str, Names]) -> LabelledData:
    origin, found = documents(source)
    judge = partial(_of_lists, lists, position)
    return LabelledData(
        "token_labels",
        origin,
        "token",
        tuple(lists),
        (),
        tuple(LabelledDocument(name, data, partial(judge, data)) for name, data in found),
        otherwise=OUTSIDE,
        judge=judge,
        cleaning=cleaning_of(source),
    )


def _of_lists(lists: dict[str, Names], position: Position, data: bytes) -> Labels:
    return _labels(*find_names(data, lists), position)
