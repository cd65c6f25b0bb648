"""The texts of one file, in order: a line, a row of a table or a JSON object each.

A .csv or .tsv has a header and a .jsonl has objects, of which one field is the text; of any other
file each line is one. A name that ends in .gz, .bz2, .xz or .zst is decompressed.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlstm.corpus.files import read_chunks, text_name, user_path
from mlstm.errors import InputError

_TABLES, _OBJECTS = (".csv", ".tsv"), (".jsonl", ".ndjson")


class Record(NamedTuple):
    """A text, and all fields of its row or object: name and value of each, in their order."""

    text: bytes
    fields: list[tuple[str, Any]]


def read_texts(path: str | os.PathLike, field: str = "text") -> list[bytes]:
    """The texts as bytes, UTF-8 or not; an empty line of plain text is an empty text.

    field: of a .csv, .tsv or .jsonl, which one holds the text. Raises InputError, with the number
    of the line, where it is not there or a line is damaged.
    """
    return [record.text for record in read_records(path, field)]


def are_lines(path: str | os.PathLike) -> bool:
    """Whether the texts of a file are its lines, and no fields of rows or objects."""
    return _kind(user_path(path)) not in (*_TABLES, *_OBJECTS)


def read_records(path: str | os.PathLike, field: str = "text") -> Iterator[Record]:
    """As `read_texts`, one after another and with the other fields; those of a line of plain text
    are ("text", the line). What is not UTF-8 is escaped by surrogates."""
    path = user_path(path)
    kind = _kind(path)
    lines = _lines(path)
    if kind in _TABLES:
        yield from _table(path, lines, field, tab=kind == ".tsv")
    elif kind in _OBJECTS:
        yield from _objects(path, lines, field)
    else:
        for line in lines:
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            yield Record(text, [("text", text.decode("utf-8", "surrogateescape"))])


def _kind(path: Path) -> str:
    return Path(text_name(path.name)).suffix.lower()


def _lines(path: Path) -> Iterator[bytes]:
    """With their ends, but perhaps the last."""
    rest = b""
    for chunk, _ in read_chunks(path):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def _table(path: Path, lines: Iterable[bytes], field: str, *, tab: bool) -> Iterator[Record]:
    csv.field_size_limit(sys.maxsize)  # a text may be longer than the 128 KiB of the default
    decoded = (line.decode("utf-8", "surrogateescape") for line in lines)
    rows = (  # quotes are those of RFC 4180; tab-separated values have none
        csv.reader(decoded, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tab
        else csv.reader(decoded, strict=True)
    )
    try:
        header = next(rows, None)
        if header is None:
            raise InputError(f"{path} is empty; a table begins with the names of its fields")
        header[0] = header[0].removeprefix("\ufeff")
        place = header.index(field) if field in header else None
        if place is None:
            raise InputError(f"{path}:1: {_no_field(field, header)}")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}:{rows.line_num}: {len(row)} fields; the header names {len(header)}"
                )
            text = row[place].encode("utf-8", "surrogateescape")
            yield Record(text, list(zip(header, row, strict=True)))
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: no {'TSV' if tab else 'CSV'}: {error}") from None


def _objects(path: Path, lines: Iterable[bytes], field: str) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{number}: no JSON: {error}") from None
        if not isinstance(found, dict):
            raise InputError(f'{path}:{number}: no object; a line is one, as {{"text": "..."}}')
        if field not in found:
            raise InputError(f"{path}:{number}: {_no_field(field, found)}")
        text = found[field]
        if not isinstance(text, str):
            raise InputError(
                f"{path}:{number}: field {json.dumps(field)} is {json.dumps(text)[:40]}, no text"
            )
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{path}:{number}: field {json.dumps(field)} has half of a surrogate pair"
            ) from None
        yield Record(encoded, list(found.items()))


def _no_field(field: str, fields: Iterable[str]) -> str:
    return f'no field "{field}" (fields: {", ".join(fields)}). Name it with --text_field'
