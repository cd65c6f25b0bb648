"""What becomes of one block: a file of ids, in the splits that its documents belong to.

A line of JSON, then for each split the lengths (uint32), the numbers (uint32) and, where the order
is that of hashes, the hashes (uint64) of its documents, and their ids. The line has the CRC of all
that follows, so that a piece which a power cut left in pieces is made again.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1
EXAMPLES = 20
"""How many broken records of a piece are named; the rest are counted."""


@dataclass
class Part:
    """The documents of a piece that are of one split."""

    lengths: np.ndarray  # (documents,) uint32: ids of each
    numbers: np.ndarray  # (documents,) uint32: of the records in their file
    hashes: np.ndarray | None  # (documents,) uint64, ascending
    ids: Any  # the bytes of the ids, one document after another


@dataclass
class Piece:
    parts: dict[str, Part] = field(default_factory=dict)
    records: int = 0  # documents and empty ones
    empty: int = 0
    broken: int = 0
    examples: list[list] = field(default_factory=list)  # [line, why] of the first


def write(piece: Piece, path: Path) -> None:
    """In one rename; who writes the same at the same time does no harm."""
    arrays = [
        np.frombuffer(array, np.uint8).data
        for part in piece.parts.values()
        for array in (part.lengths, part.numbers, part.hashes, part.ids)
        if array is not None and len(array)
    ]
    crc = 0
    for array in arrays:
        crc = zlib.crc32(array, crc)
    header = {
        "version": VERSION,
        "crc": crc,
        "parts": {
            split: [len(part.lengths), len(part.ids), part.hashes is not None]
            for split, part in piece.parts.items()
        },
        "records": piece.records,
        "empty": piece.empty,
        "broken": piece.broken,
        "examples": piece.examples,
    }
    beside = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    with beside.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        for array in arrays:
            file.write(array)
    os.replace(beside, path)


def read(path: Path) -> Piece | None:
    """The piece, None where it is not there or not whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    end = data.find(b"\n") + 1
    try:
        header = json.loads(data[:end])
        body = memoryview(data)[end:]
        if header["version"] != VERSION or zlib.crc32(body) != header["crc"]:
            return None
    except (ValueError, KeyError, TypeError):
        return None
    return _piece(header, _parts(header, body))


def header(path: Path) -> Piece | None:
    """A piece without its parts: what is known of its records. None where it is not there or says
    nothing; whether it is whole only `read` tells."""
    try:
        with path.open("rb") as file:
            return _piece(json.loads(file.readline()), {})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def opened(path: Path) -> dict[str, Part]:
    """The parts of a piece that is known to be whole: in a mapped file, of which only what is
    looked at is read."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    end = data.find(b"\n") + 1
    return _parts(json.loads(data[:end]), memoryview(data)[end:])


def _piece(header: dict[str, Any], parts: dict[str, Part]) -> Piece:
    numbers = (header["records"], header["empty"], header["broken"])
    return Piece(parts, *numbers, header["examples"])


def _parts(header: dict[str, Any], body: memoryview) -> dict[str, Part]:
    parts, place = {}, 0
    for split, (documents, size, hashed) in header["parts"].items():
        arrays: list[np.ndarray] = []
        for dtype in (np.uint32, np.uint32, *([np.uint64] if hashed else [])):
            arrays.append(
                np.frombuffer(body, dtype, documents, place) if documents else np.empty(0, dtype)
            )
            place += documents * np.dtype(dtype).itemsize
        hashes = arrays[2] if hashed else None
        parts[split] = Part(arrays[0], arrays[1], hashes, body[place : place + size])
        place += size
    return parts
