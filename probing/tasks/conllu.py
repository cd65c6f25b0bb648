"""CoNLL-U, the format of Universal Dependencies: each word a span of the bytes of its sentence.

The format: https://universaldependencies.org/format.html. A sentence's text is its `# text`; the
words are found in it in their order, SpaceAfter=No being exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlstm.errors import InputError
from probing.tasks.text_files import read_lines

COLUMNS = 10
UNTAGGED = "_"

_COMMENT = re.compile(r"#\s*(text|sent_id|newdoc(?:\s+id)?)\s*(?:=\s*(.*?)\s*)?$")
_RANGE = re.compile(r"([1-9][0-9]*)-([1-9][0-9]*)")
_EMPTY_NODE = re.compile(r"[0-9]+\.[1-9][0-9]*")


class Token(NamedTuple):
    """A piece of a sentence's text with tags of its own: its bytes [start, end)."""

    start: int
    end: int
    upos: str
    xpos: str


class Sentence(NamedTuple):
    name: str  # its sent_id, or file name and line
    group: str  # the document that it is of (`# newdoc`); its own name where there are none
    text: str
    words: int  # syntactic words: as many lines of 1, 2, 3, ...
    tokens: tuple[Token, ...]


class _Row(NamedTuple):
    line: int
    form: str
    upos: str
    xpos: str
    space_after: bool


class _Surface(NamedTuple):
    """What stands in the text as one piece: a word, or the words of a multiword token."""

    row: _Row
    words: list[_Row]


def read(path: Path) -> Iterator[Sentence]:
    """The sentences of a file.

    The words of a multiword token have spans of their own where their forms, one after another,
    spell it (don't: do, n't). Where they do not (French du: de, le), they are one token whose tag
    is theirs, joined: ADP+DET. Empty nodes (5.1) have no bytes and are left out.

    InputError with the file and line: not 10 columns, ids out of order, no `# text`, words that
    are not those of the text.
    """
    group, documents, comments, rows = "", 0, {}, []
    first = 0
    for line, content in [*read_lines(path), (0, "")]:
        if content.startswith("#") and not rows:
            first = first or line
            if match := _COMMENT.match(content):
                comments[match[1].split()[0]] = match[2] or ""
                if match[1].startswith("newdoc"):
                    documents += 1
                    group = match[2] or f"{path.name}: document {documents}"
        elif content.strip():
            first = first or line
            rows.append((line, content))
        elif first:
            if rows or "text" in comments:
                name = comments.get("sent_id") or f"{path.name}:{first}"
                yield _sentence(path, first, name, group or name, comments, rows)
            first, comments, rows = 0, {}, []


def _sentence(
    path: Path,
    first: int,
    name: str,
    group: str,
    comments: dict[str, str],
    rows: list[tuple[int, str]],
) -> Sentence:
    if not comments.get("text"):
        raise InputError(
            f"{path}:{first}: a sentence without its # text = ..., which says where its words are"
        )
    surfaces, words = _surfaces(path, rows)
    if not words:
        raise InputError(f"{path}:{first}: a sentence without words")
    return Sentence(name, group, comments["text"], words, _place(path, comments["text"], surfaces))


def _surfaces(path: Path, rows: list[tuple[int, str]]) -> tuple[list[_Surface], int]:
    surfaces: list[_Surface] = []
    words, last = 0, 0  # words read; the last of the multiword token that is open
    for line, content in rows:
        columns = content.split("\t")
        if len(columns) != COLUMNS:
            raise InputError(
                f"{path}:{line}: {len(columns)} columns; CoNLL-U has {COLUMNS}, with tabs between"
            )
        number, form, _, upos, xpos, *_, misc = columns
        if _EMPTY_NODE.fullmatch(number):
            continue
        if not form:
            raise InputError(f"{path}:{line}: an empty FORM")
        row = _Row(line, form, upos, xpos, "SpaceAfter=No" not in misc.split("|"))
        if number == str(words + 1):
            words += 1
            if words <= last:
                surfaces[-1].words.append(row)
            else:
                surfaces.append(_Surface(row, [row]))
        elif match := _RANGE.fullmatch(number):
            start, end = int(match[1]), int(match[2])
            if start != words + 1 or end < start or words < last:
                raise InputError(
                    f"{path}:{line}: a multiword token {number} where word {words + 1} is next"
                )
            surfaces.append(_Surface(row, []))
            last = end
        else:
            raise InputError(f"{path}:{line}: id {number!r} where word {words + 1} is next")
    if words < last:
        raise InputError(f"{path}:{rows[-1][0]}: word {last} of a multiword token is missing")
    return surfaces, words


def _place(path: Path, text: str, surfaces: list[_Surface]) -> tuple[Token, ...]:
    """The tokens of a sentence, found in its text from left to right."""
    tokens: list[Token] = []
    place, byte = 0, 0
    for surface in surfaces:
        row = surface.row
        if not text.startswith(row.form, place):
            raise InputError(
                f"{path}:{row.line}: {row.form!r} is not what # text goes on with, "
                f"{text[place : place + 20]!r}"
            )
        for length, word in _pieces(surface):
            end = byte + len(text[place : place + length].encode())
            tokens.append(Token(byte, end, word.upos, word.xpos))
            place, byte = place + length, end
        after = place
        while row.space_after and place < len(text) and text[place].isspace():
            place += 1
        if row.space_after and place == after < len(text):
            raise InputError(
                f"{path}:{row.line}: no space after {row.form!r} in # text, and no SpaceAfter=No"
            )
        byte += len(text[after:place].encode())
    if place < len(text):
        raise InputError(
            f"{path}:{surfaces[-1].row.line}: # text goes on after the last word: "
            f"{text[place : place + 20]!r}"
        )
    return tuple(tokens)


def _pieces(surface: _Surface) -> list[tuple[int, _Row]]:
    """(length in characters, tags) of each piece of the surface: its words, where one after
    another they spell it (case apart: DON'T is do, n't), else the whole."""
    row, words = surface
    if len(words) == 1:
        return [(len(row.form), words[0])]
    spelling = "".join(word.form for word in words)
    if len(spelling) == len(row.form) and spelling.casefold() == row.form.casefold():
        return [(len(word.form), word) for word in words]
    upos, xpos = _joined([word.upos for word in words]), _joined([word.xpos for word in words])
    return [(len(row.form), row._replace(upos=upos, xpos=xpos))]


def _joined(tags: list[str]) -> str:
    return UNTAGGED if UNTAGGED in tags else "+".join(tags)
