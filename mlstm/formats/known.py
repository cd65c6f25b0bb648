"""The formats that can be read, in one place, and which of them a path is.

Each is a module of this package with NAME, recognises(path) and read(path); it is imported when it
is asked for.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from mlstm.corpus.files import user_path
from mlstm.errors import InputError

MODULES = ("safetensors",)
"""In the order in which they are asked whether a path is theirs."""


def modules() -> Iterator[ModuleType]:
    """All of them."""
    for name in MODULES:
        yield importlib.import_module(f"mlstm.formats.{name}")


def listed() -> str:
    """Their names, for people."""
    return ", ".join(module.NAME for module in modules())


def named(name: str, *, writes: bool = False) -> ModuleType:
    """The format of this name; InputError where there is none, or, with `writes`, it has no
    export."""
    found = {module.NAME: module for module in modules() if not writes or hasattr(module, "write")}
    if name not in found:
        raise InputError(f"no format {name!r}; there are {', '.join(found)}")
    return found[name]


def recognised(path: Path) -> ModuleType | None:
    """The format of a file or folder, None where no one knows it."""
    if not path.exists():
        return None
    return next((module for module in modules() if module.recognises(path)), None)


def locate(path: str | os.PathLike) -> tuple[ModuleType | None, Path]:
    """The format and the place on this machine, to which hf: and published: are brought first.
    Raises InputError where that cannot be done."""
    name = os.fspath(path)
    if name.startswith("hf:"):
        from mlstm.formats import hub

        place = hub.fetched(name)
        return recognised(place), place
    if name.startswith("published:"):
        from mlstm.formats import published

        entry = published.entry(name)
        return named(entry.format), published.fetched(entry)
    place = user_path(path)
    return recognised(place), place


def facts(module: ModuleType, path: Path) -> dict[str, Any] | None:
    """What a file of ours says of the training; None of others' files."""
    return module.facts(path) if hasattr(module, "facts") else None
