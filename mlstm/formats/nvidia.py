"""Checkpoints of NVIDIA's sentiment-discovery: a file of torch.save, dicts in one another.

Names are joined with dots here. "encoder." may be missing before encoder and rnn; around all there
may be {"sd"}, {"lm_encoder"}, {"classifier"}, and "module." before any name. l is the layer, G the
number of gates: 4 in an mLSTM and an LSTM (i, f, g, o), 3 in a GRU (r, z, n).

    array                         shape      ours
    encoder.encoder.weight        (V, E)     embedding
    encoder.rnn.rnns.{l}.w_ih     (G H, F)   layers.l.wx (F, G, H), gates as i, f, o, g
    encoder.rnn.rnns.{l}.w_hh     (G H, H)   layers.l.wh (H, G, H)
    encoder.rnn.rnns.{l}.w_mih    (H, F)     layers.l.wmx (F, H); there for an mLSTM alone
    encoder.rnn.rnns.{l}.w_mhh    (H, H)     layers.l.wmh (H, H)
    encoder.rnn.rnns.{l}.b_ih     (G H)      layers.l.b: the sum of both; of a GRU's n the first
    encoder.rnn.rnns.{l}.b_hh     (G H)      and of a GRU's n layers.l.bn
    decoder.weight                (V, H)     readout.w (H, V); readout "tied" if equal to embedding
    decoder.bias                  (V)        readout.b

With weight normalisation w_x is the pair w_x_g (rows, 1) and w_x_v, w = g v / ||v|| of each row:
our gx and wx, and so on. Where some weights alone have it, it is multiplied out. V is 257 (id =
byte + 1, 0 is padding) or 256 (bytes). Layers read the h of the layer below, and nothing is
dropped between them. A file without a decoder becomes a model without a readout; a classifier that
is in the file is not read. Layers in two directions, with projections, transformers and ReLU are
refused: of a single gate their code builds ReLU alone.

Option: gates="ifog" for an mLSTM of a release before 0.3, whose code split its gates in that order.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlstm.corpus.vocabulary import Bytes, Vocabulary, offset_bytes, untold
from mlstm.errors import InputError
from mlstm.formats import torch_files, torch_layers
from mlstm.formats.found import Found, checked
from mlstm.formats.torch_layers import Arrays
from mlstm.model.config import ModelConfig

NAME = "nvidia"
_CLASSES = [("argparse", "Namespace")]
_WRAPPERS = ("module", "sd", "lm_encoder")
_FIRST = re.compile(r"(.*?)rnns\.0\.w_hh(_v)?")
_IFOG = (0, 1, 2, 3)


def recognises(path: Path) -> bool:
    """Whether it is a file of torch.save with the names of this project's layers."""
    return torch_files.mentions(path, b"rnns.0.w_hh")


def read(path: Path, gates: str = "ifgo") -> Found:
    """The model in a file; gates: the order of an mLSTM's, "ifgo" or "ifog". Raises InputError."""
    where = str(path)
    tensors = torch_files.named_tensors(torch_files.read(path, _CLASSES), where)
    return from_tensors(tensors, where, gates)


def from_tensors(tensors: Mapping[str, Any], where: str, gates: str = "ifgo") -> Found:
    """The model of a state dict, wherever it was kept."""
    if gates not in ("ifgo", "ifog"):
        raise InputError(f'gates is "{gates}"; it may be "ifgo" or, before release 0.3, "ifog"')
    arrays = Arrays({_name(name): tensor for name, tensor in tensors.items()}, where)
    encoder = _encoder(arrays)
    vocabulary, embedding = arrays.shape(f"{encoder}encoder.weight", 2)
    parameters: dict = {"embedding": arrays.take(f"{encoder}encoder.weight", vocabulary, embedding)}
    cell, hidden, layers = _layers(arrays, f"{encoder}rnn.rnns.")
    found = [
        _weights(arrays, f"{encoder}rnn.rnns.{k}.", cell, hidden if k else embedding, hidden)
        for k in range(layers)
    ]
    weight_norm = all(gain is not None for weights in found for _, gain in weights.values())
    parameters["layers"] = {
        str(k): _layer(cell, weights, weight_norm, gates)
        | _biases(arrays, f"{encoder}rnn.rnns.{k}.", cell, hidden, gates)
        for k, weights in enumerate(found)
    }
    decoder = encoder.removesuffix("encoder.") + "decoder"
    readout, of_readout, noted = torch_layers.readout(
        arrays, decoder, parameters["embedding"], vocabulary, hidden
    )
    parameters |= of_readout
    notes = _notes(cell, vocabulary, gates) + noted
    heads = [name for name in arrays.tensors if "classifier" in name.split(".")]
    if heads:
        notes += ("Its classifier was not read.",)
    for name in heads:
        del arrays.tensors[name]
    arrays.finish()
    config = ModelConfig(
        cell=cell,
        vocabulary=vocabulary,
        embedding=embedding,
        hidden=hidden,
        layers=layers,
        weight_norm=weight_norm,
        readout=readout,
    )
    return checked(Found(config, parameters, _symbols(vocabulary), notes=notes), where)


