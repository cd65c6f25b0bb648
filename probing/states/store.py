"""States at all labelled positions on disk, for work that needs them again and again.

Nothing in this package needs a store: what it measures it streams. A store is a folder:

    manifest.json     format_version, model, task, data and its digest, sites, classes, numbers
    0.c.npy           (rows, units) float32 or float16, a file for each site
    document.npy      (rows,) int32: place among the documents
    position.npy      (rows,) int32: the byte after which the state is read
    split.npy         (rows,) int8: 0 train, 1 dev, 2 test
    classes.npy       (rows, classes) bool
    numbers.npy       (rows, numbers) float32

Rows are in the order of the documents, and of the labels in each.
"""

# n rows, H units, K classes, M numbers

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.output import check_folder, to_json
from mlstm.trained import Model
from probing.states import activations
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import LabelledData

FORMAT_VERSION = 1
KINDS = ("float32", "float16")
RESERVE = 1 << 28  # bytes of a disk that stay free


@dataclass(frozen=True)
class Store:
    """A store that was opened: arrays stay on disk until they are read."""

    about: dict
    states: dict[str, np.ndarray]  # site name -> (n, H)
    document: np.ndarray  # (n,)
    position: np.ndarray  # (n,)
    split: np.ndarray  # (n,)
    classes: np.ndarray  # (n, K)
    numbers: np.ndarray  # (n, M)


def store_nbytes(
    model: Model, data: LabelledData, names: Sequence[str], kind: str = "float32"
) -> int:
    """Bytes that a store takes on disk, but for a few headers. Reads all labels once."""
    data = for_model(model, data)
    row = len(names) * model.config.hidden * np.dtype(kind).itemsize
    return int(data.counts.sum()) * (row + 9 + len(data.classes) + 4 * len(data.numbers))


def write_store(
    folder: str | os.PathLike,
    model: Model,
    data: LabelledData,
    names: Sequence[str],
    kind: str = "float32",
    *,
    announce: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the states of sites at all labelled positions, whole or not at all.

    kind: "float32" or "float16", which halves the size and keeps 3 digits; a state beyond 65,504
    does not fit it.
    announce: is told the size before anything is written.

    Raises InputError where the folder exists, where the disk would have less than 256 MiB left, or
    where a state does not fit the kind.
    """
    check_one(model)
    data = for_model(model, data)
    folder = Path(folder)
    if kind not in KINDS:
        raise InputError(f'states are stored as {" or ".join(KINDS)}, not "{kind}"')
    if folder.exists():
        raise InputError(f"{folder}: exists already; a store is written to a new folder")
    check_folder(folder.parent)
    size = store_nbytes(model, data, names, kind)
    free = shutil.disk_usage(folder.parent).free
    said = f"{folder}: {size:,} bytes for {int(data.counts.sum()):,} positions"
    if size > free - RESERVE:
        raise InputError(
            f"{said}, and the disk has {free:,} free, of which {RESERVE:,} stay so; store fewer "
            'sites, a part of the documents, or "float16"'
        )
    announce(f"{said} of {', '.join(names)} as {kind} ({free:,} bytes are free)")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        beside.mkdir()
        _fill(beside, model, data, names, kind, progress)
        os.replace(beside, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _fill(
    folder: Path,
    model: Model,
    data: LabelledData,
    names: Sequence[str],
    kind: str,
    progress: Callable[[int, int], None] | None,
) -> None:
    rows, hidden = int(data.counts.sum()), model.config.hidden
    free = np.cumsum(data.counts) - data.counts  # the next row of each document

    def array(name: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
        if not rows or 0 in shape:  # nothing to map
            np.save(folder / f"{name}.npy", np.zeros(shape, kind), allow_pickle=False)
            return np.zeros(shape, kind)
        path = folder / f"{name}.npy"
        with path.open("wb") as file:  # a map of a file with holes dies on a full disk: none here
            np.lib.format.write_array_header_1_0(
                file, {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
            )
            start, length = file.tell(), int(np.prod(shape)) * np.dtype(kind).itemsize
            _allocate(file, start, length)
        return np.lib.format.open_memmap(path, mode="r+")

    states = {name: array(name, (rows, hidden), kind) for name in names}
    document, position = (array(name, (rows,), "int32") for name in ("document", "position"))
    split = array("split", (rows,), "int8")
    classes = array("classes", (rows, len(data.classes)), "bool")
    numbers = array("numbers", (rows, len(data.numbers)), "float32")
    done = 0
    for window in activations.stream(model, data, names):
        here = np.flatnonzero(window.document >= 0)
        here = here[np.argsort(window.document[here], kind="stable")]
        found, first, many = np.unique(window.document[here], return_index=True, return_counts=True)
        place = np.repeat(free[found] - first, many) + np.arange(len(here))
        free[found] += many
        document[place], position[place] = window.document[here], window.position[here]
        split[place] = window.split[here]
        classes[place], numbers[place] = window.classes[here], window.numbers[here]
        for name, part in window.states.items():
            x = np.asarray(part)[here]
            if len(x) and not np.abs(x).max() <= np.finfo(kind).max:
                raise InputError(f"a state of {name} is {np.abs(x).max():g}: no {kind}")
            states[name][place] = x
        done += window.bytes
        if progress:
            progress(done, data.bytes)
    for mapped in (*states.values(), document, position, split, classes, numbers):
        if isinstance(mapped, np.memmap):
            mapped.flush()
    about = {
        "format_version": FORMAT_VERSION,
        "kind": "states",
        "model": model.origin,
        "task": data.task,
        "unit": data.unit,
        "data": data.origin,
        "data_digest": data.digest,
        "rows": rows,
        "sites": list(names),
        "classes": list(data.classes),
        "numbers": list(data.numbers),
        "documents": [document.name for document in data.documents],
    }
    (folder / "manifest.json").write_text(to_json(about, indent=2) + "\n")


def _allocate(file: BinaryIO, start: int, length: int) -> None:
    """Give a file its blocks. OSError where the disk lacks them."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), start, length)
        return
    zeros = bytes(1 << 20)
    while length > 0:
        length -= file.write(zeros[:length])


def open_store(folder: str | os.PathLike) -> Store:
    """Open what `write_store` wrote. InputError where it is not one, or of another version."""
    folder = Path(folder)
    path = folder / "manifest.json"
    try:
        about = json.loads(path.read_text())
        version = about["format_version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the manifest of a store of states") from None
    if about.get("kind") != "states" or version != FORMAT_VERSION:
        raise InputError(
            f"{path}: a {about.get('kind')} of version {version}; this reads states of version "
            f"{FORMAT_VERSION}"
        )

    def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
        file = folder / f"{name}.npy"
        try:
            found = np.load(file, mmap_mode="r" if all(shape) else None, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: cannot be read: {error}") from None
        if found.shape[: len(shape)] != shape:
            raise InputError(f"{file}: has shape {found.shape}, the manifest says {shape}")
        return found

    rows = about["rows"]
    classes, numbers = len(about["classes"]), len(about["numbers"])
    return Store(
        about,
        {name: array(name, (rows,)) for name in about["sites"]},
        array("document", (rows,)),
        array("position", (rows,)),
        array("split", (rows,)),
        array("classes", (rows, classes)),
        array("numbers", (rows, numbers)),
    )
