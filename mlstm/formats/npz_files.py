"""Named arrays that others made, of .npz files and folders of .npy: no more is unpacked than a file
of its size can hold, and no member that is not an array."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlstm.errors import InputError
from mlstm.formats.arrays import RATIO, SLACK, begins_with, check_file, read_npy
from mlstm.formats.pickle_values import one_line

ZIP_MAGIC = b"PK\x03\x04"
MOST_MEMBERS = 10_000
DIRECTORY = 2 << 20
"""Bytes of the list of a .npz's members."""

_DAMAGED = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, ValueError,
    RuntimeError, LookupError, ArithmeticError,
)  # fmt: skip
"""What zipfile raises of an archive that is none."""


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
        raise InputError(f"{where}: the .npz file is damaged ({one_line(error)})") from None


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
