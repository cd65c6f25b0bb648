"""Features on disk: one matrix as .npy, or as .safetensors with a note of how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlstm.corpus.files import user_path
from mlstm.errors import InputError
from mlstm.output import check_folder, writing

KINDS = (".npy", ".safetensors")


def check_target(path: str | os.PathLike) -> Path:
    """The path, its folder made; InputError where it is neither kind of file, or cannot be."""
    target = user_path(path)
    if target.suffix not in KINDS:
        raise InputError(f"{target}: features are written as {' or '.join(KINDS)}")
    check_folder(target.parent)
    return target


def write_features(path: str | os.PathLike, features: np.ndarray, about: Mapping[str, str]) -> None:
    """Write a matrix (texts, units), whole or not at all; of a .safetensors it is the tensor
    "features", and `about` the metadata, which a .npy has no place for. Raises InputError."""
    target = check_target(path)
    with writing(target) as out:
        if target.suffix == ".npy":
            np.save(out, features, allow_pickle=False)
        else:
            from safetensors.numpy import save

            out.write(save({"features": np.ascontiguousarray(features)}, dict(about)))
