"""Results are written beside their place and renamed: a file is whole or not there. What is written
as JSON is JSON to every reader."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mlstm.errors import InputError


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write text, as UTF-8, or bytes to a file. InputError as `writing`."""
    with writing(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to write to, which takes its place when the block ends, and leaves nothing when that
    raises. Its folder is made if need be. InputError where that cannot be done."""
    path = Path(path)
    check_folder(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else the new name can outlive a power cut, and the text not
        os.replace(beside, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def to_json(values: Any, indent: int | None = None) -> str:
    """As JSON. Numbers that it does not have, nan and the infinities, are null."""
    return json.dumps(_with_nulls(values), indent=indent, allow_nan=False)


def _with_nulls(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _with_nulls(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_with_nulls(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def check_folder(folder: str | os.PathLike) -> None:
    """Make a folder for results; InputError where none can be, before any work is done for it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: cannot be written: permission denied")
