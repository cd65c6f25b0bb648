"""Where a fine-tuning stands, in one file that is whole or not there: what running it again needs.

The file is safetensors: the leaves of the state by their place, and as metadata what it is the
state of, which has to be equal, and a sha256 over all.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from mlstm.errors import InputError
from mlstm.output import write_whole

FILE = "unfinished.safetensors"


def write(folder: Path, of: dict[str, Any], notes: dict[str, Any], state: Any) -> None:
    """Keep a state (a tree of arrays) and notes (plain values) of the work that `of` describes."""
    arrays = {str(k): np.array(leaf) for k, leaf in enumerate(jax.tree.leaves(state))}
    said = json.dumps({"of": of, "notes": notes}, sort_keys=True)
    metadata = {"said": said, "sha256": _digest(said, arrays)}
    write_whole(folder / FILE, safetensors.numpy.save(arrays, metadata))


def read(folder: Path, of: dict[str, Any], like: Any) -> tuple[dict[str, Any], Any] | None:
    """Notes and state, shaped as `like`; None where there are none. InputError where they are of
    other work, which the message names, or damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        arrays, said = _open(path)
    except (safetensors.SafetensorError, OSError, ValueError, LookupError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it to begin anew") from None
    check_same(folder, said["of"], of)
    leaves, structure = jax.tree.flatten(like)
    found = [arrays.get(str(k)) for k in range(len(leaves))]
    if any(f is None or f.shape != np.shape(x) for f, x in zip(found, leaves, strict=True)):
        raise InputError(f"{path}: damaged (other arrays); remove it to begin anew")
    return said["notes"], structure.unflatten([jax.numpy.asarray(array) for array in found])


def check_same(folder: Path, before: dict[str, Any], of: dict[str, Any]) -> None:
    """InputError that names what is other than it was in this folder."""
    flat, now = _flat(before), _flat(of)
    for name in sorted({*flat, *now}):
        if flat.get(name) != now.get(name):
            raise InputError(
                f"{folder}: has another fine-tuning, of {name} {_short(flat.get(name))}, not "
                f"{_short(now.get(name))}; give another folder"
            )


def remove(folder: Path) -> None:
    (folder / FILE).unlink(missing_ok=True)


def _flat(of: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in of.items() if name != "config"} | of.get("config", {})


def _open(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["sha256"] != _digest(metadata["said"], arrays):
        raise ValueError("other bytes than were written")
    return arrays, json.loads(metadata["said"])


def _digest(said: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(said.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
