"""One member of an archive to a file: nothing else of the archive is written, so that no name in it
leads anywhere."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from mlstm.corpus.files import CHUNK
from mlstm.errors import InputError
from mlstm.output import writing

ENDS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def unpack(archive: Path, member: str, target: Path, largest: int) -> None:
    """Write the member to `target`, whole or not at all. Raises InputError where the archive is
    damaged, has no such file, or it would have more than `largest` bytes, whatever it says."""
    try:
        if archive.name.endswith(".zip"):
            _of_zip(archive, member, target, largest)
        else:
            _of_tar(archive, member, target, largest)
    except InputError:
        raise
    except (
        zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError,
        NotImplementedError, RuntimeError, ValueError,
    ) as error:  # fmt: skip
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{archive}: {member} cannot be unpacked ({said}); get it again") from None


def _of_zip(archive: Path, member: str, target: Path, largest: int) -> None:
    with zipfile.ZipFile(archive) as opened:
        try:
            entry = opened.getinfo(member)
        except KeyError:
            raise _missing(archive, member) from None
        if entry.is_dir() or (entry.external_attr >> 28) == 0xA:  # a symbolic link of Unix
            raise _no_file(archive, member)
        _check_size(archive, member, entry.file_size, largest)
        with opened.open(entry) as source:
            _copy(archive, member, source, target, largest)  # pyright: ignore[reportArgumentType]


def _of_tar(archive: Path, member: str, target: Path, largest: int) -> None:
    with tarfile.open(archive) as opened:
        try:
            entry = opened.getmember(member)
        except KeyError:
            raise _missing(archive, member) from None
        source = opened.extractfile(entry) if entry.isreg() else None
        if source is None:
            raise _no_file(archive, member)
        _check_size(archive, member, entry.size, largest)
        with source:
            _copy(archive, member, source, target, largest)  # pyright: ignore[reportArgumentType]


def _copy(archive: Path, member: str, source: BinaryIO, target: Path, largest: int) -> None:
    done = 0
    with writing(target) as out:
        while data := source.read(CHUNK):
            done += len(data)
            _check_size(archive, member, done, largest)
            out.write(data)


def _check_size(archive: Path, member: str, size: int, largest: int) -> None:
    if size > largest:
        raise InputError(
            f"{archive}: {member} has {size:,} bytes or more; the one that is wanted has at most "
            f"{largest:,}, so this is another archive"
        )


def _missing(archive: Path, member: str) -> InputError:
    return InputError(f"{archive}: there is no {member} in this archive; it is another one")


def _no_file(archive: Path, member: str) -> InputError:
    return InputError(f"{archive}: {member} is no regular file; it is another archive")
