"""The tanh RNN of Visualization-of-Recurrent-Neural-Networks (a thesis of 2019): CSV text.

    file     shape     meaning                    ours
    W.txt    (H, H)    a = W h + U x + b          wh, transposed
    U.txt    (H, K)    of the one-hot character   wx, transposed
    b.txt    (H, 1)                               b
    V.txt    (K, H)    logits = V h + c           readout w, transposed
    c.txt    (K, 1)                               readout b

h = tanh(a). The files lie in the folder, or in its folder "Weights". Which character is which of
the K is written nowhere: they are numbered as they first come in the text that it was trained on.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np

from mlstm.corpus.vocabulary import untold
from mlstm.errors import InputError
from mlstm.formats import arrays
from mlstm.formats.found import Found, checked
from mlstm.model.config import ModelConfig

NAME = "thesis_rnn"
NAMES = ("W", "U", "b", "V", "c")


def recognises(path: Path) -> bool:
    """A folder with the five files, or with a folder of them."""
    return _folder(path) is not None


def read(path: Path) -> Found:
    """The model. Raises InputError."""
    path = Path(path)
    folder = _folder(path)
    if folder is None:
        raise InputError(f"{path}: not a folder with W.txt, U.txt, b.txt, V.txt and c.txt")
    found = {name: _matrix(folder / f"{name}.txt") for name in NAMES}
    H, K = found["U"].shape
    shapes = {"W": (H, H), "U": (H, K), "b": (H, 1), "V": (K, H), "c": (K, 1)}
    a = arrays.take(found, shapes, str(path))
    layer = {
        "wx": np.ascontiguousarray(a["U"].T),
        "wh": np.ascontiguousarray(a["W"].T),
        "b": a["b"][:, 0],
    }
    parameters = {
        "layers": {"0": layer},
        "readout": {"w": np.ascontiguousarray(a["V"].T), "b": a["c"][:, 0]},
    }
    config = ModelConfig("rnn", K, 0, H, 1, weight_norm=False)
    notes = (f"its files do not tell which characters its {K} symbols are",)
    return checked(Found(config, parameters, untold(K), notes=notes), str(path))


def _folder(path: Path) -> Path | None:
    for folder in (path, path / "Weights"):
        if all((folder / f"{name}.txt").is_file() for name in NAMES):
            return folder
    return None


def _matrix(file: Path) -> np.ndarray:
    data = arrays.read_file(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an empty file is one
            return np.loadtxt(io.BytesIO(data), delimiter=",", ndmin=2, encoding="ascii")
    except (ValueError, Warning) as error:
        raise InputError(
            f"{file}: not a matrix of numbers between commas ({' '.join(str(error).split())[:100]})"
        ) from None
