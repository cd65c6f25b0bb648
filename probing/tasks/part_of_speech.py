"""Parts of speech: the tag of each word, in bytes of the text, from treebanks or a tagger."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mlstm.errors import InputError
from probing.tasks import conllu
from probing.tasks.labelled import LabelledData, LabelledDocument, Labels
from probing.tasks.positions import Position, check_position, place
from probing.tasks.tags import check_grouping, group_tag
from probing.tasks.text_files import Source, files_below, given, official_splits, suffix
from probing.tasks.word_tags import read_tagged, separator, tag_text

COLUMNS = ("upos", "xpos")
CONLLU = (".conllu", ".conll")
SHARED = "share their bytes with the word before; the label there is both tags, joined"
AUTOMATIC = (
    "labels are those of an automatic tagger (NLTK's averaged perceptron), not of people: a probe "
    "learns the tagger's errors too; documents are lines"
)


def part_of_speech(
    source: Source,
    *,
    tags: Literal["upos", "xpos"] = "upos",
    grouping: Literal["concept_neurons"] | None = None,
    position: Position = "last",
) -> LabelledData:
    """Label the words of sentences with their parts of speech; the classes exclude each other.

    source: CoNLL-U files (.conllu), files of word_TAG or word/TAG with a sentence a line, or plain
        text, which NLTK's tagger labels. A file, a folder, or several (a list, or commas between);
        names with train, dev and test make an official split. Of a folder with CoNLL-U files, only
        these are read.
    tags: the column of CoNLL-U: "upos", universal tags, or "xpos", the treebank's own.
    grouping: None, or the groups of Penn Treebank tags in `probing.tasks.tags`.
    position: the byte of a word that carries its label: "last", "first", or "every".

    A document is a sentence (of plain text a line); documents of one `# newdoc` are one group.
    Spaces between words have no label, nor have words whose tag is "_". See `conllu.read` for
    multiword tokens. InputError where something is missing or malformed, with file and line.
    """
    check_grouping(grouping)
    check_position(position)
    if tags not in COLUMNS:
        raise InputError(f"tags {tags!r}: the column is one of {', '.join(COLUMNS)}")
    files = _files(given(source))
    kind, marks = _kind(files)
    if kind == "conllu" and grouping and tags == "upos":
        raise InputError(
            f"grouping {grouping!r} is of the Penn Treebank's tags, and upos has others: take xpos"
        )
    splits = official_splits(path.name for path in files)
    store, documents = _Store(), _Documents([], [])
    words = shared = 0
    for path in files:
        for sentence in _sentences(path, kind, marks.get(path, ""), tags):
            words += sentence.words
            shared += sentence.shared
            first = len(store.tags)
            for start, end, tag in sentence.spans:
                store.add(start, end, group_tag(tag, grouping))
            documents.add(sentence, splits[path.name], first, len(store.tags))
    origin = ", ".join(str(path) for path in files)
    if not store.names:
        missing = f"no {tags} tags" if kind == "conllu" else "no words"
        raise InputError(f"{origin}: {missing} in {len(documents.sentences)} sentence(s)")
    spans = store.finish(position)
    data = LabelledData(
        "part_of_speech",
        origin,
        "token",
        spans.classes,
        (),
        tuple(
            LabelledDocument(name, text, partial(spans.labels, *between), group, split)
            for (name, text, group, split), between in zip(
                documents.sentences, documents.spans, strict=True
            )
        ),
        exclusive=True,
        notes=(
            f"{len(documents.sentences):,} sentences, {words:,} words",
            *([f"{shared:,} of the words {SHARED}"] if shared else []),
            *([AUTOMATIC] if kind == "text" else []),
        ),
    )
    data.check_labels()
    return data


class _Sentence(NamedTuple):
    name: str
    group: str
    text: str
    words: int
    shared: int  # words that have no bytes but those of the word before them (see conllu.read)
    spans: list[tuple[int, int, str]]  # bytes [start, end) and tag


@dataclass
class _Documents:
    """What is known of each document before the classes are."""

    sentences: list[tuple[str, bytes, str, str]]  # name, text, group, split
    spans: list[tuple[int, int]]  # [first, last) of all spans

    def add(self, sentence: _Sentence, split: str, first: int, last: int) -> None:
        self.sentences.append((sentence.name, sentence.text.encode(), sentence.group, split))
        self.spans.append((first, last))


class _Store:
    """The spans of all documents in three arrays, 10 bytes for each."""

    def __init__(self) -> None:
        self.starts, self.ends, self.tags = array("i"), array("i"), array("H")
        self.names: dict[str, int] = {}

    def add(self, start: int, end: int, tag: str) -> None:
        self.starts.append(start)
        self.ends.append(end)
        self.tags.append(self.names.setdefault(tag, len(self.names)))

    def finish(self, position: str) -> _Spans:
        classes = tuple(sorted(self.names))
        columns = np.empty(len(classes), np.uint16)
        for column, name in enumerate(classes):
            columns[self.names[name]] = column
        return _Spans(
            classes,
            np.array(self.starts, np.int32),
            np.array(self.ends, np.int32),
            columns[np.array(self.tags, np.uint16)],
            position,
        )


@dataclass(frozen=True)
class _Spans:
    """Labelled spans of all documents, (n,) each; a document's are made into Labels when asked."""

    classes: tuple[str, ...]
    starts: np.ndarray
    ends: np.ndarray
    tags: np.ndarray  # columns of `classes`
    position: str

    def labels(self, first: int, last: int) -> Labels:
        starts, ends = self.starts[first:last], self.ends[first:last]
        positions, of = place(starts, ends, self.position)
        classes = np.zeros((len(of), len(self.classes)), bool)
        classes[np.arange(len(of)), self.tags[first:last][of]] = True
        return Labels(positions, starts[of], ends[of], classes, np.zeros((len(of), 0), np.float32))


