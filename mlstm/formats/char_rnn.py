"""PyTorch's own recurrent layers: Char-RNN-Understanding's models, and nn.LSTM, nn.GRU, nn.RNN.

A file of torch.save (zip or legacy): a state dict, or the whole module, of
CharRNN(encoder = nn.Embedding(V, E), rnn = nn.GRU, nn.LSTM or nn.RNN, decoder = nn.Linear(H, V))
as github.com/tychovdo/Char-RNN-Understanding has it (V = 100, string.printable; E = H), or of a
recurrent layer alone. Numbers may be float32, float64, float16 or bfloat16. l is the layer, G the
number of gates: 4 in an LSTM (i, f, g, o), 3 in a GRU (r, z, n), 1 in a tanh RNN.

    array                 shape     ours
    encoder.weight        (V, E)    embedding; without it the input is one-hot
    rnn.weight_ih_l{l}    (G H, F)  layers.l.wx (F, G, H), an LSTM's gates as i, f, o, g
    rnn.weight_hh_l{l}    (G H, H)  layers.l.wh (H, G, H)
    rnn.bias_ih_l{l}      (G H)     layers.l.b: the sum of both; a GRU's n has the first alone
    rnn.bias_hh_l{l}      (G H)     and n of the second is layers.l.bn
    decoder.weight        (V, H)    readout.w (H, V); readout "tied" if it equals encoder.weight
    decoder.bias          (V)       readout.b

"module." before a name is dropped. A recurrent layer alone has no prefix "rnn." and becomes a model
without a readout. Both biases, and the decoder's, may be missing: they are zero. Layers in two
directions, with projections, and ReLU are refused. Written is a state dict: b whole as the first
bias, the second -0.0, so that reading it gives every bit back.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus.vocabulary import Bytes, Vocabulary, printable, untold
from mlstm.errors import InputError
from mlstm.formats import torch_files, torch_layers, torch_writing
from mlstm.formats.found import Found, checked
from mlstm.formats.pickles import Object, shown
from mlstm.formats.torch_layers import Arrays
from mlstm.model.config import ModelConfig

NAME = "char_rnn"
_CLASSES = [(module, "CharRNN") for module in ("model", "__main__")]
_MODES = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn"}


def recognises(path: Path) -> bool:
    """Whether it is a file of torch.save with layers of PyTorch's own."""
    return torch_files.mentions(path, b"weight_ih_l0")


def read(path: Path) -> Found:
    """The model in a file. Raises InputError."""
    where = str(path)
    saved = torch_files.read(path, _CLASSES)
    return from_tensors(torch_files.named_tensors(saved, where), where, saved)


def from_tensors(tensors: Mapping[str, Any], where: str, saved: Any = None) -> Found:
    """The model of a state dict, wherever it was kept; `saved` is the module that it was of."""
    arrays = Arrays({_name(name): tensor for name, tensor in tensors.items()}, where)
    prefix = "rnn." if "rnn.weight_ih_l0" in arrays else ""
    cell, features, hidden, layers = _layers(arrays, prefix)

    vocabulary, embedding, parameters = features, 0, {}
    if "encoder.weight" in arrays:
        vocabulary, embedding = arrays.shape("encoder.weight", 2)
        if embedding != features:
            raise InputError(
                f"{where}: encoder.weight gives {embedding} features, the first layer reads "
                f"{features}"
            )
        parameters["embedding"] = arrays.take("encoder.weight", vocabulary, embedding)
    notes = _notes(saved, cell, vocabulary, where)
    parameters["layers"] = {
        str(number): torch_layers.layer(
            cell,
            *_matrices(arrays, prefix, number, features if number == 0 else hidden, hidden, cell),
        )
        for number in range(layers)
    }
    readout, of_readout, noted = torch_layers.readout(
        arrays, "decoder", parameters.get("embedding"), vocabulary, hidden
    )
    parameters |= of_readout
    notes += noted
    arrays.finish()
    config = ModelConfig(
        cell=cell,
        vocabulary=vocabulary,
        embedding=embedding,
        hidden=hidden,
        layers=layers,
        weight_norm=False,
        readout=readout,
    )
    return checked(Found(config, parameters, _symbols(vocabulary), notes=notes), where)


