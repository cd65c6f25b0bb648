"""Datasets of HDF5 that lie in chunks, compressed or not (see hdf5.py)."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np

from mlstm.errors import InputError
from mlstm.formats.arrays import RATIO, SLACK
from mlstm.formats.hdf5_bytes import Bytes

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3


def read_chunks(
    b: Bytes, layout: int, filters: int | None, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """The array; InputError where a chunk is missing, or there twice."""
    rank = b.number(layout + 2, 1) - 1
    if rank != len(shape) or rank < 1:
        raise InputError(f"{b.where}: chunks of {rank} axes of an array of {len(shape)}")
    root = b.number(layout + 3, 8)
    chunk = struct.unpack(f"<{rank}I", b.piece(layout + 11, 4 * rank))
    if min(chunk) < 1:
        raise InputError(f"{b.where}: chunks of the shape {chunk}")
    counts = [-(-size // step) for size, step in zip(shape, chunk, strict=True)]
    size = math.prod(chunk) * dtype.itemsize
    if size * math.prod(counts) > RATIO * len(b.data) + SLACK:
        raise InputError(f"{b.where}: its chunks are far larger than the file; it is damaged")
    if not math.prod(shape):
        return np.zeros(shape, dtype)
    kinds, made, seen = _filters(b, filters), np.empty(shape, dtype), set()
    for place in b.tree(root, 1, 8 + 8 * (rank + 1)):
        length, skipped = struct.unpack("<II", b.piece(place, 8))
        offset = struct.unpack(f"<{rank}Q", b.piece(place + 8, 8 * rank))
        address = b.number(place + 16 + 8 * rank, 8)
        outside = any(
            at % step or at >= end for at, step, end in zip(offset, chunk, shape, strict=True)
        )
        if outside or offset in seen:
            raise InputError(f"{b.where}: a chunk at {offset}, which is outside or there twice")
        seen.add(offset)
        raw = _unfiltered(b.piece(address, length), kinds, skipped, size, dtype.itemsize)
        if len(raw) != size:
            raise InputError(f"{b.where}: the chunk at {offset} is damaged")
        into = made[tuple(slice(at, at + step) for at, step in zip(offset, chunk, strict=True))]
        into[:] = np.frombuffer(raw, dtype).reshape(chunk)[tuple(map(slice, into.shape))]
    if len(seen) != math.prod(counts):
        raise InputError(f"{b.where}: {len(seen)} of its {math.prod(counts)} chunks were written")
    return made


def _filters(b: Bytes, place: int | None) -> list[int]:
    """What was done to chunks, in the order in which it was done."""
    if place is None:
        return []
    version, count = b.number(place, 1), b.number(place + 1, 1)
    at, kinds = place + (8 if version == 1 else 2), []
    for _ in range(count):
        kind = b.number(at, 2)
        if version not in (1, 2) or kind not in (DEFLATE, SHUFFLE, FLETCHER32):
            raise InputError(f"{b.where}: compressed by another way than gzip, which is not read")
        if kind in kinds:
            raise InputError(f"{b.where}: compressed twice in one way, which is not read")
        kinds.append(kind)
        if version == 1:
            name, values = b.number(at + 2, 2), b.number(at + 6, 2)
            at += 8 + -(-name // 8) * 8 + 4 * (values + values % 2)
        else:
            at += 6 + 4 * b.number(at + 4, 2)
    return kinds


def _unfiltered(raw: bytes, kinds: list[int], skipped: int, size: int, width: int) -> bytes:
    """The chunk as it was; of another length than `size` where it is damaged."""
    for nth, kind in reversed(list(enumerate(kinds))):
        if skipped >> nth & 1:
            continue
        if kind == DEFLATE:
            try:
                raw = zlib.decompressobj().decompress(raw, size + 4)
            except zlib.error:
                return b""
        elif kind == FLETCHER32:
            raw = raw[:-4]
        elif len(raw) % width:
            return b""
        else:
            raw = np.frombuffer(raw, np.uint8).reshape(width, -1).T.tobytes()
    return raw
