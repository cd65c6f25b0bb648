"""HDF5 files as h5py writes them by default, read in Python: groups, attributes of text, datasets of
floating-point numbers. What a file says is held against its bytes before anything is done with it.

libhdf5 itself is not for files of strangers: one in some thousand damaged files makes it hang. What
its newer layouts have (superblock 2 and 3, heaps of links) is refused with the way to write the
file again. Words of the format's specification are used: a group's members are found through a
"symbol table", a B-tree of nodes whose names lie in a "local heap"; text of any length lies in a
"global heap"; an object's header is a list of messages.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlstm.errors import InputError
from mlstm.formats.arrays import RATIO, SLACK, read_file
from mlstm.formats.hdf5_chunks import read_chunks

MAGIC = b"\x89HDF\r\n\x1a\n"
NOWHERE = 2**64 - 1
MOST = 10_000
"""Members of a group, messages of a header, objects of a heap."""


class Object:
    """A group or a dataset; `where` is the file and the object's name, for messages."""

    def __init__(self, data: bytes, address: int, where: str):
        self._bytes, self.where = Bytes(data, where), where
        self._messages = list(_messages(self._bytes, address))

    @property
    def is_dataset(self) -> bool:
        return any(kind == 0x08 for kind, _ in self._messages)

    def member(self, name: str) -> Object | None:
        """The group's member of this name, as "a/b" for one in a member; None where none is."""
        first, _, rest = name.partition("/")
        address = self._members().get(first)
        if address is None:
            return None
        found = Object(self._bytes.data, address, f"{self.where}: {first[:80]}")
        return found.member(rest) if rest else found

    def text(self, name: str) -> list[str] | None:
        """An attribute's text, or list of texts; None where there is none, or it is no text."""
        for kind, place in self._messages:
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
                f"{self.where}: {size:,} bytes are needed for the array {shape}, {there:,} are there"
            )
        if not size:
            return np.zeros(shape, dtype)
        return np.frombuffer(b.piece(start, size), dtype).reshape(shape)

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
                offset = b.number(entry, 8)
                end = b.data.find(b"\0", names + offset, names + size) if offset < size else -1
                if end < 0 or len(found) >= MOST:
                    raise InputError(f"{self.where}: the names of its members are damaged")
                name = b.data[names + offset : end].decode("utf-8", "replace")
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
            raw = b.piece(content, count * size)
            texts = [raw[at : at + size] for at in range(0, len(raw), size)]
        elif kind == 9 and b.number(starts[1] + 1, 1) & 15 == 1 and size == 16:
            texts = [b.heap_text(content + 16 * nth) for nth in range(count)]
        else:
            return None
        return [text.split(b"\0")[0].decode("utf-8", "replace") for text in texts]


class Bytes:
    """The bytes of the file, and small things at places of them. Raises InputError past the end."""

    def __init__(self, data: bytes, where: str):
        self.data, self.where = data, where

    def piece(self, place: int, size: int) -> bytes:
        if place + size > len(self.data):
            raise InputError(
                f"{self.where}: points past the file's end; it is damaged or cut short"
            )
        return self.data[place : place + size]

    def number(self, place: int, size: int) -> int:
        return int.from_bytes(self.piece(place, size), "little")

    def expect(self, place: int, words: bytes) -> None:
        if self.piece(place, len(words)) != words:
            raise InputError(f"{self.where}: no {words[:4].decode()} where one should be; damaged")

    def shape(self, place: int) -> tuple[int, ...]:
        version, rank = self.number(place, 1), self.number(place + 1, 1)
        if version not in (1, 2) or rank > 32 or (version == 2 and self.number(place + 3, 1) > 1):
            raise InputError(f"{self.where}: an unknown kind of shape")
        start = place + (8 if version == 1 else 4)
        return struct.unpack(f"<{rank}Q", self.piece(start, 8 * rank))

    def dtype(self, place: int) -> np.dtype:
        """Of floating-point numbers as IEEE 754 has them; others are refused."""
        first, order, size = (
            self.number(place, 1),
            self.number(place + 1, 1),
            self.number(place + 4, 4),
        )
        ieee = {2: (0, 16, 10, 5, 0, 10, 15), 4: (0, 32, 23, 8, 0, 23, 127), 8: (0, 64, 52, 11, 0, 52, 1023)}  # fmt: skip
        if (
            first & 15 != 1
            or size not in ieee
            or order & 0x40
            or struct.unpack("<HHBBBBI", self.piece(place + 8, 12)) != ieee[size]
        ):
            raise InputError(f"{self.where}: does not hold floating-point numbers")
        return np.dtype(f"{'>' if order & 1 else '<'}f{size}")

    def tree(self, root: int, kind: int, key: int) -> Iterator[int]:
        """Children of the leaves of a B-tree; of kind 1, chunks, the places of their keys."""
        seen: set[int] = set()
        pending = [(root, None)]
        while pending:
            node, level = pending.pop()
            self.expect(node, b"TREE")
            said, count = self.number(node + 5, 1), self.number(node + 6, 2)
            if (
                self.number(node + 4, 1) != kind
                or node in seen
                or (level is not None and said != level)
            ):
                raise InputError(f"{self.where}: a tree that is none; the file is damaged")
            seen.add(node)
            for place in range(node + 24, node + 24 + count * (key + 8), key + 8):
                if said:
                    pending.append((self.number(place + key, 8), said - 1))
                else:
                    yield place if kind else self.number(place + key, 8)

    def heap_text(self, place: int) -> bytes:
        """Text of any length: its length, and its heap and number there."""
        length, heap, number = struct.unpack("<IQI", self.piece(place, 16))
        if not length:
            return b""
        self.expect(heap, b"GCOL\1")
        at, end = heap + 16, heap + self.number(heap + 8, 8)
        for _ in range(MOST):
            if at + 16 > end:
                break
            size = self.number(at + 8, 8)
            if self.number(at, 2) == number:
                return self.piece(at + 16, size)[:length]
            at += 16 + -(-size // 8) * 8
        raise InputError(f"{self.where}: text that is not in its heap; the file is damaged")


AGAIN = "write it again with h5py.File(name, 'w', libver='earliest')"


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
    return Object(data, b.number(base + 40, 8), where)


def _messages(b: Bytes, address: int) -> Iterator[tuple[int, int]]:
    """(type, place) of each message of an object's header."""
    if b.piece(address, 4) == b"OHDR":
        raise InputError(f"{b.where}: HDF5 of a newer layout, which is not read; {AGAIN}")
    b.expect(address, b"\1\0")
    pending, seen, count = [(address + 16, b.number(address + 8, 4))], set(), 0
    while pending:
        place, size = pending.pop(0)
        if place in seen:
            raise InputError(f"{b.where}: a header that leads to itself; the file is damaged")
        seen.add(place)
        end = place + size
        while place + 8 <= end:
            kind, length, flags = struct.unpack("<HHB", b.piece(place, 5))
            b.piece(place + 8, length)
            count += 1
            if count > MOST or (flags & 2 and kind in (0x01, 0x03, 0x08, 0x0B, 0x0C)):
                raise InputError(f"{b.where}: a header that is too long, or shared; not read")
            if kind == 0x10:
                pending.append((b.number(place + 8, 8), b.number(place + 16, 8)))
            elif kind:
                yield kind, place + 8
            place += 8 + length
