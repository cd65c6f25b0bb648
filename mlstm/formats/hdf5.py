"""HDF5 files as h5py writes them by default, read in Python: groups, text in attributes, datasets
of floating-point numbers. What a file says is held against its bytes before it is followed.

libhdf5 itself is not for files of strangers: one in some thousand damaged files makes it hang. What
its newer layouts have (superblock 2 and 3, heaps of links) is refused with the way to write the
file again. Words of the format's specification are used: a group's members are found through a
"symbol table", a B-tree of nodes whose names lie in a "local heap"; text of any length lies in a
"global heap"; an object's header is a list of messages.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlstm.errors import InputError
from mlstm.formats.arrays import RATIO, SLACK, read_file
from mlstm.formats.hdf5_bytes import AGAIN, Bytes
from mlstm.formats.hdf5_chunks import read_chunks

MAGIC = b"\x89HDF\r\n\x1a\n"
NOWHERE = 2**64 - 1
MOST_PARTS = 30
LONGEST_NAME = 1_000


class Object:
    """A group or a dataset; `where` is the file and the object's name, for messages."""

    def __init__(self, content: Bytes, address: int):
        self._bytes, self.where = content, content.where
        self._messages = list(_messages(content, address))

    @property
    def size(self) -> int:
        """Of the whole file, in bytes."""
        return len(self._bytes.data)

    def member(self, name: str) -> Object | None:
        """The group's member of this name, as "a/b" for one in a member; None where none is."""
        found: Object = self
        for part in name.split("/", MOST_PARTS):
            self._bytes.spend()
            address = found._members.get(part)
            if address is None:
                return None
            found = _object(self._bytes.of(f"{found.where}: {part[:80]}"), address)
        return found

    def text(self, name: str) -> list[str] | None:
        """An attribute's text, or list of texts; None where there is none, or it is no text."""
        for kind, place in self._messages:
            self._bytes.spend()
            if kind == 0x0C and (found := self._attribute(place, name)) is not None:
                return found
        return None

    def array(self) -> np.ndarray:
        """A dataset's floating-point numbers. Raises InputError."""
        parts = dict(reversed(self._messages))
        if not {0x01, 0x03, 0x08} <= parts.keys():
            raise InputError(f"{self.where}: not a dataset")
        b = self._bytes
        shape, dtype = b.shape(parts[0x01]), b.dtype(parts[0x03])
        size = math.prod(shape) * dtype.itemsize
        if size > RATIO * len(b.data) + SLACK:
            raise InputError(
                f"{self.where}: says that it holds {size:,} bytes in a file of {len(b.data):,}; it "
                "is damaged"
            )
        version, layout = b.number(parts[0x08], 1), b.number(parts[0x08] + 1, 1)
        if version != 3 or layout > 2:
            raise InputError(f"{self.where}: data laid out in a way that is not read; {AGAIN}")
        if layout == 2:
            return read_chunks(b, parts[0x08], parts.get(0x0B), shape, dtype)
        start = parts[0x08] + 4 if layout == 0 else b.number(parts[0x08] + 2, 8)
        there = b.number(parts[0x08] + 2, 2) if layout == 0 else b.number(parts[0x08] + 10, 8)
        if there != size or 0x0B in parts:
            raise InputError(
                f"{self.where}: the array {shape} needs {size:,} bytes, {there:,} are there"
            )
        if not size:
            return np.zeros(shape, dtype)
        return np.frombuffer(b.piece(start, size), dtype).reshape(shape)

    @functools.cached_property
    def _members(self) -> dict[str, int]:
        """Addresses of the group's members by name."""
        place = next((place for kind, place in self._messages if kind == 0x11), None)
        if place is None:
            raise InputError(f"{self.where}: not a group of the older layout; {AGAIN}")
        b, found = self._bytes, {}
        heap = b.number(place + 8, 8)
        b.expect(heap, b"HEAP\0")
        size, names = b.number(heap + 8, 8), b.number(heap + 24, 8)
        b.piece(names, size)
        for node in b.tree(b.number(place, 8), 0, 8):
            b.expect(node, b"SNOD\1")
            for entry in range(node + 8, node + 8 + 40 * b.number(node + 6, 2), 40):
                b.spend()
                start = names + b.number(entry, 8)
                end = b.data.find(b"\0", start, min(start + LONGEST_NAME, names + size))
                if end < 0:
                    raise InputError(f"{self.where}: the names of its members are damaged")
                name = b.data[start:end].decode("utf-8", "replace")
                if b.number(entry + 16, 4) != 2:  # which is a link to another name
                    found[name] = b.number(entry + 8, 8)
        return found

    def _attribute(self, place: int, name: str) -> list[str] | None:
        b = self._bytes
        version = b.number(place, 1)
        sizes = [b.number(place + offset, 2) for offset in (2, 4, 6)]
        if version not in (1, 2, 3) or (version > 1 and b.number(place + 1, 1)):
            raise InputError(f"{self.where}: an attribute of an unknown layout; {AGAIN}")
        start = place + (9 if version == 3 else 8)
        starts = [start]
        for size in sizes:
            starts.append(starts[-1] + (-(-size // 8) * 8 if version == 1 else size))
        if b.piece(start, sizes[0]).split(b"\0")[0] != name.encode():
            return None
        shape, content = b.shape(starts[2]), starts[3]
        kind, size = b.number(starts[1], 1) & 15, b.number(starts[1] + 4, 4)
        count = math.prod(shape)
        if count * size > len(b.data):
            raise InputError(f"{self.where}: the attribute {name} is longer than the file")
        if kind == 3 and size:
            b.spend_bytes(count * size)
            raw = b.piece(content, count * size)
            texts = [raw[at : at + size] for at in range(0, len(raw), size)]
        elif kind == 9 and b.number(starts[1] + 1, 1) & 15 == 1 and size == 16:
            texts = b.heap_texts(content, count)
        else:
            return None
        return [text.split(b"\0")[0].decode("utf-8", "replace") for text in texts]


def open_file(path: Path) -> Object:
    """The group of all. Raises InputError, also for a file that is no HDF5 of the older layout."""
    data, where = read_file(path), str(path)
    if not data.startswith(MAGIC):
        raise InputError(f"{where}: not an HDF5 file")
    b = Bytes(data, where)
    version = b.number(8, 1)
    if version > 1 or b.piece(13, 2) != b"\x08\x08":
        raise InputError(f"{where}: HDF5 of a newer layout, which is not read; {AGAIN}")
    base = 24 if version == 0 else 28
    if b.number(base, 8) != 0:
        raise InputError(f"{where}: HDF5 behind other content, which is not read")
    return _object(b, b.number(base + 40, 8))


def _object(content: Bytes, address: int) -> Object:
    """Each is read once: work stays within the file's size whatever points to what."""
    if address not in content.objects:
        content.objects[address] = Object(content, address)
    return content.objects[address]


def _messages(b: Bytes, address: int) -> Iterator[tuple[int, int]]:
    """(type, place) of each message of an object's header."""
    if b.piece(address, 4) == b"OHDR":
        raise InputError(f"{b.where}: HDF5 of a newer layout, which is not read; {AGAIN}")
    b.expect(address, b"\1\0")
    pending, seen = [(address + 16, b.number(address + 8, 4))], set()
    while pending:
        place, size = pending.pop(0)
        if place in seen:
            raise InputError(f"{b.where}: a header that leads to itself; the file is damaged")
        seen.add(place)
        end = place + size
        while place + 8 <= end:
            kind, length, flags = struct.unpack("<HHB", b.piece(place, 5))
            b.piece(place + 8, length)
            b.spend()
            if flags & 2 and kind in (0x01, 0x03, 0x08, 0x0B, 0x0C):
                raise InputError(f"{b.where}: parts of it are shared with others: not read")
            if kind == 0x10:
                pending.append((b.number(place + 8, 8), b.number(place + 16, 8)))
            elif kind:
                yield kind, place + 8
            place += 8 + length
