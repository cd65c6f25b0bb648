"""Files of records with named fields: csv and tsv with a header, and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mlstm.errors import InputError
from probing.tasks.text_files import read_lines, read_text, suffix

TSV, JSON_LINES = ".tsv", (".jsonl", ".json")
FIELD = 1 << 30  # characters; the csv module refuses a field above 131,072 by itself
SUFFIXES = (".csv", TSV, *JSON_LINES)


class Record(NamedTuple):
    line: int  # where it begins in its file, from 1
    text: str
    label: object  # as the file has it: csv and tsv have strings alone


class Fields(NamedTuple):
    """Where text and label are: the first of these names that a file has."""

    text: Sequence[str]
    label: Sequence[str]


def read_records(path: Path, fields: Fields) -> Iterator[Record]:
    """The records of a file, perhaps compressed.

    csv has quotes as RFC 4180 does, tsv none, as its media type has it. InputError with the line:
    a field that is not there (the message names those that are), a row with more or fewer fields
    than the header, what is no JSON object, a text that is no string.
    """
    if suffix(path) in JSON_LINES:
        return _json_lines(path, fields)
    return _rows(path, fields, tab=suffix(path) == TSV)


def _rows(path: Path, fields: Fields, *, tab: bool) -> Iterator[Record]:
    text = io.StringIO(read_text(path), newline="")
    csv.field_size_limit(FIELD)
    rows = (
        csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tab
        else csv.reader(text, strict=True)
    )
    line = 1
    try:
        header = next(rows, [])
        columns = [_name(path, 1, header, names, flag) for names, flag in _wanted(fields)]
        columns = [header.index(name) for name in columns]
        line = rows.line_num + 1
        for row in rows:
            if row and len(row) != len(header):
                raise InputError(
                    f"{path}:{line}: {len(row)} field(s), and the header names {len(header)}: "
                    f"{', '.join(header)}"
                )
            if row:
                yield Record(line, row[columns[0]], row[columns[1]])
            line = rows.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{line}: malformed csv: {error}") from None


def _json_lines(path: Path, fields: Fields) -> Iterator[Record]:
    for line, content in read_lines(path):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{line}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise InputError(f"{path}:{line}: not a JSON object, which has named fields")
        text, label = (
            record[_name(path, line, list(record), names, flag)] for names, flag in _wanted(fields)
        )
        if not isinstance(text, str):
            raise InputError(f"{path}:{line}: the text is {json.dumps(text)[:40]}, not a string")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{path}:{line}: the text is not Unicode: {error.reason}") from None
        yield Record(line, text, label)


def _wanted(fields: Fields) -> list[tuple[Sequence[str], str]]:
    return [(fields.text, "text_field"), (fields.label, "label_field")]


def _name(path: Path, line: int, there: list[str], names: Sequence[str], flag: str) -> str:
    """The first of `names` that is there. InputError where none is."""
    for name in names:
        if name in there:
            return name
    wanted = " or ".join(f'"{name}"' for name in names)
    raise InputError(
        f"{path}:{line}: no field {wanted} (fields: {', '.join(there) or 'none'}). "
        f"Name it with {flag}."
    )
