"""Recurrent models of Keras 2 as HDF5: files of weights, and whole models.

    layer         array             shape                ours
    Embedding     embeddings        (V, E)               embedding
    LSTM          kernel            (F, 4H)              wx; gates i, f, c, o, where c is our u
                  recurrent_kernel  (H, 4H)              wh
                  bias              (4H,)                b
    GRU           kernel            (F, 3H)              wx; gates z, r, h, where h is our n
                  recurrent_kernel  (H, 3H)              wh
                  bias              (3H,) or (2, 3H)     b; with reset_after two rows are b and bn
    SimpleRNN     kernel, recurrent_kernel, bias         wx, wh, b: (F, H), (H, H), (H,)
    Dense         kernel, bias      (H, V), (V,)         readout w, b

A layer's arrays are in a group of its name, and the attributes layer_names and weight_names tell
the order; a whole model has all this in the group "model_weights" and its layers' settings in the
attribute model_config. CuDNNLSTM and CuDNNGRU, known by their two biases in one vector, have
kernels whose numbers lie in another order. Read are models of one embedding (without one the input
is one-hot), recurrent layers one above the other, and one Dense layer on the last of them; where
more comes after them, as textgenrnn's attention, they are read without a readout. Words or
characters are not in such files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlstm.corpus.vocabulary import untold
from mlstm.errors import InputError
from mlstm.formats import keras_layers
from mlstm.formats.arrays import RATIO, SLACK, as_float32, begins_with
from mlstm.formats.found import Found, checked
from mlstm.formats.hdf5 import MAGIC, Object, open_file
from mlstm.model.config import ModelConfig

NAME = "keras"
MOST_LAYERS = 1000


class Layer(NamedTuple):
    """A layer's name, its arrays by the last part of their names, and its settings if told."""

    name: str
    arrays: dict[str, np.ndarray]
    settings: dict[str, Any]


def recognises(path: Path) -> bool:
    """Whether it is an HDF5 file."""
    return begins_with(path, MAGIC)


def read(path: Path) -> Found:
    """The model. Raises InputError."""
    path, where = Path(path), str(path)
    layers = [layer for layer in _layers(open_file(path), where) if layer.arrays]
    embedding, recurrent, rest = _sorted(layers, where)
    read_layers = [keras_layers.read(*layer, f"{where}: {layer.name[:80]}") for layer in recurrent]
    cells = {cell for cell, _, _ in read_layers}
    sizes = {H for _, H, _ in read_layers}
    if len(cells) > 1 or len(sizes) > 1:
        raise InputError(
            f"{where}: recurrent layers of several kinds or sizes ({', '.join(sorted(cells))}; "
            f"{sorted(sizes)}); ours are all alike"
        )
    H = sizes.pop()
    wx = read_layers[0][2]["wx"]
    V, E = embedding.shape if embedding is not None else (wx.shape[0], 0)
    if not V:
        raise InputError(f"{where}: its first layer reads no symbols: its kernel is {wx.shape}")
    parameters: dict[str, Any] = {
        "layers": {str(number): arrays for number, (_, _, arrays) in enumerate(read_layers)}
    }
    if embedding is not None:
        parameters["embedding"] = embedding
    notes = [f"its file does not tell what its {V} symbols are"]
    readout = _readout(rest, H, V)
    if readout is not None:
        parameters["readout"] = readout
    else:
        after = ", ".join(layer.name[:80] for layer in rest) or "none"
        notes.append(f"no readout was read; layers after the recurrent ones: {after}")
    if not all(layer.settings or keras_layers.is_cudnn(layer.arrays) for layer in recurrent):
        notes.append(
            "a file of weights alone does not tell the gates' function: it is taken to be sigmoid, "
            "which before Keras 2.3 was not the default"
        )
    config = ModelConfig(
        cells.pop(), V, E, H, len(read_layers), weight_norm=False,
        readout="none" if readout is None else "linear",
    )  # fmt: skip
    return checked(Found(config, parameters, untold(V), notes=tuple(notes)), where)


