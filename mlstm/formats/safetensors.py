"""Our own model in one file: a .safetensors, whose arrays any reader of that format can open.

| array             | shape                | what it is                                        |
|-------------------|----------------------|---------------------------------------------------|
| embedding         | (V, E)               | not there where the input is one-hot              |
| layers.0.wx, ...  | as its cell has them | of each layer, under the names of model/cells.py  |
| readout.w         | (H, V)               | not there where it is the embedding's             |
| readout.b         | (V,)                 | not there where the model has no readout          |

All are float32. The metadata (strings, as the format has them): format_version, config, vocabulary,
cleaning, facts (step, seed, imported; where it came from) and digest, the sha256 over all of the
metadata, names, shapes and bytes. A file in which any bit was changed is not read.

Other .safetensors, as state dicts are kept in, are read where the names are those of a known
layout.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlstm.corpus import vocabulary as vocabularies
from mlstm.corpus.cleaning import check_recipe
from mlstm.corpus.files import user_path
from mlstm.errors import InputError
from mlstm.formats import tensor_files
from mlstm.formats.arrays import as_float32
from mlstm.formats.found import Found, by_name, checked
from mlstm.formats.pickle_values import one_line
from mlstm.formats.tensor_files import Header
from mlstm.model.config import ModelConfig
from mlstm.output import writing

if TYPE_CHECKING:
    from mlstm.trained import Model

NAME = "safetensors"
FORMAT = "mlstm model"
FORMAT_VERSION = 1
_STATE_DICTS = {
    "char_rnn": re.compile(r"weight_ih_l0$"),
    "nvidia": re.compile(r"rnns\.0\.w_hh(_v)?$"),
    "guillitte": re.compile(r"layer_0\."),
}
"""Whose arrays they are, by a name that none of the others has."""
_LONGEST_NAME = 100
_KEYS = {"format", "format_version", "config", "vocabulary", "cleaning", "facts", "digest"}


def recognises(path: Path) -> bool:
    path = _file(path)
    return path.is_file() and (path.suffix == ".safetensors" or tensor_files.looks_like(path))


def read(path: Path) -> Found:
    """The model in a file of ours, of a folder in its model.safetensors, or in a state dict of a
    known layout. Raises InputError."""
    path = _file(path)
    header = tensor_files.read_header(path)
    if header.metadata.get("format") != FORMAT:
        return _foreign(path, header)
    if header.metadata.get("format_version") != str(FORMAT_VERSION):
        raise InputError(
            f"{path}: format_version {header.metadata.get('format_version')!r:.40}; this version "
            f"reads {FORMAT_VERSION}"
        )
    arrays = tensor_files.read_arrays(path, header)
    if header.metadata.keys() != _KEYS or header.metadata["digest"] != _digest(
        header.metadata, arrays
    ):
        raise InputError(f"{path}: damaged, or changed: its digest does not fit; get it again")
    said = header.metadata
    facts = _facts(path, header)
    try:
        config = ModelConfig(**_object(said["config"], "config")).check()
        vocabulary = vocabularies.from_json(_object(said["vocabulary"], "vocabulary"))
        found = Found(
            config,
            _tree(arrays),
            vocabulary,
            check_recipe(said["cleaning"]),
            (f"saved from {facts['origin']}",),
        )
    except TypeError as error:
        raise InputError(
            f"{path}: its config is not one of this version: {one_line(error)}"
        ) from None
    except InputError as error:  # which may show what a stranger wrote
        raise InputError(f"{path}: {' '.join(str(error)[:400].split())}") from None
    return checked(found, str(path))


def facts(path: Path) -> dict[str, Any] | None:
    """step, seed and imported, as `Model` has them; None of a file of others."""
    header = tensor_files.read_header(_file(path))
    if header.metadata.get("format") != FORMAT:
        return None
    said = _facts(path, header)
    return {name: said[name] for name in ("step", "seed", "imported")}


def _facts(path: Path, header: Header) -> dict[str, Any]:
    """What the metadata tell of the training. Raises InputError."""
    try:
        said = _object(header.metadata.get("facts", ""), "facts")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    kinds = {"step": (int, type(None)), "seed": (int, type(None)), "imported": (bool,)}
    for name, allowed in (kinds | {"origin": (str,)}).items():
        if name not in said or type(said[name]) not in allowed:
            raise InputError(f"{path}: its facts tell no {name}, or another kind of it")
    return said


def _object(text: str, name: str) -> dict[str, Any]:
    """A JSON object of the metadata. Raises InputError."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise InputError(f"its {name} is no object of JSON")
    return said


def write(found: Found, path: Path, **said: Any) -> None:
    """One file, whole or not at all. said: step, seed, imported and origin of the model."""
    arrays = {
        name: _plain(array) for name, array in by_name(checked(found, str(path)).parameters).items()
    }
    told = {"step": None, "seed": None, "imported": True, "origin": "memory"} | said
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(dataclasses.asdict(found.config), sort_keys=True),
        "vocabulary": json.dumps(found.vocabulary.to_json(), sort_keys=True),
        "cleaning": found.cleaning,
        "facts": json.dumps(told, sort_keys=True),
    }
    metadata["digest"] = _digest(metadata, arrays)
    with writing(path) as file:
        tensor_files.write(file, arrays, metadata)


def save(model: Model, path: str | os.PathLike) -> None:
    """Write a model as one .safetensors file, which `mlstm.load` reads. Raises InputError."""
    from mlstm.errors import check_one

    check_one(model)
    target = user_path(path)
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: a model is saved as .safetensors; name the file so")
    found = Found(model.config, model.parameters, model.vocabulary, model.cleaning)
    write(
        found,
        target,
        step=model.step,
        seed=model.seed,
        imported=model.imported,
        origin=model.origin,
    )


def digest_of(found: Found) -> str:
    """sha256 over names, shapes and bytes of the arrays: the same wherever they are kept."""
    return _digest({}, {name: _plain(array) for name, array in by_name(found.parameters).items()})


def _plain(array: Any) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(array), np.float32)


def _file(path: Path) -> Path:
    return path / "model.safetensors" if path.is_dir() else path


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """An array as readers of state dicts take it."""

    numbers: np.ndarray
    where: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    def array(self) -> np.ndarray:
        return as_float32(self.numbers, self.where)


def _foreign(path: Path, header: Header) -> Found:
    for name, mark in _STATE_DICTS.items():
        if any(mark.search(array) for array in header.entries):
            module = importlib.import_module(f"mlstm.formats.{name}")
            arrays = tensor_files.read_arrays(path, header)
            where = str(path)
            return module.from_tensors(
                {array: _Tensor(numbers, where) for array, numbers in arrays.items()}, where
            )
    names = ", ".join(f"{name[:40]!r}" for name in list(header.entries)[:4])
    raise InputError(
        f"{path}: its arrays are those of no model that can be read ({names}, ...); a file of ours "
        "is written by mlstm.save"
    )


def _digest(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    said = {name: value for name, value in metadata.items() if name != "digest"}
    shapes = {name: array.shape for name, array in sorted(arrays.items())}
    found.update(json.dumps([said, shapes], sort_keys=True).encode())
    for _, array in sorted(arrays.items()):
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _tree(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Nested by the dots of their names. Raises InputError where one would lie in another, and for
    a name that none of ours has."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise InputError(f"has an array {name[:80]!r}")
        *parents, last = name.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                break
        if not isinstance(place, dict) or last in place:
            raise InputError(f"the array {name[:80]!r} lies in another, or the other in it")
        place[last] = array
    return tree