def tells(config: ModelConfig) -> tuple[Vocabulary, str]:
    """The vocabulary and the cleaning that a file of this format is read with."""
    return _symbols(config.vocabulary), "none"


def write(found: Found, path: Path) -> None:
    """A state dict that torch.load(path, weights_only=True) reads. Raises InputError."""
    config, parameters = found.config, found.parameters
    if config.cell not in _MODES.values() or (config.residual and config.layers > 1):
        residual = " with residual sums" if config.residual else ""
        raise InputError(
            f"{path}: PyTorch has no layers of {config.cell}{residual}; this format holds "
            f"{', '.join(_MODES.values())}"
        )
    arrays = {}
    alone = not config.embedding and config.readout == "none"
    if config.embedding:
        arrays["encoder.weight"] = parameters["embedding"]
    for number in range(config.layers):
        four = torch_layers.torch_layer(config.cell, parameters["layers"][str(number)])
        for name, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), four, strict=True):
            arrays[f"{'' if alone else 'rnn.'}{name}_l{number}"] = array
    if config.readout != "none":
        tied = config.readout == "tied"
        weight = parameters["embedding"] if tied else parameters["readout"]["w"].T
        arrays["decoder.weight"] = weight
        arrays["decoder.bias"] = parameters["readout"]["b"]
    torch_writing.write(arrays, path)


def _name(name: str) -> str:
    return name.removeprefix("module.")


def _layers(arrays: Arrays, prefix: str) -> tuple[str, int, int, int]:
    """Cell, features that the first layer reads, hidden units, layers."""
    rows, features = arrays.shape(f"{prefix}weight_ih_l0", 2)
    hidden = arrays.shape(f"{prefix}weight_hh_l0", 2)[1]
    cell = torch_layers.CELLS.get(rows // hidden) if rows % hidden == 0 else None
    if cell is None:
        raise InputError(
            f"{arrays.where}: {prefix}weight_ih_l0 has {rows} rows of {hidden} units: not the 4, 3 "
            "or 1 gates of nn.LSTM, nn.GRU or nn.RNN"
        )
    for name in arrays.tensors:
        if name.endswith("_reverse") or "weight_hr_l" in name:
            kind = "in two directions" if name.endswith("_reverse") else "with projections"
            raise InputError(f"{arrays.where}: its layers are {kind}, which are not read")
    layers = torch_layers.count(arrays, lambda number: f"{prefix}weight_ih_l{number}")
    return cell, features, hidden, layers


def _matrices(
    arrays: Arrays, prefix: str, number: int, features: int, hidden: int, cell: str
) -> list[np.ndarray]:
    rows = len(torch_layers.order_of(cell)) * hidden
    return [
        arrays.take(f"{prefix}weight_ih_l{number}", rows, features),
        arrays.take(f"{prefix}weight_hh_l{number}", rows, hidden),
        arrays.bias(f"{prefix}bias_ih_l{number}", rows),
        arrays.bias(f"{prefix}bias_hh_l{number}", rows),
    ]


def _notes(saved: Any, cell: str, vocabulary: int, where: str) -> tuple[str, ...]:
    """What was assumed; InputError where a module says that it is another."""
    notes = ("Its 100 symbols are taken as string.printable.",) if vocabulary == 100 else ()
    mode = _recurrent(saved).get("mode")
    if mode is None:
        tanh = "Taken as tanh: a state dict does not tell it from ReLU."
        return (*notes, tanh) if cell == "rnn" else notes
    mode = mode if isinstance(mode, str) else "of no kind"
    if _MODES.get(mode) != cell:
        raise InputError(
            f"{where}: its layers are {shown(mode)}; nn.LSTM, nn.GRU and nn.RNN with tanh are read"
        )
    return notes


def _recurrent(saved: Any) -> Object:
    """Of a whole module the layers, which lie in "rnn", the whole perhaps in a DataParallel."""
    for name in ("module", "rnn"):
        parts = saved.get("_modules") if isinstance(saved, Object) else None
        if isinstance(parts, dict) and isinstance(parts.get(name), Object):
            saved = parts[name]
    return saved if isinstance(saved, Object) else Object("state dict")


def _symbols(size: int) -> Vocabulary:
    """string.printable and bytes are known by how many they are."""
    return {100: printable(), 256: Bytes()}.get(size) or untold(size)