def _layers(root: Object, where: str) -> list[Layer]:
    """The model's layers in their order. Raises InputError."""
    weights, names = root, root.text("layer_names")
    if not names:
        weights = root.member("model_weights")
        names = weights.text("layer_names") if weights else None
    if weights is None or names is None:
        raise InputError(
            f"{where}: no layer_names; a file that Keras 2 wrote is needed, by model.save or "
            "model.save_weights to a name that ends in .h5"
        )
    if len(names) > MOST_LAYERS:
        raise InputError(f"{where}: {len(names):,} layers; at most {MOST_LAYERS:,} are read")
    if len(set(names)) < len(names):
        raise InputError(f"{where}: its layer_names name one layer twice; it is damaged")
    settings = _settings(root, where)
    found, budget = [], RATIO * root.size + SLACK
    for name in names:
        group = weights.member(name) if name.isprintable() else None
        if group is None:
            raise InputError(f"{where}: no group of the layer {name[:80]!r}")
        arrays: dict[str, np.ndarray] = {}
        for path in (group.text("weight_names") or [])[:MOST_LAYERS]:
            dataset = group.member(path) if path.isprintable() else None
            last = path.rsplit("/", 1)[-1].removesuffix(":0")
            if dataset is None or last in arrays:
                raise InputError(
                    f"{where}: the layer {name[:80]!r} has "
                    + (
                        f"no array {path[:80]!r}"
                        if dataset is None
                        else f"two arrays {last[:80]!r}, as bidirectional ones have: not read"
                    )
                )
            arrays[last] = as_float32(dataset.array(), f"{where}: {path[:80]}")
            budget -= arrays[last].nbytes
            if budget < 0:
                raise InputError(f"{where}: has more numbers than a file of its size can hold")
        found.append(Layer(name, arrays, settings.get(name, {})))
    return found


def _settings(root: Object, where: str) -> dict[str, dict[str, Any]]:
    """The settings of each layer by its name, with its "class_name"; none in a file of weights."""
    text = root.text("model_config")
    if not text:
        return {}
    try:
        config = json.loads(text[0])["config"]
        layers = config["layers"] if isinstance(config, dict) else config
        found = {}
        for layer in layers:
            inner = layer["config"]
            while isinstance(inner.get("layer"), dict):  # a wrapper, as TimeDistributed
                inner = {**inner["layer"]["config"], "name": inner["name"]}
            found[str(inner["name"])] = {**inner, "class_name": str(layer["class_name"])}
        return found
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{where}: its model_config tells no layers; it is damaged") from None


def _sorted(layers: list[Layer], where: str) -> tuple[np.ndarray | None, list[Layer], list[Layer]]:
    """The embedding, the recurrent layers, and what comes after them."""
    embedding = None
    if layers and layers[0].arrays.keys() == {"embeddings"}:
        embedding = layers[0].arrays["embeddings"]
        layers = layers[1:]
        if embedding.ndim != 2 or 0 in embedding.shape:
            raise InputError(f"{where}: an embedding of the shape {embedding.shape}")
    recurrent = []
    while layers and "recurrent_kernel" in layers[0].arrays:
        recurrent.append(layers[0])
        layers = layers[1:]
    if not recurrent or any("recurrent_kernel" in layer.arrays for layer in layers):
        names = ", ".join(f"{layer.name[:40]} ({', '.join(layer.arrays)[:80]})" for layer in layers)
        raise InputError(
            f"{where}: not an embedding and recurrent layers one above the other; there is "
            f"{names[:500] or 'none'}"
        )
    return embedding, recurrent, layers


def _readout(rest: list[Layer], H: int, V: int) -> dict[str, np.ndarray] | None:
    """Of the one Dense layer that comes after; None where it is not that."""
    if len(rest) != 1 or not rest[0].arrays.keys() <= {"kernel", "bias"}:
        return None
    w, b = rest[0].arrays.get("kernel"), rest[0].arrays.get("bias", np.zeros(V, np.float32))
    if w is None or w.shape != (H, V) or b.shape != (V,):
        return None
    return {"w": w, "b": b}
