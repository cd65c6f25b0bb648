"""Results are written beside their place and renamed: a file is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from mlstm.errors import InputError


def write_whole(path: str | os.PathLike, text: str) -> None:
    """Write text to a file, its folder made if need be. InputError where that cannot be done."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
