"""The formats that can be read, in one place, and which of them a path is.

Each is a module of this package with NAME, recognises(path) and read(path); it is imported when it
is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mlstm.corpus.files import user_path
from mlstm.errors import InputError
from mlstm.formats import saver
from mlstm.formats.found import Found

MODULES = (
    "safetensors",
    "openai",
    "openai_reproduction",
    "unirep",
    "nvidia",
    "guillitte",
    "char_rnn",
    "concept_neurons",
    "tensorflow",
    "keras",
    "thesis_rnn",
)
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
    """The format of a file or folder, None where no one knows it. Raises InputError where it may
    not be read."""
    try:
        if path.is_file():
            path.open("rb").close()
        elif path.is_dir():
            os.scandir(path).close()
        elif not saver.is_checkpoint(path):  # of which a path may be the beginning
            return None
        return next((module for module in modules() if module.recognises(path)), None)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def locate(
    path: str | os.PathLike, progress: Callable[[int, int], None] | None = None
) -> tuple[ModuleType | None, Path]:
    """The format and the place on this machine, to which hf: and published: are brought first.
    Raises InputError where that cannot be done. progress: of a download, in bytes."""
    name = os.fspath(path)
    if name.startswith("hf:"):
        from mlstm.formats import hub

        place = hub.fetched(name)
        module = recognised(place)
        return (module, place) if module or place.is_file() else _only_file(name, place)
    if name.startswith("published:"):
        from mlstm.formats import published

        entry = published.entry(name)
        return named(entry.format), published.fetched(entry, progress)
    place = user_path(path)
    return recognised(place), place


def read(module: ModuleType, path: Path, options: Mapping[str, str] | None = None) -> Found:
    """What the file holds. options: what a person says since the file does not, by the names that
    the format's `read` has. Raises InputError."""
    takes = dict(list(inspect.signature(module.read, eval_str=True).parameters.items())[1:])
    values = {}
    for name, text in (options or {}).items():
        if name not in takes:
            raise InputError(f"the format {module.NAME} has no option {name!r}{_names(takes)}")
        try:
            values[name] = takes[name].annotation(text)
        except ValueError:
            raise InputError(f"option {name}={text}: it is a number") from None
    return module.read(path, **values)


def _names(options: Mapping[str, Any]) -> str:
    return f"; it has {', '.join(options)}" if options else ", nor any other"


def _only_file(name: str, folder: Path) -> tuple[ModuleType | None, Path]:
    """Of a folder that is no model itself, the one file in it that is."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [(module, path) for path in files if (module := recognised(path))]
    if len(found) > 1:
        paths = ", ".join(str(path.relative_to(folder)) for _, path in found)
        raise InputError(f"{name} has several models: {paths}; name one as {name}:FILE")
    return found[0] if found else (None, folder)


def facts(module: ModuleType, path: Path) -> dict[str, Any] | None:
    """What a file of ours says of the training; None of others' files."""
    return module.facts(path) if hasattr(module, "facts") else None
