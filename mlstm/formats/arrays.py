"""Arrays of numpy files (.npy, .npz) that others made: what a header says is held against the bytes
that are there before memory is taken, and nothing is unpickled."""

from __future__ import annotations

import ast
import contextlib
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlstm.errors import InputError

MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
LONGEST_HEADER = 10_000
MOST_MEMBERS = 10_000
RATIO = 16
"""What a .npz may hold for each byte of the file, beyond `SLACK` bytes."""
SLACK = 1 << 20


LARGEST = 1 << 50
"""Numbers of an array, axes of length 0 left out: of more numpy has no array, even an empty one."""
DIRECTORY = 2 << 20
"""Bytes of the list of a .npz's members."""

_DAMAGED = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, ValueError,
    RuntimeError, LookupError, ArithmeticError,
)  # fmt: skip
"""What zipfile raises of an archive that is none."""


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


def read_npz(path: str | Path, where: str = "") -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name.

    InputError begins with `where`, or with the path. A file is refused that holds much more than
    its size (`RATIO`), says so of any member, or has two members of one name.
    """
    path = Path(path)
    where = where or str(path)
    check_file(path)
    try:
        with _opened(path) as archive:
            members = archive.infolist()
            _check_members(members, path.stat().st_size, where)
            return {
                member.filename.removesuffix(".npy"): read_npy(
                    _content(archive, member, where), f"{where}: {member.filename}"
                )
                for member in members
            }
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None
    except _DAMAGED as error:
        raise InputError(f"{where}: the .npz file is damaged ({_one_line(error)})") from None


def read_named(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays by name: of a .npz file, or of a folder's files NAME.npy. Raises InputError."""
    path = Path(path)
    if not path.is_dir():
        return read_npz(path)
    files = sorted(path.glob("*.npy"))
    if not files:
        raise InputError(f"{path}: no .npy files in it")
    if len(files) > MOST_MEMBERS:
        raise InputError(f"{path}: {len(files):,} .npy files, at most {MOST_MEMBERS:,} are read")
    if not all(file.name.isprintable() for file in files):
        raise InputError(f"{path}: a .npy file in it has a name that cannot be shown")
    return {file.stem: read_npy(file) for file in files}


def names(path: Path) -> frozenset[str]:
    """The names of the arrays of a .npz file or of a folder, without reading any; none where it is
    neither."""
    with contextlib.suppress(OSError, *_DAMAGED):
        if path.is_dir():
            return frozenset(file.stem for file in path.glob("*.npy"))
        if begins_with(path, ZIP_MAGIC):
            with _opened(path) as archive:
                members = archive.namelist()
            return frozenset(name.removesuffix(".npy") for name in members if name.endswith(".npy"))
    return frozenset()


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


class _Directory(io.BufferedReader):
    """A file of which zipfile, that reads all of the directory at once, gets no large piece."""

    opened = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.opened and (size or 0) > DIRECTORY:
            raise zipfile.BadZipFile(f"a directory of {size:,} bytes")
        return super().read(size)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with _Directory(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        file.opened = True
        yield archive


def _dtype(description: Any, where: str) -> np.dtype:
    """Numbers, truth values, and "O" for Python objects; of structures and text none."""
    if isinstance(description, str) and re.fullmatch(
        r"[<>|=]?([iu][1248]|f[248]|b1|O)", description
    ):
        return np.dtype(description)
    raise InputError(f"{where}: holds {str(description)[:40]!r}; plain numbers are needed")


def _check_members(members: list[zipfile.ZipInfo], size: int, where: str) -> None:
    if not 0 < len(members) <= MOST_MEMBERS:
        raise InputError(
            f"{where}: a .npz of {len(members):,} arrays; 1 to {MOST_MEMBERS:,} are read"
        )
    seen = set()
    for member in members:
        name = member.filename
        if not name.endswith(".npy") or not name.isprintable() or name in seen:
            raise InputError(
                f"{where}: {name[:80]!r} is there twice"
                if name in seen
                else f"{where}: not a .npz file: {name[:80]!r} in it is no .npy"
            )
        seen.add(name)
        if member.flag_bits & 1:
            raise InputError(f"{where}: {name[:80]!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{where}: {name[:80]!r} is compressed in a way that .npz files are not"
            )
    declared = sum(member.file_size for member in members)
    if declared > RATIO * size + SLACK:
        raise InputError(
            f"{where}: says that it holds {declared:,} bytes in a file of {size:,}; it is damaged"
        )


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> bytes:
    # With a size, what a stream unpacks to is bounded; read() alone unpacks all there is.
    with archive.open(member) as file:
        data = file.read(member.file_size)
        if len(data) != member.file_size or file.read(1):
            raise InputError(f"{where}: {member.filename[:80]!r} is cut short")
    return data


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
