"""The multiplicative LSTM of openai_reproduction (Donnelly 2018): model.npy, a pickled array of 27
arrays; or its parts xaa, xab, ... as split made them.

    place    shape            meaning                              ours
    0        (256, E)         embedding                            embedding
    1, 2     (E, H), (H, H)   of m                                 wmx, wmh
    3..5     (E, H), (H, H),  of the tanh: x's, m's, bias          wx, wh, b of the gate u
             (1, H)
    6..8     the same         of the input gate                    of i
    9..11    the same         of the output gate                   of o
    12..14   the same         of the forget gate                   of f
    15, 16   (H,)             gains of 1 and 2                     gmx, gmh
    17..24   (H,)             gains of x's and m's: u, i, o, f     gx, gh
    25, 26   (H, 256), (256,) readout                              readout w, b

Without weight normalisation (--wn 0) there are no gains: 17 arrays. Published with E 64, H 4096;
its parts, in the folder model/994, are joined here. A pickle of Python 2 is read without running
anything that is in it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.formats.arrays import LONGEST_HEADER, as_float32, read_file, read_header
from mlstm.formats.found import Found, checked
from mlstm.formats.pickles import numpy_globals, restricted
from mlstm.model.config import ModelConfig

NAME = "openai_reproduction"
GATES = {"u": 3, "i": 6, "o": 9, "f": 12}
"""Of a gate's three arrays the first place."""
COUNTS = {27: True, 17: False}
"""Whether a file of so many arrays has gains."""


def recognises(path: Path) -> bool:
    """A model.npy of so many objects, its first part, or the folder of either."""
    try:
        with _files(path)[0].open("rb") as file:
            header = read_header(file.read(LONGEST_HEADER), "")
    except (InputError, OSError):
        return False
    return header.dtype.hasobject and math.prod(header.shape) in COUNTS


def read(path: Path) -> Found:
    """The model. Raises InputError."""
    path, where = Path(path), str(path)
    data = b"".join(read_file(file) for file in _files(path))
    header = read_header(data, where)
    count = math.prod(header.shape)
    if not header.dtype.hasobject or count not in COUNTS:
        raise InputError(
            f"{where}: an array {header.shape} of {header.dtype}; 27 pickled arrays are needed, or "
            "17 without weight normalisation"
        )
    pickled = restricted(data[header.start :], numpy_globals(), where)
    arrays = pickled.reshape(-1).tolist() if isinstance(pickled, np.ndarray) else pickled
    if not isinstance(arrays, list) or len(arrays) != count:
        raise InputError(f"{where}: does not hold the {count} arrays that its header tells of")
    for place, array in enumerate(arrays):
        if not isinstance(array, np.ndarray) or not array.ndim or not array.size:
            raise InputError(f"{where}: its array {place} is none")
    return _model(arrays, COUNTS[count], where)


def _model(arrays: list[np.ndarray], weight_norm: bool, where: str) -> Found:
    E, H = arrays[1].shape[0], arrays[1].shape[-1]
    shapes: dict[int, tuple[int, ...]] = {0: (256, E), 1: (E, H), 2: (H, H)}
    for first in GATES.values():
        shapes |= {first: (E, H), first + 1: (H, H), first + 2: (1, H)}
    shapes |= dict.fromkeys(range(15, len(arrays) - 2), (H,))
    shapes |= {len(arrays) - 2: (H, 256), len(arrays) - 1: (256,)}
    for place, shape in shapes.items():
        if arrays[place].shape not in (shape, shape[1:] if shape[0] == 1 else shape):
            raise InputError(
                f"{where}: its array {place} has the shape {arrays[place].shape}; beside an array "
                f"1 {arrays[1].shape} it has to be {shape}"
            )
    a = [as_float32(array, f"{where}: array {place}") for place, array in enumerate(arrays)]
    first = [GATES[gate] for gate in "ifou"]
    layer = {
        "wmx": a[1],
        "wmh": a[2],
        "wx": np.stack([a[place] for place in first], axis=1),
        "wh": np.stack([a[place + 1] for place in first], axis=1),
        "b": np.stack([a[place + 2].reshape(H) for place in first]),
    }
    if weight_norm:
        gains = [17 + 2 * (place - 3) // 3 for place in first]
        layer |= {
            "gmx": a[15],
            "gmh": a[16],
            "gx": np.stack([a[place] for place in gains]),
            "gh": np.stack([a[place + 1] for place in gains]),
        }
    parameters = {"embedding": a[0], "layers": {"0": layer}, "readout": {"w": a[-2], "b": a[-1]}}
    config = ModelConfig("multiplicative_lstm", 256, E, H, 1, weight_norm=weight_norm)
    notes = ("it was trained on reviews without the spaces around a text that its encoder puts",)
    return checked(Found(config, parameters, Bytes(), "openai", notes), where)


def _files(path: Path) -> list[Path]:
    """The file, or the parts of it in their order."""
    if path.is_dir():
        path = path / "model.npy" if (path / "model.npy").is_file() else path / "xaa"
        if not path.is_file():
            raise InputError(f"{path.parent}: neither model.npy nor its first part xaa is there")
    if path.name != "xaa":
        return [path]
    parts = sorted(file for file in path.parent.glob("x[a-z][a-z]") if file.is_file())
    for nth, part in enumerate(parts):
        wanted = f"x{chr(97 + nth // 26)}{chr(97 + nth % 26)}"
        if part.name != wanted:
            raise InputError(f"{path.parent}: the part {wanted} is missing; {part.name} is there")
    return parts
