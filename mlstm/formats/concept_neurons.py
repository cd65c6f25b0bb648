"""The byte LSTM of concept_neurons (Carvalho 2018): its TensorFlow variables by name, as a .npz or
as a folder of .npy files; "/" in a name may be ".", "_" or "__".

    name                           shape            meaning                   ours
    lstm/W_f  W_i  W_c  W_o        (256 + H, H)     of [one-hot byte, h]      wx, wh
    lstm/b_f  b_i  b_c  b_o        (H,)             biases; c is the tanh     b
    logits_softmax/W_out           (H, 256)         readout                   readout w
    logits_softmax/b_out           (256,)           its bias                  readout b

One layer, bytes one-hot. Published with H 2048.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.formats import arrays, npz_files
from mlstm.formats.found import Found, checked
from mlstm.formats.saver import by_key, refuse_checkpoint
from mlstm.model.config import ModelConfig

NAME = "concept_neurons"
GATES = "ifoc"  # ours: i, f, o, u
WEIGHTS = [f"lstm_{kind}_{gate}" for kind in "Wb" for gate in GATES]
READOUT = ["logits_softmax_W_out", "logits_softmax_b_out"]


def recognises(path: Path) -> bool:
    """Whether arrays of these names are there."""
    try:
        return by_key(npz_files.names(path), "").keys() >= set(WEIGHTS)
    except InputError:
        return False


def read(path: Path) -> Found:
    """The model. Raises InputError; of a checkpoint of TensorFlow's Saver it says what to do."""
    path = Path(path)
    refuse_checkpoint(path)
    found = npz_files.read_named(path)
    named = {key: found[name] for key, name in by_key(found, str(path)).items()}
    arrays.check_names(named, WEIGHTS + READOUT, str(path))
    H = named["lstm_b_f"].size
    shapes = {name: (256 + H, H) if "_W_" in name else (H,) for name in WEIGHTS}
    shapes |= {READOUT[0]: (H, 256), READOUT[1]: (256,)}
    named = arrays.take(named, shapes, str(path))
    weights = np.stack([named[f"lstm_W_{gate}"] for gate in GATES], axis=1)
    layer = {
        "wx": weights[:256],
        "wh": weights[256:],
        "b": np.stack([named[f"lstm_b_{gate}"] for gate in GATES]),
    }
    parameters = {
        "layers": {"0": layer},
        "readout": {"w": named[READOUT[0]], "b": named[READOUT[1]]},
    }
    config = ModelConfig("lstm", 256, 0, H, 1, weight_norm=False)
    return checked(Found(config, parameters, Bytes()), str(path))
