"""LSTM language models of TensorFlow 1 (BasicLSTMCell, LSTMCell), as char-rnn-tensorflow trains
them: variables by name, as a .npz or as a folder of .npy files; "/" may be ".", "_" or "__".

    name (what comes before, and the case, may differ)  shape         ours
    embedding                                           (V, E)        embedding
    multi_rnn_cell/cell_0/basic_lstm_cell/kernel        (F + H, 4H)   wx, wh of layer 0
    multi_rnn_cell/cell_0/basic_lstm_cell/bias          (4H,)         b of layer 0
    cell_1 ...: the layers above; one layer alone has no multi_rnn_cell/cell_0
    softmax_w, or any other matrix that is left         (H, V)        readout w
    softmax_b, or any other vector that is left         (V,)          readout b

The columns of a kernel are the gates i, j, f, o, where j is the tanh (our u). Of the cell's
(lstm_cell, basic_lstm_cell, BasicLSTMCell/Linear) the older names weights and biases, Matrix and
Bias are read too. A forget bias of 1 is not in the file, but added while the cell runs: it is
folded into b. Without an embedding the input is one-hot; without a matrix that is left the
recurrent layers are read alone. A chars_vocab.pkl beside the arrays tells the symbols.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus.vocabulary import Bytes, Table, untold
from mlstm.errors import InputError
from mlstm.formats import arrays, npz_files
from mlstm.formats.found import MOST_LAYERS, Found, checked
from mlstm.formats.pickles import restricted
from mlstm.formats.saver import by_key, is_checkpoint, refuse_checkpoint
from mlstm.model.config import ModelConfig

NAME = "tensorflow"

_KERNEL = re.compile(r"(.*lstm_?cell(?:_linear)?)_(?:kernel|weights|matrix)")
_BIAS = ("bias", "biases")
_EMBEDDING = re.compile(r"(?:.*_)?embed\w*")
_LAYER = re.compile(r"(?:^|_)cell_?(\d{1,4})(?=_)")


def recognises(path: Path) -> bool:
    """Arrays of such a cell, or a checkpoint of the Saver, of which `read` says what to do."""
    try:
        keys = by_key(npz_files.names(path), "")
    except InputError:
        return False
    return any(_KERNEL.fullmatch(key.lower()) for key in keys) or is_checkpoint(path)


def read(path: Path, forget_bias: float = 1.0) -> Found:
    """The model. Raises InputError.

    forget_bias: what the cell adds to its forget gate while it runs; 1 is the cell's default.
    """
    path, where = Path(path), str(path)
    refuse_checkpoint(path)
    found = npz_files.read_named(path)
    named = {
        key.lower(): arrays.as_float32(found[name], f"{where}: {name[:80]}")
        for key, name in by_key(found, where).items()
    }
    layers = _layers(named, where)
    H = layers[0][1].size // 4
    embedding = _embedding(named, where)
    V = embedding.shape[0] if embedding is not None else layers[0][0].shape[0] - H
    E = embedding.shape[1] if embedding is not None else 0
    parameters: dict[str, Any] = {"layers": {}}
    for number, (kernel, bias) in enumerate(layers):
        reads = H if number else (E or V)
        if bias.shape != (4 * H,) or kernel.shape != (reads + H, 4 * H) or min(reads, H) < 1:
            raise InputError(
                f"{where}: layer {number} has a kernel {kernel.shape} and a bias {bias.shape}; "
                f"they have to be {(reads + H, 4 * H)} and {(4 * H,)}"
            )
        parameters["layers"][str(number)] = _layer(kernel, bias, reads, H, forget_bias)
    if embedding is not None:
        parameters["embedding"] = embedding
    readout = _readout(named, H, V, where)
    if readout is not None:
        parameters["readout"] = readout
    config = ModelConfig(
        "lstm", V, E, H, len(layers), weight_norm=False, readout="linear" if readout else "none"
    )
    vocabulary, notes = _vocabulary(path, V)
    notes += (f"a forget bias of {forget_bias:g}, which the cell adds while it runs, is folded in",)
    return checked(Found(config, parameters, vocabulary, notes=notes), where)


def _layers(named: dict[str, np.ndarray], where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(kernel, bias) of each layer, taken out of `named`."""
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for key in [key for key in named if _KERNEL.fullmatch(key)]:
        cell = _KERNEL.fullmatch(key)[1]  # pyright: ignore[reportOptionalSubscript]
        said = _LAYER.findall(cell)
        number = int(said[-1]) if said else 0
        bias = next((f"{cell}_{end}" for end in _BIAS if f"{cell}_{end}" in named), None)
        if bias is None or number in found:
            raise InputError(
                f"{where}: {'a second layer' if bias else 'no bias beside'} {key[:80]}; each layer "
                "has one kernel and one bias"
            )
        found[number] = named.pop(key), named.pop(bias)
    if not found or sorted(found) != list(range(len(found))) or len(found) > MOST_LAYERS:
        raise InputError(
            f"{where}: LSTM cells of the layers {sorted(found)[:20]}; they count from 0 on"
        )
    return [found[number] for number in range(len(found))]


