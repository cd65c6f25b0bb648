"""One block to one piece: parsed, cleaned, in ids, each document in its split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlstm.corpus import objects
from mlstm.corpus.cleaning import whole_cleaner
from mlstm.corpus.preparing.blocks import Block, too_long, unexpected
from mlstm.corpus.preparing.pieces import EXAMPLES, Part, Piece
from mlstm.corpus.sources import SPLITS
from mlstm.corpus.texts import place
from mlstm.corpus.vocabulary import Bytes, from_json
from mlstm.errors import InputError

ALL = "all"


@dataclass(frozen=True)
class Recipe:
    """What pieces depend on beside their text."""

    field: str
    cleaning: str
    vocabulary: dict[str, Any]
    end: str  # what is put behind a line
    fractions: list[float] | None  # of the splits; None puts documents in the order of their hashes

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class FileOf(NamedTuple):
    """The file that a block is of."""

    path: str
    name: str  # that its documents' names begin with
    format: str
    split: str | None  # where the source puts it


def make(block: Block, file: FileOf, recipe: Recipe) -> Piece:
    """Raises InputError where the file cannot be read any more."""
    vocabulary = from_json(recipe.vocabulary)
    encode = None if vocabulary == Bytes() else lambda text: vocabulary.encode(text).tobytes()
    clean = _cleaner(recipe, encode)
    piece = Piece()
    documents: list[bytes] = []
    numbers: list[int] = []
    number = block.record - 1
    for line, found in _records(block, file, recipe.field):
        number += 1
        try:
            if isinstance(found, InputError):
                raise found
            document = clean(found)
        except InputError as error:
            piece.broken += 1
            if len(piece.examples) < EXAMPLES:
                piece.examples.append([line, str(error)])
            continue
        except Exception as error:
            raise unexpected(place(file.path, line, file.format), error) from error
        piece.records += 1
        if document:
            documents.append(document)
            numbers.append(number)
        else:
            piece.empty += 1
    size = vocabulary.dtype().itemsize
    _divide(piece, documents, np.array(numbers, np.uint32), file, recipe.fractions, size)
    return piece


def name_hashes(name: str, numbers: np.ndarray) -> np.ndarray:
    """(documents,) uint64: the beginning of the sha256 of each document's name."""
    beginning = hashlib.sha256(f"{name}:".encode("utf-8", "surrogateescape"))
    found = []
    for number in numbers.tolist():
        each = beginning.copy()
        each.update(b"%d" % number)
        found.append(each.digest()[:8])
    return np.frombuffer(b"".join(found), ">u8").astype(np.uint64)


def _divide(
    piece: Piece,
    documents: list[bytes],
    numbers: np.ndarray,
    file: FileOf,
    fractions: list[float] | None,
    itemsize: int,
) -> None:
    lengths = np.fromiter(map(len, documents), np.int64, len(documents)) // itemsize
    lengths = lengths.astype(np.uint32)
    if file.split is not None:
        piece.parts[file.split] = Part(lengths, numbers, None, b"".join(documents))
        return
    hashes = name_hashes(file.name, numbers)
    if fractions is None:
        order = np.argsort(hashes, kind="stable")
        text = b"".join([documents[index] for index in order.tolist()])
        piece.parts[ALL] = Part(lengths[order], numbers[order], hashes[order], text)
        return
    split_of = splits_of(hashes, fractions)
    for number, split in enumerate(SPLITS):
        chosen = np.flatnonzero(split_of == number)
        text = b"".join([documents[index] for index in chosen.tolist()])
        piece.parts[split] = Part(lengths[chosen], numbers[chosen], None, text)


def splits_of(hashes: np.ndarray, fractions: list[float]) -> np.ndarray:
    """(documents,) the number of each one's split; as `sources.split_by_name`."""
    borders, border = [], 0.0
    for fraction in fractions:
        border += fraction
        borders.append(border)
    found = np.searchsorted(borders, hashes.astype(np.float64) / 2**64, side="right")
    last = max(number for number, fraction in enumerate(fractions) if fraction)
    return np.where(found == len(fractions), last, found)


def _cleaner(
    recipe: Recipe, encode: Callable[[bytes], bytes] | None
) -> Callable[[bytes | str], bytes]:
    """A raw text to what becomes of it; a str is one that UTF-8 can write."""
    end = recipe.end.encode()
    cleaned = whole_cleaner(recipe.cleaning) if recipe.cleaning != "none" else None

    def clean(text: bytes | str) -> bytes:
        if not text:
            return b""
        if cleaned is not None:
            data = cleaned(text)
        else:
            data = (text.encode() if isinstance(text, str) else text) + end
        return data if encode is None else encode(data)

    return clean


def _records(
    block: Block, file: FileOf, text_field: str
) -> Iterator[tuple[int, bytes | str | InputError]]:
    """The line and the raw text of each record, or why it is none."""
    if block.too_long is not None:
        yield block.line, InputError(too_long(block.too_long))
    elif block.rows is not None:
        for line, row in block.rows:
            yield line, row if isinstance(row, bytes) else InputError(row)
    elif file.format == "json":
        for line, data in enumerate(_read(block, file).split(b"\n"), block.line):
            if not data or data.isspace():
                continue
            try:
                text = objects.text_of(objects.read_object(data), text_field)
                if not text.isascii():
                    objects.encoded(text, text_field)
            except InputError as error:
                yield line, error
            except Exception as error:
                raise unexpected(place(file.path, line, file.format), error) from error
            else:
                yield line, text
    else:
        data = _read(block, file)
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for line, text in enumerate(lines, block.line):
            yield line, text.removesuffix(b"\r")


def _read(block: Block, file: FileOf) -> bytes:
    if block.data is not None:
        return block.data
    path = Path(file.path)
    try:
        with path.open("rb") as stream:
            stream.seek(block.start or 0)
            data = stream.read(block.size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) != block.size:
        raise InputError(f"{path} changed while it was read; try again")
    return data
