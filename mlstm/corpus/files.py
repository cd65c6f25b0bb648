"""The bytes of one file in bounded memory, compression read through."""

import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from mlstm.errors import InputError

SUFFIXES = (".gz", ".xz", ".zst")
CHUNK = 1 << 20
# One zstd block of 4 input bytes can stand for 128 KiB, so the input is fed in small pieces.
ZSTD_CHUNK = 1 << 12


def read_chunks(path: str | os.PathLike) -> Iterator[tuple[bytes, int]]:
    """Yields (bytes, consumed): decompressed bytes, and how far the file itself has been read.

    `consumed` counts bytes on disk, so consumed / size is the progress of a compressed file too.
    A name that ends in .gz, .xz or .zst is decompressed, several members one after another.
    Raises InputError, naming the file, when it cannot be read, is damaged or was cut short.
    """
    path = Path(path)
    try:
        with open(path, "rb") as raw:
            for data in _decompressed(raw, path.suffix):
                yield data, raw.tell()
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise InputError(
            f"{path}: damaged, cut short, or not a {path.suffix} file ({error}); get it again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def text_name(path: str) -> str:
    """The name without a compression suffix, so that compressing a file does not rename it."""
    root, suffix = os.path.splitext(path)
    return root if suffix in SUFFIXES else path


def _decompressed(raw: BinaryIO, suffix: str) -> Iterator[bytes]:
    if suffix == ".zst":
        return _zstandard(raw)
    if suffix == ".gz":
        return _until_empty(gzip.GzipFile(fileobj=raw, mode="rb"))
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
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            if text := frame.decompress(data):
                yield text
            data = b""
            if frame.eof:
                data, frame = frame.unused_data, None
    if frame is not None:
        raise EOFError("the last frame has no end")
