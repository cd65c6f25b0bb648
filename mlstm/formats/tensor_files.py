"""The container of .safetensors: named arrays behind a header of JSON; sizes are checked first.

8 bytes, little-endian: how long the header is; the header, {"__metadata__": {name: text}, name:
{"dtype", "shape", "data_offsets": [start, stop]}}, spaces at its end; then the arrays' bytes, one
after another without a gap.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlstm.errors import InputError
from mlstm.formats.arrays import is_possible

_LONGEST = 8 << 20
"""Bytes of a header: some tens of thousands of arrays. The format itself allows 100 MB."""
_AXES = 8
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}
_ALIGNED = 8


@dataclass(frozen=True)
class Header:
    """What a file says that it holds, checked against its size."""

    metadata: dict[str, str]
    entries: dict[str, dict[str, Any]]
    start: int
    """Where the arrays begin."""


def looks_like(path: Path) -> bool:
    """Whether a file begins as one does."""
    try:
        with path.open("rb") as file:
            beginning = file.read(9)
        return (
            len(beginning) == 9
            and beginning[8:] == b"{"
            and struct.unpack("<Q", beginning[:8])[0] + 8 <= path.stat().st_size
        )
    except OSError:
        return False


def read_header(path: Path) -> Header:
    """The header, which takes all of the file to account for. Raises InputError."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            count = file.read(8)
            length = struct.unpack("<Q", count)[0] if len(count) == 8 else -1
            if not 2 <= length <= size - 8:
                raise _damaged(path, f"a header of {length} bytes in a file of {size}")
            if length > _LONGEST:
                raise _damaged(path, f"a header of {length} bytes; at most {_LONGEST} are read")
            text = file.read(length)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        said = json.loads(text, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is no JSON ({error})") from None
    if not isinstance(said, dict):
        raise _damaged(path, "its header is no object")
    metadata = said.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "its metadata are not texts")
    header = Header(metadata, said, 8 + length)
    fault = _fault(header, size)
    if fault:
        raise _damaged(path, fault)
    if "digest" in metadata and text != _encoded(header):
        raise _damaged(path, "its header was written by another program, or changed")
    return header


def read_arrays(path: Path, header: Header) -> dict[str, np.ndarray]:
    """The arrays by name, as their types are; bfloat16 becomes float32. Raises InputError."""
    try:
        data = np.fromfile(path, np.uint8, offset=header.start)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    arrays = {}
    for name, entry in header.entries.items():
        start, stop = entry["data_offsets"]
        if stop > len(data):
            raise _damaged(path, "it became shorter while it was read")
        array = data[start:stop].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        arrays[name] = array
    return arrays


def write(file: BinaryIO, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write float32 arrays."""
    entries, stop = {}, 0
    for name, array in sorted(arrays.items()):
        start, stop = stop, stop + array.nbytes
        entries[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [start, stop],
        }
    text = _encoded(Header(metadata, entries, 0))
    file.write(struct.pack("<Q", len(text)) + text)
    for _, array in sorted(arrays.items()):
        file.write(array.reshape(-1).view(np.uint8).data)


def _encoded(header: Header) -> bytes:
    said = {"__metadata__": header.metadata, **header.entries}
    text = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % _ALIGNED)


def _fault(header: Header, size: int) -> str | None:
    places = []
    for name, entry in header.entries.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            return f"array {name[:80]!r} has no dtype, shape and data_offsets"
        shape, offsets = entry["shape"], entry["data_offsets"]
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in _TYPES:
            return f"array {name[:80]!r} is of type {entry['dtype']!r:.40}, which is not read"
        if not (_naturals(shape) and _naturals(offsets) and len(offsets) == 2):
            return f"array {name[:80]!r} has a shape or a place that are no whole numbers"
        if len(shape) > _AXES:
            return f"array {name[:80]!r} has {len(shape):,} axes; at most {_AXES} are read"
        wanted = math.prod(shape) * np.dtype(_TYPES[entry["dtype"]]).itemsize
        if offsets[1] - offsets[0] != wanted or not is_possible(shape):
            return f"array {name[:80]!r} does not fit its place"
        places.append(offsets)
    end = 0
    for start, stop in sorted(places):
        if start != end:
            return "its arrays do not lie one after another"
        end = stop
    if header.start + end != size:
        return f"its arrays end at byte {header.start + end}, the file at {size}"
    return None


def _naturals(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in numbers)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path}: no whole .safetensors file: {what}")
