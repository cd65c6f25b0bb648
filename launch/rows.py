"""Texts of a file with their fields, and the rows that they become."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlstm.corpus.texts import Record, read_records
from mlstm.errors import InputError, TextError

PIECE_TEXTS, PIECE_BYTES = 1024, 1 << 22  # what is held in memory at a time


class Texts:
    """Those of a .csv, .tsv, .jsonl or of a file with one a line."""

    def __init__(self, file: str, field: str, added: list[str]):
        """field: which one is the text; added: the names of those that each text is to get. Reads
        the file whole, so that what is wrong in it is said before the work."""
        self.file, self.field = file, field
        names: dict[str, None] = {}
        self.count = self.bytes = 0
        for record in read_records(file, field):
            self.count += 1
            here = [name for name, _ in record.fields]
            if len(set(here)) < len(here):
                twice = next(name for name in here if here.count(name) > 1)
                raise InputError(f'{file}:1: two fields have the name "{twice}"')
            names.update(dict.fromkeys(here))
            self.bytes += len(record.text)
        if clash := [name for name in added if name in names]:
            raise InputError(f'{file}: has a field "{clash[0]}", which is added: rename it')
        self.names = [*names, *added]
        """All fields of a row, in the order in which they appear."""

    def pieces(self) -> Iterator[list[Record]]:
        """The texts in their order, some at a time. InputError where they are not as they were."""
        piece: list[Record] = []
        size = done = read = 0
        for record in read_records(self.file, self.field):
            piece.append(record)
            size += len(record.text)
            done, read = done + 1, read + len(record.text)
            if len(piece) == PIECE_TEXTS or size >= PIECE_BYTES:
                yield piece
                piece, size = [], 0
        if piece:
            yield piece
        if (done, read) != (self.count, self.bytes):
            raise InputError(f"{self.file}: changed while it was read, or is a pipe; give a file")


@contextlib.contextmanager
def told_by_line(file: str, piece: list[Record]) -> Iterator[None]:
    """What is wrong in a text of a piece, or of several texts for each of its records that follow
    one another, is told with the line of the file."""
    try:
        yield
    except TextError as error:
        line = piece[error.number % len(piece)].line
        raise InputError(f"{file}:{line}: {error.why}") from None


class Rows:
    """Lines of a .csv, a .tsv, or of a .jsonl, by the name of the output."""

    def __init__(self, output: Path, names: list[str]):
        self.output, self.names = output, names
        self.table = {".csv": _csv_line, ".tsv": _tsv_line}.get(output.suffix)

    def header(self) -> bytes:
        return self.table(self.names) if self.table else b""

    def line(self, row: dict[str, Any]) -> bytes:
        """Raises InputError for a value that a .tsv has no place for."""
        if self.table is None:
            return _json_line(row)
        try:
            return self.table([row.get(name) for name in self.names])
        except ValueError as error:
            raise InputError(f"{self.output}: {error}: write .csv or .jsonl") from None


@contextlib.contextmanager
def written(
    output: Path | None, texts: Texts
) -> Iterator[Callable[[Record, dict[str, Any]], None]]:
    """What writes a row with its new fields; the file is there when the block has ended. Without
    an output, and in all processes but the first, nothing is written."""
    from mlstm import job
    from mlstm.output import writing

    if output is None or not job.is_first():
        yield lambda record, new: None
        return
    rows = Rows(output, texts.names)
    with writing(output) as file:
        if texts.count:
            file.write(rows.header())

        def write(record: Record, new: dict[str, Any]) -> None:
            file.write(rows.line(dict(record.fields) | new))

        yield write


def _csv_line(values: list[Any]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow([_plain(value) for value in values])
    return line.getvalue().encode("utf-8", "surrogateescape")


def _tsv_line(values: list[Any]) -> bytes:
    """As `mlstm.corpus.texts` reads it: without quotes."""
    cells = [str(_plain(value)) for value in values]
    for cell in cells:
        if any(mark in cell for mark in "\t\n\r"):
            raise ValueError(
                f"{cell[:40]!r} has a tab or a line end, which a .tsv has no place for"
            )
    return ("\t".join(cells) + "\n").encode("utf-8", "surrogateescape")


def _plain(value: Any) -> str | float:
    if value is None:
        return ""
    return value if isinstance(value, str | float) else json.dumps(value)


def _json_line(row: dict[str, Any]) -> bytes:
    """Bytes that are not UTF-8, which JSON has no place for, become U+FFFD."""
    line = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return line.decode("utf-8", "replace").encode() + b"\n"
