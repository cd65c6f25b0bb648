"""The texts of one file, in order: a line, a row of a table or an object each, or an article.

A .csv or .tsv has a header, a .parquet columns, and a .jsonl or .json an object on each line, of
which one field is the text; of any other file each line is one. A name that ends in .gz, .bz2, .xz
or .zst is decompressed.
"""

from __future__ import annotations

import csv
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlstm.corpus import objects, parquet, wikitext
from mlstm.corpus.files import read_chunks, refuse_utf16, text_name, user_path
from mlstm.errors import InputError

FORMATS = ("auto", "lines", "json", "csv", "tsv", "parquet", "wikitext", "wikitext_lines")
_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
_CARRIAGE = (
    "a line ends in a bare carriage return, as of old; make it a line feed "
    "(tr '\\r' '\\n' <OLD >NEW)"
)


class Record(NamedTuple):
    """A text, and all fields of its row or object: name and value of each, in their order."""

    text: bytes
    fields: list[tuple[str, Any]]
    line: int = 0


class Broken(NamedTuple):
    """What is no record: its line, and why."""

    line: int
    why: str


class TooLong(NamedTuple):
    """A line that was not kept."""

    size: int

    def why(self, longest: int) -> str:
        return f"{self.size:,} bytes, longer than the {longest:,} that a record may have"


def read_texts(path: str | os.PathLike, field: str = "text") -> list[bytes]:
    """The texts as bytes, UTF-8 or not; an empty line of plain text is an empty text.

    field: of a .csv, .tsv, .jsonl or .parquet, which one holds the text; where there is no "text",
    "reviewText" is. Raises InputError, with the number of the line, where it is not there or a
    line is damaged.
    """
    return [record.text for record in read_records(path, field)]


def are_lines(path: str | os.PathLike) -> bool:
    """Whether the texts of a file are its lines, and no fields of rows or objects."""
    return format_of(user_path(path)) == "lines"


def read_records(path: str | os.PathLike, field: str = "text") -> Iterator[Record]:
    """As `read_texts`, one after another and with the other fields; those of a line of plain text
    are ("text", the line). What is not UTF-8 is escaped by surrogates."""
    path = user_path(path)
    format = format_of(path)
    for record in parsed(path, format, field):
        if isinstance(record, Broken):
            raise InputError(f"{place(path, record.line, format)}: {record.why}")
        yield record


def place(path: str | os.PathLike, line: int, format: str) -> str:
    """Of a record, for an error. A file that has no lines has numbers of records."""
    return f"{path}: record {line}" if format == "parquet" else f"{path}:{line}"


def parsed(
    path: Path, format: str, field: str = "text", longest: int = sys.maxsize, *, alone: bool = False
) -> Iterator[Record | Broken]:
    """The records of a file in a format (`format_of`), and what is none. longest: bytes of a line,
    a longer one is none, and of an article, which is cut there; alone: of a .parquet no other field
    is read. Raises InputError where the file as a whole cannot be read."""
    if format == "parquet":
        return _columns(path, field, alone)
    found = lines(path, longest)
    if format in ("csv", "tsv"):
        return _table(path, found, field, longest, tab=format == "tsv")
    if format == "json":
        return _objects(found, field, longest)
    if format == "wikitext":
        articles = wikitext.articles(found, longest=longest)
        return (_plain(number, text, longest) for number, text in articles)
    numbered = ((number, _without_end(line)) for number, line in enumerate(found, 1))
    if format == "wikitext_lines":
        numbered = (
            (number, line)
            for number, line in numbered
            if isinstance(line, TooLong) or (line.strip() and not wikitext.is_heading(line))
        )
    return (_plain(number, line, longest) for number, line in numbered)


def format_of(path: Path) -> str:
    """How the texts lie in a file, from its name."""
    return _OF_SUFFIX.get(Path(text_name(path.name)).suffix.lower(), "lines")


def _plain(number: int, text: bytes | TooLong, longest: int) -> Record | Broken:
    if isinstance(text, TooLong):
        return Broken(number, text.why(longest))
    return Record(text, [("text", text.decode("utf-8", "surrogateescape"))], number)


def _without_end(line: bytes | TooLong) -> bytes | TooLong:
    if isinstance(line, TooLong):
        return line
    return line.removesuffix(b"\n").removesuffix(b"\r")


