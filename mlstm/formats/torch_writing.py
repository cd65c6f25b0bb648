"""A state dict written as torch.save writes it, without torch: for torch.load(weights_only=True).

An OrderedDict of float32 tensors in the zip container of `torch_files`; equal arrays under two
names, a tied readout's, share a storage.
"""

import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlstm import output

ROOT = "archive/"
ALIGNED = 64
"""Storages begin at a multiple of so many bytes, as torch's do: it can then map them."""


def write(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write float32 arrays by name. Raises InputError where `path` cannot be written."""
    storages: dict[int, np.ndarray] = {}
    keys = {}
    for name, array in arrays.items():
        storages[id(array)] = array
        keys[name] = str(list(storages).index(id(array)))
    with output.writing(path) as file, zipfile.ZipFile(file, "w") as archive:
        _add(archive, file, "data.pkl", _pickle(arrays, keys))
        _add(archive, file, "byteorder", b"little")
        for key, array in enumerate(storages.values()):
            raw = np.ascontiguousarray(array, "<f4").reshape(-1).view(np.uint8)
            _add(archive, file, f"data/{key}", raw.data)
        _add(archive, file, "version", b"3\n")


def _add(archive: zipfile.ZipFile, file, name: str, content: bytes | memoryview) -> None:
    entry = zipfile.ZipInfo(ROOT + name)  # of 1980, so that equal models are equal files
    start = file.tell() + 30 + len(entry.filename) + 4
    entry.extra = b"FB" + struct.pack("<H", -start % ALIGNED) + b"Z" * (-start % ALIGNED)
    with archive.open(entry, "w", force_zip64=len(content) >= 1 << 31) as opened:
        opened.write(content)


def _pickle(arrays: Mapping[str, np.ndarray], keys: Mapping[str, str]) -> bytes:
    """The opcodes, of protocol 2: an OrderedDict(), then its items, each a call of
    torch._utils._rebuild_tensor_v2."""
    ordered = b"ccollections\nOrderedDict\n)R"
    made = b"".join(
        _text(name)
        + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text(keys[name]) + _text("cpu")
        + _whole(array.size) + b"tQ"
        + _whole(0) + _wholes(array.shape) + _wholes(_strides(array.shape))
        + b"\x89" + ordered + b"tR"
        for name, array in arrays.items()
    )  # fmt: skip
    return b"\x80\x02" + ordered + b"(" + made + b"u."


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Of an array whose last axis runs fastest."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(raw)) + raw


def _whole(number: int) -> bytes:
    if number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    return b"\x8a\x08" + struct.pack("<q", number)


def _wholes(numbers) -> bytes:
    return b"(" + b"".join(_whole(n) for n in numbers) + b"t"
