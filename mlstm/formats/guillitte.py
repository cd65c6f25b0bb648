"""Checkpoints of guillitte's pytorch-sentiment-neuron: a file of torch.save, usually legacy.

Saved are whole modules, {"rnn": StackedLSTM, "embed": nn.Embedding, "opt": its flags, "epoch": k};
they are read as what was in them. Names are joined with dots here. l is the layer; gates i, f, o, u
in an mLSTM, i, f, g, o in an nn.LSTMCell.

    array                         shape     ours
    embed.weight                  (256, E)  embedding
    rnn.layer_{l}.wx.weight       (4 H, F)  layers.l.wx (F, 4, H)
    rnn.layer_{l}.wh.weight       (4 H, H)  layers.l.wh (H, 4, H)
    rnn.layer_{l}.wh.bias         (4 H)     layers.l.b (4, H)
    rnn.layer_{l}.wmx.weight      (H, F)    layers.l.wmx (F, H)
    rnn.layer_{l}.wmh.weight      (H, H)    layers.l.wmh (H, H)
    rnn.h2o.weight                (256, H)  readout.w (H, 256)
    rnn.h2o.bias                  (256)     readout.b
                                            of an LSTM instead of the five of a layer:
    rnn.layer_{l}.weight_ih       (4 H, F)  layers.l.wx, gates as i, f, o, g
    rnn.layer_{l}.weight_hh       (4 H, H)  layers.l.wh
    rnn.layer_{l}.bias_ih, _hh    (4 H)     layers.l.b, their sum

No weight normalisation. With several layers the first passes on its h, and each that follows the
sum of what it read and its h, to the layer above or, from the last, to h2o: config.residual. In
training dropout acts on every one of these, the last too. Its GRU was never written.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus.vocabulary import Bytes, untold
from mlstm.formats import torch_files, torch_layers
from mlstm.formats.found import Found, checked
from mlstm.formats.torch_layers import Arrays
from mlstm.model.config import ModelConfig

NAME = "guillitte"
_CLASSES = [
    ("models", "StackedLSTM"),
    ("models", "mLSTM"),
    ("argparse", "Namespace"),
]
_IFOU = (0, 1, 2, 3)


def recognises(path: Path) -> bool:
    """Whether it is a file of torch.save with the names of this project's modules."""
    return torch_files.mentions(path, b"layer_0", b"h2o")


def read(path: Path) -> Found:
    """The model in a file. Raises InputError."""
    where = str(path)
    return from_tensors(torch_files.named_tensors(torch_files.read(path, _CLASSES), where), where)


def from_tensors(tensors: Mapping[str, Any], where: str) -> Found:
    """The model of these arrays, wherever they were kept."""
    arrays = Arrays(tensors, where)
    vocabulary, embedding = arrays.shape("embed.weight", 2)
    hidden = arrays.shape("rnn.h2o.weight", 2)[1]
    cell = "lstm" if "rnn.layer_0.weight_ih" in arrays else "multiplicative_lstm"
    first = "weight_ih" if cell == "lstm" else "wx.weight"
    layers = torch_layers.count(arrays, lambda number: f"rnn.layer_{number}.{first}")
    of_layer = _lstm if cell == "lstm" else _multiplicative
    parameters = {
        "embedding": arrays.take("embed.weight", vocabulary, embedding),
        "layers": {
            str(k): of_layer(arrays, f"rnn.layer_{k}.", hidden if k else embedding, hidden)
            for k in range(layers)
        },
        "readout": {
            "w": np.ascontiguousarray(arrays.take("rnn.h2o.weight", vocabulary, hidden).T),
            "b": arrays.bias("rnn.h2o.bias", vocabulary),
        },
    }
    arrays.finish()
    config = ModelConfig(
        cell=cell,
        vocabulary=vocabulary,
        embedding=embedding,
        hidden=hidden,
        layers=layers,
        weight_norm=False,
        residual=layers > 1,
    )
    symbols = Bytes() if vocabulary == Bytes.size else untold(vocabulary)
    return checked(Found(config, parameters, symbols), where)


def _multiplicative(
    arrays: Arrays, prefix: str, features: int, hidden: int
) -> dict[str, np.ndarray]:
    wx = arrays.take(f"{prefix}wx.weight", 4 * hidden, features)
    wh = arrays.take(f"{prefix}wh.weight", 4 * hidden, hidden)
    return {
        "wx": torch_layers.ours(wx, _IFOU),
        "wh": torch_layers.ours(wh, _IFOU),
        "b": arrays.take(f"{prefix}wh.bias", 4 * hidden).reshape(4, hidden),
        "wmx": torch_layers.ours(arrays.take(f"{prefix}wmx.weight", hidden, features)),
        "wmh": torch_layers.ours(arrays.take(f"{prefix}wmh.weight", hidden, hidden)),
    }


def _lstm(arrays: Arrays, prefix: str, features: int, hidden: int) -> dict[str, np.ndarray]:
    return torch_layers.layer(
        "lstm",
        arrays.take(f"{prefix}weight_ih", 4 * hidden, features),
        arrays.take(f"{prefix}weight_hh", 4 * hidden, hidden),
        arrays.bias(f"{prefix}bias_ih", 4 * hidden),
        arrays.bias(f"{prefix}bias_hh", 4 * hidden),
    )
