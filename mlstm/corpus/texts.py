"""The texts of one file, in order: a line, a row of a table or a JSON object each.

A .csv has a header and a .jsonl has objects, of which one field is the text; of any other file each
line is one. A name that ends in .gz, .bz2, .xz or .zst is decompressed.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlstm.corpus.files import read_chunks, text_name, user_path
from mlstm.errors import InputError


def read_texts(path: str | os.PathLike, field: str = "text") -> list[bytes]:
    """The texts as bytes, UTF-8 or not; an empty line of plain text is an empty text.

    field: of a .csv or .jsonl, which one holds the text. Raises InputError, with the number of the
    line, where it is not there or a line is damaged.
    """
    path = user_path(path)
    kind = Path(text_name(path.name)).suffix.lower()
    lines = _lines(path)
    if kind == ".csv":
        return list(_table(path, lines, field))
    if kind in (".jsonl", ".ndjson"):
        return list(_objects(path, lines, field))
    return [line.removesuffix(b"\n").removesuffix(b"\r") for line in lines]


def _lines(path: Path) -> Iterator[bytes]:
    """With their ends, but perhaps the last."""
    rest = b""
    for chunk, _ in read_chunks(path):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def _table(path: Path, lines: Iterable[bytes], field: str) -> Iterator[bytes]:
    csv.field_size_limit(sys.maxsize)  # a text may be longer than the 128 KiB of the default
    decoded = (line.decode("utf-8", "surrogateescape") for line in lines)
    rows = csv.reader(decoded, strict=True)
    try:
        header = next(rows, None)
        if header is None:
            raise InputError(f"{path} is empty; a .csv begins with the names of its fields")
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
            yield row[place].encode("utf-8", "surrogateescape")
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: no CSV: {error}") from None


def _objects(path: Path, lines: Iterable[bytes], field: str) -> Iterator[bytes]:
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
            yield text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{path}:{number}: field {json.dumps(field)} has half of a surrogate pair"
            ) from None


def _no_field(field: str, fields: Iterable[str]) -> str:
    return f'no field "{field}" (fields: {", ".join(fields)}). Name it with --text_field'
