"""The bytes of an HDF5 file, and the small structures in them (see hdf5.py)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlstm.errors import InputError
from mlstm.formats.arrays import is_possible

AGAIN = "write it again with h5py.File(name, 'w', libver='earliest')"
"""What helps with a file of the newer layout."""
IEEE = {
    2: (0, 16, 10, 5, 0, 10, 15),
    4: (0, 32, 23, 8, 0, 23, 127),
    8: (0, 64, 52, 11, 0, 52, 1023),
}
"""Of floating-point numbers of so many bytes: where their bits lie, and the exponent's bias."""


class Bytes:
    """The bytes of the file, and small things at places of them. Raises InputError past the end."""

    def __init__(self, data: bytes, where: str):
        self.data, self.where = data, where
        self.objects: dict[int, Any] = {}
        """What was read already, by its address."""
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        self._left = [len(data) // 8]

    def of(self, where: str) -> Bytes:
        """The same bytes, for messages about something in them."""
        made = Bytes(self.data, where)
        made.objects, made._heaps, made._left = self.objects, self._heaps, self._left
        return made

    def spend(self, parts: int = 1) -> None:
        """Count small parts that were read: of at least 8 bytes each, a file has no more than
        fit. InputError where they lie over one another to make work without end."""
        self._left[0] -= parts
        if self._left[0] < 0:
            raise InputError(f"{self.where}: its parts lie over one another; the file is damaged")

    def spend_bytes(self, size: int) -> None:
        """Count the reading of so many bytes of text: each of a file may be read twice."""
        self.spend(size // 16)

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
        found = struct.unpack(f"<{rank}Q", self.piece(start, 8 * rank))
        if not is_possible(found):
            raise InputError(f"{self.where}: an array of the impossible shape {found}")
        return found

    def dtype(self, place: int) -> np.dtype:
        """Of floating-point numbers as IEEE 754 has them; others are refused."""
        first, order, size = (
            self.number(place, 1),
            self.number(place + 1, 1),
            self.number(place + 4, 4),
        )
        if (
            first & 15 != 1
            or size not in IEEE
            or order & 0x40
            or struct.unpack("<HHBBBBI", self.piece(place + 8, 12)) != IEEE[size]
        ):
            raise InputError(f"{self.where}: does not hold floating-point numbers")
        return np.dtype(f"{'>' if order & 1 else '<'}f{size}")

    def tree(self, root: int, kind: int, key: int) -> Iterator[int]:
        """Children of the leaves of a B-tree; of kind 1, chunks, the places of their keys."""
        seen: set[int] = set()
        pending: list[tuple[int, int | None]] = [(root, None)]
        while pending:
            node, level = pending.pop()
            self.expect(node, b"TREE")
            said, count = self.number(node + 5, 1), self.number(node + 6, 2)
            self.spend(count)
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

    def heap_texts(self, place: int, count: int) -> list[bytes]:
        """Texts of any length: of each its length, and its heap and number there."""
        texts, total = [], 0
        self.spend(count)
        for at in range(place, place + 16 * count, 16):
            length, heap, number = struct.unpack("<IQI", self.piece(at, 16))
            start, size = self._heap(heap).get(number, (0, 0)) if length else (0, 0)
            total += length
            if length > size or total > len(self.data):
                raise InputError(f"{self.where}: text that is not in its heap; the file is damaged")
            self.spend_bytes(length)
            texts.append(self.piece(start, length))
        return texts

    def _heap(self, heap: int) -> dict[int, tuple[int, int]]:
        """(place, size) of each object of a global heap by its number."""
        if heap not in self._heaps:
            self.expect(heap, b"GCOL\1")
            found, end = {}, min(heap + self.number(heap + 8, 8), len(self.data))
            at = heap + 16
            while at + 16 <= end:
                self.spend()
                number, size = self.number(at, 2), self.number(at + 8, 8)
                if number:  # 0 is the space that is left
                    found[number] = at + 16, size
                at += 16 + -(-size // 8) * 8
            self._heaps[heap] = found
        return self._heaps[heap]