def _files(paths: Sequence[Path]) -> list[Path]:
    files = []
    for path in paths:
        found = files_below(path)
        if not found:
            raise InputError(f"{path}: no files in this folder")
        treebank = [file for file in found if suffix(file) in CONLLU]
        files += treebank if path.is_dir() and treebank else found
    return files


def _kind(files: list[Path]) -> tuple[Literal["conllu", "tagged", "text"], dict[Path, str]]:
    """What the files are, all the same, and the mark before the tags where they are word_TAG."""
    if all(suffix(path) in CONLLU for path in files):
        return "conllu", {}
    kinds: dict[str, Path] = {}
    marks = {}
    for path in files:
        marks[path] = "" if suffix(path) in CONLLU else separator(path)
        kind = "CoNLL-U" if suffix(path) in CONLLU else "word_TAG" if marks[path] else "plain text"
        kinds.setdefault(kind, path)
    if len(kinds) > 1:
        found = ", ".join(f"{path.name} is {kind}" for kind, path in kinds.items())
        raise InputError(f"files of several kinds: {found}; name those of one kind")
    return ("tagged" if "word_TAG" in kinds else "text"), marks


def _sentences(path: Path, kind: str, mark: str, column: str) -> Iterator[_Sentence]:
    if kind == "conllu":
        for sentence in conllu.read(path):
            spans = [
                (token.start, token.end, getattr(token, column))
                for token in sentence.tokens
                if getattr(token, column) != conllu.UNTAGGED
            ]
            shared = sentence.words - len(sentence.tokens)
            yield _Sentence(
                sentence.name, sentence.group, sentence.text, sentence.words, shared, spans
            )
        return
    for line in tag_text(path) if kind == "text" else read_tagged(path, mark):
        bytes_before = np.cumsum([0] + [len(character.encode()) for character in line.text])
        spans = [
            (int(bytes_before[start]), int(bytes_before[end]), tag)
            for (start, end), tag in zip(line.spans, line.tags, strict=True)
        ]
        name = f"{path.name}:{line.line}"
        yield _Sentence(name, name, line.text, len(line.tags), 0, spans)
