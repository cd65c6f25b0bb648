"""Edits in a JSON file: {"format_version": 1, "edits": [{"site": "0.c", "kind": "set", ...}]}.

An item has the fields of `Edit`, its values among them by their names; what has its default may be
left out.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.errors import InputError
from mlstm.model.edits.edit import KINDS, Edit, number
from mlstm.output import write_whole

FORMAT_VERSION = 1
_OPTIONS = tuple(f.name for f in dataclasses.fields(Edit) if f.name not in ("values",))
_WHOLE = ("start", "stop", "ramp", "seed")


def to_plain(edit: Edit) -> dict[str, Any]:
    """An edit as JSON has it."""
    fields = {f.name: f.default for f in dataclasses.fields(Edit) if f.name != "values"}
    plain = {
        name: getattr(edit, name)
        for name, default in fields.items()
        if getattr(edit, name) != default or name in ("site", "kind", "units")
    }
    plain["units"] = None if edit.units is None else list(edit.units)
    return plain | {
        k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in edit.values.items()
    }


def from_plain(item: Any) -> Edit:
    """The edit that `to_plain` wrote. Raises InputError."""
    if not isinstance(item, dict):
        raise InputError("an edit is an object with site, kind and values")
    kind = item.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"no kind of edit {kind!r}; there are {', '.join(KINDS)}")
    names = KINDS[kind]
    if unknown := sorted(set(item) - set(_OPTIONS) - set(names)):
        raise InputError(f'an edit of kind "{kind}" has no {unknown[0]!r}')
    if missing := sorted({"site", *names} - set(item)):
        raise InputError(f'an edit of kind "{kind}" needs {", ".join(missing)}')
    if not isinstance(item["site"], str):
        raise InputError(f"site is {item['site']!r}; it is a name, as 0.c")
    options = {name: item[name] for name in _OPTIONS if name in item}
    units = options.get("units")
    if units is not None:
        if not isinstance(units, list) or not all(type(unit) is int for unit in units):
            raise InputError("units are a list of whole numbers, or null for all")
        options["units"] = tuple(units)
    for name in set(_WHOLE) & set(item):
        if type(item[name]) is not int and not (name == "stop" and item[name] is None):
            raise InputError(f"{name} is {item[name]!r}; it is a whole number")
    for name in ("when", "reads", "phase"):
        if not isinstance(item.get(name, ""), str):
            raise InputError(f"{name} is {item[name]!r}; it is a word")
    values = {name: item[name] if name == "seed" else number(item[name]) for name in names}
    return Edit(values=values, **options)


def save_edits(path: str | os.PathLike, edits: Iterable[Edit]) -> None:
    """Write a file that `read_edits` reads."""
    plain = {"format_version": FORMAT_VERSION, "edits": [to_plain(edit) for edit in edits]}
    write_whole(path, json.dumps(plain, indent=1) + "\n")


def read_edits(path: str | os.PathLike) -> list[Edit]:
    """The edits of a file. Raises InputError, with the file and which edit it is."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON: {error}") from None
    version = found.get("format_version") if isinstance(found, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path}: edits of format_version {version}; this version reads {FORMAT_VERSION}"
        )
    items = found.get("edits")
    if not isinstance(items, list):
        raise InputError(f'{path}: "edits" is to be a list')
    edits = []
    for place, item in enumerate(items):
        try:
            edits.append(from_plain(item))
        except InputError as error:
            raise InputError(f"{path}: edits[{place}]: {error}") from None
    return edits
