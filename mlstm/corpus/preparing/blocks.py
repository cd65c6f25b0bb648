"""A file of records cut into blocks, so that several processes can work on it.

Lines of plain files are named by their place alone and read by whoever works on them; what is
compressed, and rows that only a parser can tell apart, are read here and handed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus import texts, wikitext
from mlstm.corpus.files import compression, read_chunks, read_raw, refuse_utf16
from mlstm.errors import InputError

BLOCK_BYTES = 16 << 20
LONGEST = 32 << 20
"""Bytes of a record; a longer one is left out and told, an article cut: memory is bounded."""
_BLANK = (0x20, 0x09, 0x0D, 0x0B, 0x0C, 0x0A)


Row = tuple[int, bytes | str]
"""The line of a row or an article, or its number where a file has no lines; and its text, or why
it has none."""


class Unexpected(InputError):
    """What nobody has thought of: it ends the work, also where others would be left out."""


@dataclass(frozen=True)
class Block:
    """Records next to each other in a file, one of these: a place in it, lines, rows, or a line
    that is too long."""

    file: int
    number: int  # among the file's blocks
    line: int  # of its first record, from 1
    record: int  # the number of its first record, from 1
    size: int  # bytes of the file on disk that it stands for
    start: int | None = None  # where it begins, of a plain file
    data: bytes | None = None
    rows: list[Row] | None = None
    too_long: int | None = None


@dataclass
class Survey:
    """What is known of a file when all of it has been cut."""

    blocks: int = 0
    sha256: str | None = None
    error: str | None = None  # why it cannot be read to its end
    ranges: list[list[int]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return vars(self)


def blocks(
    path: Path,
    file: int,
    format: str,
    text_field: str,
    block_bytes: int,
    survey: Survey,
    headings: bool,
) -> Iterator[Block]:
    """The blocks of a file, which is read from its begin to its end, and then once more for its
    sha256 where its bytes are not those of the blocks; `survey` is filled when they are at an end.
    A file that cannot be read to its end has the blocks up to there, and `survey.error`: it is left
    out as a whole. What is no record or too long is a broken row, and the others are kept."""
    try:
        if format == "json":
            _refuse_array(path)
        if format in ("lines", "json"):
            cut = _Lines(path, file, skip_blank=format == "json", block_bytes=block_bytes)
            yield from cut.blocks(survey)
        else:
            rows = _expected(_rows(path, format, text_field, headings), path, format)
            yield from _row_blocks(path, file, rows, block_bytes, survey)
            survey.sha256 = _digest(path)
    except Unexpected:
        raise
    except InputError as error:
        survey.error = str(error)


def _refuse_array(path: Path) -> None:
    """Of an array over several lines the last object alone could be read."""
    lines = texts.lines(path, LONGEST)
    first = next((line for line in lines if isinstance(line, texts.TooLong) or line.strip()), b"")
    text = first.strip(b"\xef\xbb\xbf \t\r\n") if isinstance(first, bytes) else b""
    if text.startswith(b"[") and not text.endswith(b"]"):
        raise InputError(f"{path} is a JSON array; an object on each line is wanted")


class _Lines:
    """Cuts lines at the end of the chunk in which a block is full."""

    def __init__(self, path: Path, file: int, *, skip_blank: bool, block_bytes: int):
        self.path, self.file, self.limit = path, file, block_bytes
        self.skip_blank = skip_blank
        self.plain = not compression(path)
        self.number, self.line, self.record = 0, 1, 1
        self.told = 0  # bytes on disk of the blocks so far

    def blocks(self, survey: Survey) -> Iterator[Block]:
        content = hashlib.sha256()
        place = begin = line_begin = 0  # of the text read, of the block, of the last line in it
        kept: list[bytes] = []
        consumed = 0
        for chunk, consumed in self._chunks():
            if self.plain:
                content.update(chunk)
            if not place:
                refuse_utf16(self.path, chunk)
            if place - line_begin > LONGEST:  # in the middle of a line that is too long
                end = chunk.find(b"\n") + 1
                if not end:
                    place += len(chunk)
                    continue
                place += end
                yield self._too_long(place - line_begin - 1, consumed)
                begin = line_begin = place
                chunk = chunk[end:]
            kept.append(chunk)
            end = chunk.rfind(b"\n") + 1
            if end:
                line_begin = place + end
            place += len(chunk)
            if end and line_begin - begin >= self.limit:
                kept[-1], rest = chunk[:end], chunk[end:]
                yield self._block(kept, begin, consumed)
                begin, kept = line_begin, [rest]
            elif place - line_begin > LONGEST:
                whole = self._until(kept, line_begin - begin)
                if whole:
                    yield self._block(whole, begin, consumed)
                begin, kept = line_begin, []
        if place - line_begin > LONGEST:
            yield self._too_long(place - line_begin, consumed)
        elif place > begin:
            yield self._block(kept, begin, consumed)
        survey.blocks = self.number
        survey.sha256 = content.hexdigest() if self.plain else _digest(self.path)

    def _chunks(self) -> Iterator[tuple[bytes, int]]:
        """Those of the file, none longer than a block."""
        for chunk, consumed in read_chunks(self.path):
            for begin in range(0, len(chunk), self.limit):
                yield chunk[begin : begin + self.limit], consumed

    @staticmethod
    def _until(kept: list[bytes], size: int) -> list[bytes]:
        """The first `size` bytes."""
        found = []
        for chunk in kept:
            if size <= 0:
                break
            found.append(chunk[:size])
            size -= len(chunk)
        return found

    def _block(self, chunks: list[bytes], begin: int, consumed: int) -> Block:
        size = sum(map(len, chunks))
        lines, blank = _count(chunks, self.skip_blank)
        block = Block(
            self.file,
            self.number,
            self.line,
            self.record,
            size if self.plain else consumed - self.told,
            start=begin if self.plain else None,
            data=None if self.plain else b"".join(chunks),
        )
        self.number, self.told = self.number + 1, consumed
        self.line, self.record = self.line + lines, self.record + lines - blank
        return block

    def _too_long(self, size: int, consumed: int) -> Block:
        block = Block(
            self.file,
            self.number,
            self.line,
            self.record,
            size if self.plain else consumed - self.told,
            too_long=size,
        )
        self.number, self.told = self.number + 1, consumed
        self.line, self.record = self.line + 1, self.record + 1
        return block


def _count(chunks: list[bytes], skip_blank: bool) -> tuple[int, int]:
    """Lines of a block, and how many of them are blank."""
    ends, objects_begun, at_begin = 0, 0, True
    for chunk in filter(None, chunks):
        ends += chunk.count(b"\n")
        objects_begun += chunk.count(b"\n{") + (at_begin and chunk.startswith(b"{"))
        at_begin = chunk.endswith(b"\n")
    lines = ends + (not at_begin)
    if not skip_blank or lines == objects_begun:  # nearly always: each line is an object
        return lines, 0
    data = b"".join(chunks)
    codes = np.frombuffer(data, np.uint8)
    begins = np.concatenate([[0], np.flatnonzero(codes == 0x0A) + 1])
    begins = begins[begins < len(codes)]
    blank = 0
    for begin in begins[np.isin(codes[begins], _BLANK)].tolist():
        stop = data.find(b"\n", begin)
        blank += not data[begin : len(data) if stop < 0 else stop].strip()
    return lines, blank


def _rows(path: Path, format: str, text_field: str, headings: bool) -> Iterator[Row]:
    if format == "wikitext":
        lines = texts.lines(path, LONGEST)
        for number, text in wikitext.articles(lines, headings=headings, longest=LONGEST):
            yield number, too_long(text.size) if isinstance(text, texts.TooLong) else text
        return
    found = texts.parsed(path, format, text_field, LONGEST, alone=True)
    for record in found:
        if isinstance(record, texts.Broken):
            yield record.line, record.why
        elif len(record.text) > LONGEST:
            yield record.line, too_long(len(record.text))
        else:
            yield record.line, record.text


def _row_blocks(
    path: Path,
    file: int,
    rows: Iterator[Row],
    block_bytes: int,
    survey: Survey,
) -> Iterator[Block]:
    size = path.stat().st_size
    kept: list[Row] = []
    record, number, bytes_kept, told, text = 1, 0, 0, 0, 0
    for row in rows:
        kept.append(row)
        bytes_kept += 64 + len(row[1])
        if bytes_kept >= block_bytes:
            text += bytes_kept
            done = min(size, text)  # about: a parser does not tell how far it is
            yield Block(file, number, 1, record, done - told, rows=kept)
            record, number, told = record + len(kept), number + 1, done
            kept, bytes_kept = [], 0
    if kept:
        yield Block(file, number, 1, record, size - told, rows=kept)
        number += 1
    survey.blocks = number


def _expected(rows: Iterator[Row], path: Path, format: str) -> Iterator[Row]:
    line = 0
    try:
        for row in rows:
            line = row[0]
            yield row
    except InputError:
        raise
    except Exception as error:
        raise unexpected(texts.place(path, line + 1, format), error) from error


def unexpected(place: str, error: Exception) -> Unexpected:
    said = " ".join(str(error).split())[:200]
    return Unexpected(f"{place}: unexpected: {type(error).__name__}: {said}")


def too_long(size: int) -> str:
    return f"{size:,} bytes, longer than the {LONGEST:,} that a record may have"


def _digest(path: Path) -> str:
    content = hashlib.sha256()
    for data in read_raw(path):
        content.update(data)
    return content.hexdigest()
