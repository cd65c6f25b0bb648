"""The bytes of one file in bounded memory, compression read through."""

import bz2
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from mlstm.errors import InputError

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst")
CHUNK = 1 << 20
# One zstd block of 4 input bytes can stand for 128 KiB, so the input is fed in small pieces.
ZSTD_CHUNK = 1 << 12
# What `zstd --long=31` writes, the most there is; the package refuses more than 128 MB by itself.
ZSTD_WINDOW = 1 << 31


def read_chunks(path: str | os.PathLike) -> Iterator[tuple[bytes, int]]:
    """Yields (bytes, consumed): decompressed bytes, and how far the file itself has been read.

    `consumed` counts bytes on disk, so consumed / size is the progress of a compressed file too.
    A name that ends in .gz, .bz2, .xz or .zst, in capitals too, is decompressed, several members
    one after another. Raises InputError, naming the file, when it cannot be read, is damaged, was
    cut short or is an archive.
    """
    path = Path(path)
    refuse_archive(path)
    try:
        with open(path, "rb") as raw:
            for data in _decompressed(raw, compression(path)):
                yield data, raw.tell()
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # bz2 says so that the data are none of its own
            raise _damaged(path, error) from error
        raise _unreadable(path, error) from error


def refuse_utf16(path: str | os.PathLike, data: bytes) -> None:
    """Raises InputError where a text that begins so says that it is in units of two or four bytes:
    its lines would be cut in the middle of a character."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        name = "UTF-32" if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")) else "UTF-16"
        raise InputError(f"{path} is {name}: convert it to UTF-8 (iconv -f {name} -t UTF-8)")


def read_raw(path: str | os.PathLike) -> Iterator[bytes]:
    """The bytes on disk, in pieces. Raises InputError."""
    try:
        with open(path, "rb") as raw:
            yield from _until_empty(raw)
    except OSError as error:
        raise _unreadable(path, error) from error


def compression(path: str | os.PathLike) -> str:
    """The suffix that says how the file is compressed, in small letters; "" where it is not."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix if suffix in COMPRESSIONS else ""


def text_name(name: str) -> str:
    """The name without a compression suffix, so that compressing a file does not rename it."""
    return os.path.splitext(name)[0] if compression(name) else name


def refuse_archive(path: str | os.PathLike) -> None:
    """Raises InputError for a name like text.zip or text.tar.gz: a model would learn the bytes of
    the container."""
    name = os.path.basename(path).lower()
    if text_name(name).endswith(ARCHIVES):
        raise InputError(
            f"{path} is an archive of several files; unpack it and give the folder instead"
        )


def user_path(path: str | os.PathLike) -> Path:
    """The path, a leading ~ expanded. Raises InputError where there is no such user, and for a
    place that is no path of this machine (gs://bucket/text)."""
    slashes = "//" if isinstance(path, str) else "/"  # a Path has dropped one
    scheme = re.match(rf"([A-Za-z][A-Za-z0-9+.-]+):{slashes}", os.fspath(path))
    if scheme:
        raise InputError(
            f"{path}: paths are local, and {scheme[1]}:// is not; mount it, or copy what is there"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise InputError(f"{path}: {user} is nobody's home here; write the folder out") from None


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: damaged, cut short, or not a {path.suffix} file ({error}); get it again"
    )


def _unreadable(path: str | os.PathLike, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read: {error.strerror or error}")


def _decompressed(raw: BinaryIO, suffix: str) -> Iterator[bytes]:
    if suffix == ".zst":
        return _zstandard(raw)
    if suffix == ".gz":
        return _until_empty(gzip.GzipFile(fileobj=raw, mode="rb"))
    if suffix == ".bz2":
        return _until_empty(bz2.BZ2File(raw, "rb"))
    if suffix == ".xz":
        return _until_empty(lzma.LZMAFile(raw, "rb"))
    return _until_empty(raw)


def _until_empty(stream) -> Iterator[bytes]:
    while data := stream.read(CHUNK):
        yield data


def _zstandard(raw: BinaryIO) -> Iterator[bytes]:
    """The package's own stream reader takes a truncated frame for a whole one; this does not."""
    frame = None
    while data := raw.read(ZSTD_CHUNK):
        while data:
            frame = frame or zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
            if text := frame.decompress(data):
                yield text
            data = b""
            if frame.eof:
                data, frame = frame.unused_data, None
    if frame is not None:
        raise EOFError("the last frame has no end")