def lines(path: Path, longest: int = sys.maxsize) -> Iterator[bytes | TooLong]:
    """With their ends, but perhaps the last; of one of more than `longest` bytes the size."""
    rest: list[bytes] = []
    size = 0
    for place, (chunk, _) in enumerate(read_chunks(path)):
        if not place:
            refuse_utf16(path, chunk)
        first, *others = chunk.split(b"\n")
        for part, whole in itertools.zip_longest([first, *others], [True] * len(others)):
            size += len(part)
            if size <= longest:
                rest.append(part)
            else:
                rest.clear()
            if whole:
                yield b"".join([*rest, b"\n"]) if size <= longest else TooLong(size)
                rest, size = [], 0
    if size > longest:
        yield TooLong(size)
    elif size:
        yield b"".join(rest)


class _Decoded:
    """The lines of a table as text; `number` is that of the last. Raises _LongLine for one that is
    too long, and goes on behind it."""

    def __init__(self, lines: Iterable[bytes | TooLong]):
        self.lines, self.number = iter(lines), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.number += 1
        if isinstance(line, TooLong):
            raise _LongLine(line)
        return line.decode("utf-8", "surrogateescape")


class _LongLine(Exception):
    pass


def _table(
    path: Path, lines: Iterable[bytes | TooLong], field: str, longest: int, *, tab: bool
) -> Iterator[Record | Broken]:
    decoded = _Decoded(lines)
    rows = (  # quotes are those of RFC 4180; tab-separated values have none
        csv.reader(decoded, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tab
        else csv.reader(decoded, strict=True)
    )
    kind, header, place = "TSV" if tab else "CSV", None, 0
    while True:
        # A text may be longer than the 128 KiB of the default; it is one number for all readers.
        csv.field_size_limit(longest)
        line = decoded.number + 1  # where a row begins, which may have several
        try:
            row = next(rows, None)
        except csv.Error as error:
            why = f"no {kind}: {_CARRIAGE if 'new-line character' in str(error) else error}"
            if header is None:
                raise InputError(f"{path}:{line}: {why}") from None
            yield Broken(line, why)
            continue
        except _LongLine as error:
            why = error.args[0].why(longest)
            if header is None:
                raise InputError(f"{path}:{decoded.number}: no {kind}: {why}") from None
            yield Broken(decoded.number, why)
            continue
        if header is None:
            header, place = _header(path, row, field)
        elif row is None:
            return
        elif row and len(row) != len(header):
            yield Broken(line, f"{len(row)} fields; the header names {len(header)}")
        elif row:
            text = row[place].encode("utf-8", "surrogateescape")
            yield Record(text, list(zip(header, row, strict=True)), line)


def _header(path: Path, row: list[str] | None, field: str) -> tuple[list[str], int]:
    if row is None:
        raise InputError(f"{path} is empty; a table begins with the names of its fields")
    if row:
        row[0] = row[0].removeprefix("\ufeff")
    try:
        return row, row.index(objects.field_among(row, field))
    except InputError as error:
        raise InputError(f"{path}:1: {error}") from None


def _objects(
    lines: Iterable[bytes | TooLong], field: str, longest: int
) -> Iterator[Record | Broken]:
    for number, line in enumerate(lines, 1):
        if isinstance(line, TooLong):
            yield Broken(number, line.why(longest))
            continue
        if not line.strip():
            continue
        try:
            found = objects.read_object(line)
            text = objects.encoded(objects.text_of(found, field), field)
        except InputError as error:
            yield Broken(number, str(error))
        else:
            yield Record(text, list(found.items()), number)


def _columns(path: Path, field: str, alone: bool) -> Iterator[Record | Broken]:
    names = parquet.columns(path)
    try:
        name = objects.field_among(names, field)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    names = [name] if alone else names
    for number, values in enumerate(parquet.rows(path, names), 1):
        fields = dict(zip(names, values, strict=True))
        if isinstance(text := fields[name], bytes):
            yield Record(text, list(fields.items()), number)
            continue
        try:
            text = objects.encoded(objects.text_of({name: text}, name), name)
        except InputError as error:
            yield Broken(number, str(error))
        else:
            yield Record(text, list(fields.items()), number)