def _layer(kernel: np.ndarray, bias: np.ndarray, reads: int, H: int, forget_bias: float) -> dict:
    ours = [0, 2, 3, 1]  # i, f, o, u of i, j, f, o
    kernel = kernel.reshape(reads + H, 4, H)[:, ours]
    bias = bias.reshape(4, H)[ours] + np.array([[0], [forget_bias], [0], [0]], np.float32)
    return {
        "wx": np.ascontiguousarray(kernel[:reads]),
        "wh": np.ascontiguousarray(kernel[reads:]),
        "b": bias.astype(np.float32),
    }


def _embedding(named: dict[str, np.ndarray], where: str) -> np.ndarray | None:
    keys = [key for key in named if _EMBEDDING.fullmatch(key)]
    if len(keys) > 1 or (keys and (named[keys[0]].ndim != 2 or 0 in named[keys[0]].shape)):
        raise InputError(f"{where}: one matrix for an embedding is read; it has {', '.join(keys)}")
    return named.pop(keys[0]) if keys else None


def _readout(named: dict[str, np.ndarray], H: int, V: int, where: str) -> dict | None:
    """The matrix and the vector that are left; None where nothing is."""
    shapes = {key: array.shape for key, array in named.items()}
    if not shapes:
        return None
    if sorted(shapes.values(), key=len) not in ([(V,), (H, V)], [(H, V)]):
        left = ", ".join(f"{key[:60]} {shape}" for key, shape in list(shapes.items())[:8])
        raise InputError(
            f"{where}: besides cells and embedding it has {left}; a readout {(H, V)} and its bias "
            f"{(V,)} are read"
        )
    w = next(array for array in named.values() if array.ndim == 2)
    b = next((array for array in named.values() if array.ndim == 1), np.zeros(V, np.float32))
    return {"w": w, "b": b}


def _vocabulary(path: Path, V: int) -> tuple[Bytes | Table, tuple[str, ...]]:
    file = (path if path.is_dir() else path.parent) / "chars_vocab.pkl"
    if file.is_file():
        return _characters(file, V), ()
    if V == 256:
        return Bytes(), ("its 256 symbols are taken to be the bytes",)
    return untold(V), (f"its arrays do not tell what its {V} symbols are; chars_vocab.pkl would",)


def _characters(file: Path, V: int) -> Table:
    """The symbols of a pickled pair: the characters in the order of their ids, and a dict."""
    read = restricted(arrays.read_file(file), {}, str(file))
    characters = read[0] if isinstance(read, tuple | list) and len(read) == 2 else None
    if not isinstance(characters, tuple | list) or len(characters) != V:
        raise InputError(f"{file}: not the {V} characters of the model and their ids")
    try:
        return Table(tuple(str.encode(character) for character in characters), name="characters")
    except (TypeError, UnicodeEncodeError):
        raise InputError(f"{file}: a symbol in it is no character") from None
