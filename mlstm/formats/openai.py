"""OpenAI's sentiment neuron (Radford et al. 2017): a folder of fifteen .npy files, float32.

    file   shape       meaning                            ours
    0      (256, E)    embedding                          embedding
    1      (E, 4H)     wx; gates i, f, o, u side by side  wx (E, 4, H)
    2..5   (H, H)      wh of the gates i, f, o, u         wh (H, 4, H)
    6      (E, H)      wmx                                wmx
    7      (H, H)      wmh                                wmh
    8      (4H,)       b                                  b (4, H)
    9, 10  (4H,)       gains gx and gh of wx and wh       gx, gh (4, H)
    11, 12 (H,)        gains gmx and gmh                  gmx, gmh
    13     (H, 256)    readout                            readout w
    14     (256,)      its bias                           readout b

Every weight of the cell is normalised: w = g v / ||v|| for each output unit. Published with E 64,
H 4096; any E and H are read. Texts were put through the cleaning "openai".
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from mlstm.corpus.vocabulary import Bytes, Vocabulary
from mlstm.errors import InputError
from mlstm.formats.arrays import as_float32, read_npy
from mlstm.formats.found import Found, checked
from mlstm.model.config import ModelConfig
from mlstm.output import check_folder

NAME = "openai"
NAMES = tuple(f"{number}.npy" for number in range(15))


def recognises(path: Path) -> bool:
    """A folder with two of the files or more; `read` says which are missing."""
    return path.is_dir() and sum((path / name).is_file() for name in NAMES) > 1


def read(path: Path) -> Found:
    """The model of a folder. Raises InputError, which names the files that are missing."""
    path = Path(path)
    missing = [name for name in NAMES if not (path / name).is_file()]
    if missing:
        raise InputError(
            f"{path}: no {', '.join(missing)}; the model is the fifteen files 0.npy to 14.npy"
        )
    return from_list([read_npy(path / name) for name in NAMES], str(path))


def from_list(arrays: list[np.ndarray], where: str) -> Found:
    """The model of the fifteen arrays in their order. Raises InputError."""
    if arrays[0].ndim != 2 or arrays[11].ndim != 1:
        raise InputError(
            f"{where}: 0.npy and 11.npy have {arrays[0].ndim} and {arrays[11].ndim} axes; they "
            "have to have 2 and 1"
        )
    E, H = arrays[0].shape[1], arrays[11].size
    shapes = [
        (256, E), (E, 4 * H), *[(H, H)] * 4, (E, H), (H, H), (4 * H,), (4 * H,), (4 * H,), (H,),
        (H,), (H, 256), (256,),
    ]  # fmt: skip
    for name, array, shape in zip(NAMES, arrays, shapes, strict=True):
        if array.shape != shape or 0 in shape:
            raise InputError(
                f"{where}: {name} has the shape {array.shape}; beside a 0.npy {arrays[0].shape} "
                f"and an 11.npy {arrays[11].shape} it has to be {shape}"
            )
    a = [as_float32(array, f"{where}: {name}") for name, array in zip(NAMES, arrays, strict=True)]
    layer = {
        "wx": a[1].reshape(E, 4, H),
        "wh": np.stack(a[2:6], axis=1),
        "wmx": a[6],
        "wmh": a[7],
        "b": a[8].reshape(4, H),
        "gx": a[9].reshape(4, H),
        "gh": a[10].reshape(4, H),
        "gmx": a[11],
        "gmh": a[12],
    }
    parameters = {
        "embedding": a[0],
        "layers": {"0": layer},
        "readout": {"w": a[13], "b": a[14]},
    }
    config = ModelConfig("multiplicative_lstm", 256, E, H, 1, weight_norm=True)
    return checked(Found(config, parameters, Bytes(), "openai"), where)


def tells(_: ModelConfig) -> tuple[Vocabulary, str]:
    """The vocabulary and the cleaning that a folder of this format is read with."""
    return Bytes(), "openai"


def write(found: Found, path: Path) -> None:
    """The model as a folder of fifteen files, whole or not there. InputError where the format has
    no place for it, or the folder is there already."""
    path, c = Path(path), found.config
    fits = ModelConfig("multiplicative_lstm", 256, c.embedding, c.hidden, 1, weight_norm=True)
    for name in ("cell", "vocabulary", "layers", "weight_norm", "readout", "residual"):
        if getattr(c, name, None) != getattr(fits, name, None):
            raise InputError(
                f"{path}: OpenAI's format has no place for {name} {getattr(c, name)!r}, only for "
                f"{getattr(fits, name)!r}"
            )
    if not isinstance(found.vocabulary, Bytes) or c.embedding == 0:
        raise InputError(f"{path}: OpenAI's format is of models with an embedding of bytes alone")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: is there already; name a new folder")
    layer, readout = found.parameters["layers"]["0"], found.parameters["readout"]
    E, H = c.embedding, c.hidden
    arrays = [
        found.parameters["embedding"],
        layer["wx"].reshape(E, 4 * H),
        *(layer["wh"][:, gate] for gate in range(4)),
        layer["wmx"],
        layer["wmh"],
        *(layer[name].reshape(4 * H) for name in ("b", "gx", "gh")),
        *(layer[name] for name in ("gmx", "gmh")),
        readout["w"],
        readout["b"],
    ]
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    check_folder(beside)
    try:
        for name, array in zip(NAMES, arrays, strict=True):
            np.save(beside / name, np.ascontiguousarray(array, np.float32))
        os.replace(beside, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