def _name(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _encoder(arrays: Arrays) -> str:
    """What stands before "rnn." in the names of the layers."""
    for name in arrays.tensors:
        match = _FIRST.fullmatch(name)
        if match and match[1].endswith("rnn."):
            return match[1].removesuffix("rnn.")
    raise InputError(
        f"{arrays.where}: no array rnn.rnns.0.w_hh: not a recurrent model of sentiment-discovery"
    )


def _layers(arrays: Arrays, prefix: str) -> tuple[str, int, int]:
    """Cell, hidden units, layers."""

    def name(number: int) -> str:
        plain = f"{prefix}{number}.w_hh"
        return plain if plain in arrays else f"{plain}_v"

    rows, hidden = arrays.shape(name(0), 2)
    several = "w_mih" in (name.removesuffix("_v").rpartition(".")[2] for name in arrays.tensors)
    cell = "multiplicative_lstm" if several else torch_layers.CELLS.get(rows // hidden, "")
    if rows % hidden or cell not in ("multiplicative_lstm", "lstm", "gru"):
        raise InputError(
            f"{arrays.where}: {name(0)} has {rows} rows of {hidden} units; the 4 gates of an LSTM "
            "or mLSTM and the 3 of a GRU are read"
        )
    return cell, hidden, torch_layers.count(arrays, name)


Weights = dict[str, tuple[np.ndarray, np.ndarray | None]]


def _weights(arrays: Arrays, prefix: str, cell: str, features: int, hidden: int) -> Weights:
    """Each matrix of a layer, and its gains (rows,) if it is normalised; torch's layout."""
    rows = hidden * (3 if cell == "gru" else 4)
    shapes = {"w_ih": (rows, features), "w_hh": (rows, hidden)}
    if cell == "multiplicative_lstm":
        shapes |= {"w_mih": (hidden, features), "w_mhh": (hidden, hidden)}
    found: Weights = {}
    for name, shape in shapes.items():
        if prefix + name in arrays:
            found[name] = arrays.take(prefix + name, *shape), None
        else:
            gain = arrays.take(f"{prefix}{name}_g", shape[0], 1)[:, 0]
            found[name] = arrays.take(f"{prefix}{name}_v", *shape), gain
    return found


def _layer(cell: str, weights: Weights, weight_norm: bool, gates: str) -> dict[str, np.ndarray]:
    """Our weights, and gains."""
    order = _order(cell, gates)
    found = {}
    for name, (weight, gain) in weights.items():
        ours = {"w_ih": "wx", "w_hh": "wh", "w_mih": "wmx", "w_mhh": "wmh"}[name]
        split = (0,) if ours.startswith("wm") else order
        if gain is not None and not weight_norm:
            with np.errstate(all="ignore"):  # what is not finite is said so later
                weight = weight * (gain / np.linalg.norm(weight, axis=1))[:, None]
        found[ours] = torch_layers.ours(weight, split)
        if gain is not None and weight_norm:
            parts = gain.reshape(len(split), -1)[list(split)]
            found["g" + ours[1:]] = parts if len(split) > 1 else parts[0]
    return found


def _biases(
    arrays: Arrays, prefix: str, cell: str, hidden: int, gates: str
) -> dict[str, np.ndarray]:
    order = _order(cell, gates)
    b_ih, b_hh = (arrays.bias(prefix + name, len(order) * hidden) for name in ("b_ih", "b_hh"))
    return torch_layers.biases(b_ih, b_hh, order, cell == "gru")


def _order(cell: str, gates: str) -> tuple[int, ...]:
    if cell == "gru":
        return torch_layers.order_of(cell)
    return _IFOG if gates == "ifog" else torch_layers.IFGO


def _notes(cell: str, vocabulary: int, gates: str) -> tuple[str, ...]:
    notes = (
        "Its texts were stripped of tags, folded to ASCII and their blanks squeezed, which is not "
        "done here.",
    )
    if cell == "multiplicative_lstm" and vocabulary == 256 and gates == "ifgo":
        notes += (
            "Gates are taken as i, f, g, o; of a release before 0.3 they are i, f, o, g: "
            'gates="ifog".',
        )
    return notes


def _symbols(size: int) -> Vocabulary:
    """Bytes, with a padding before them, or the pieces of a tokeniser that is another file."""
    return {257: offset_bytes(), 256: Bytes()}.get(size) or untold(size)
