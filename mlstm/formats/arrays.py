"""Arrays of .npy files that others made: what a header says is held against the bytes that are
there before memory is taken, and nothing is unpickled. Those of .npz files are in `npz_files`."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlstm.errors import InputError

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000
RATIO = 16
"""What a compressed file may hold for each of its bytes, beyond `SLACK` bytes."""
SLACK = 1 << 20


LARGEST = 1 << 50
"""Numbers of an array, axes of length 0 left out: of more numpy has no array, even an empty one."""


class Header(NamedTuple):
    """What a .npy file says of its array."""

    dtype: np.dtype
    fortran: bool
    shape: tuple[int, ...]
    start: int
    """Where the array's bytes begin."""


def read_npy(source: str | Path | bytes, where: str = "") -> np.ndarray:
    """The array of a .npy file, or of its bytes; numbers and truth values alone.

    InputError begins with `where`, or with the path, where it is no such file, is cut short or
    longer than its array, or holds Python objects.
    """
    where = where or (str(source) if not isinstance(source, bytes) else "array")
    data = source if isinstance(source, bytes) else read_file(Path(source))
    header = read_header(data, where)
    if header.dtype.hasobject:
        raise InputError(f"{where}: holds Python objects, which are not read; save plain numbers")
    size, there = math.prod(header.shape) * header.dtype.itemsize, len(data) - header.start
    if size != there:
        raise InputError(
            f"{where}: the array {header.shape} of {header.dtype} needs {size:,} bytes, the file "
            f"has {there:,}; it is damaged or was cut short"
        )
    flat = np.frombuffer(data, header.dtype, offset=header.start)
    try:
        return flat.reshape(header.shape, order="F" if header.fortran else "C")
    except ValueError as error:
        raise InputError(f"{where}: the shape {header.shape} is impossible ({error})") from None


def read_header(data: bytes, where: str) -> Header:
    """The header of a .npy file that begins with `data`. Raises InputError."""
    if data[:6] != MAGIC or len(data) < 12 or data[6] not in (1, 2, 3):
        raise InputError(f"{where}: not a .npy file of version 1, 2 or 3")
    width = 2 if data[6] == 1 else 4
    length, begin = int.from_bytes(data[8 : 8 + width], "little"), 8 + width
    if length > LONGEST_HEADER or begin + length > len(data):
        raise InputError(f"{where}: the header of {length:,} bytes is cut short or too long")
    text = data[begin : begin + length].decode("latin1").strip()
    try:
        # Python 2 wrote (4096L,).
        said = ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.keys() != {"descr", "fortran_order", "shape"}:
        raise InputError(f"{where}: the header does not tell type, order and shape of the array")
    shape = said["shape"]
    if (
        not isinstance(shape, tuple)
        or len(shape) > 32
        or not all(type(size) is int and 0 <= size < 1 << 48 for size in shape)
        or not isinstance(said["fortran_order"], bool)
    ):
        raise InputError(f"{where}: the header has an impossible shape or order")
    return Header(_dtype(said["descr"], where), said["fortran_order"], shape, begin + length)


def as_float32(array: np.ndarray, where: str) -> np.ndarray:
    """The array as float32, C-contiguous; InputError where it is of another kind than floating
    point, or has numbers that are not finite as float32."""
    if array.dtype.kind != "f":
        raise InputError(f"{where}: holds {array.dtype}; floating-point numbers are needed")
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(made).all():
        raise InputError(f"{where}: has numbers that are not finite as float32")
    return made


def take(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], where: str
) -> dict[str, np.ndarray]:
    """`arrays` of these names as float32. InputError, which names the array, where one is missing
    or has another shape than said."""
    check_names(arrays, shapes, where)
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise InputError(
                f"{where}: {name} has the shape {arrays[name].shape}, it has to be {shape}"
            )
    return {name: as_float32(arrays[name], f"{where}: {name}") for name in shapes}


def check_names(there: Collection[str], wanted: Collection[str], where: str) -> None:
    """InputError where names are missing, or where there are others."""
    missing = [name for name in wanted if name not in there]
    if missing:
        raise InputError(f"{where}: no {', '.join(missing[:30])}; needed: {', '.join(wanted)}")
    others = sorted(set(there) - set(wanted))
    if others:
        listed = ", ".join(name[:60] for name in others[:10])
        raise InputError(f"{where}: also has {listed}, which this format has not")


def read_file(path: Path) -> bytes:
    """The bytes of a file. Raises InputError."""
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def check_file(path: Path) -> None:
    """InputError where `path` is no ordinary file: a pipe would be waited for."""
    if not path.is_file():
        raise InputError(f"{path}: {'not a file' if path.exists() else 'no such file'}")


def begins_with(path: Path, *magic: bytes) -> bool:
    """Whether it is a file whose first bytes are one of these; False where it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(max(map(len, magic))).startswith(magic)
    except OSError:
        return False


def is_possible(shape: Iterable[int]) -> bool:
    """Whether numpy has an array of this shape."""
    return math.prod(max(size, 1) for size in shape) <= LARGEST


def _dtype(description: Any, where: str) -> np.dtype:
    """Numbers, truth values, and "O" for Python objects; of structures and text none."""
    if isinstance(description, str) and re.fullmatch(
        r"[<>|=]?([iu][1248]|f[248]|b1|O)", description
    ):
        return np.dtype(description)
    raise InputError(f"{where}: holds {str(description)[:40]!r}; plain numbers are needed")
