"""Checkpoints of pytorch-sentiment-neuron: whole modules, read as their equations have them."""

import dataclasses

import numpy as np
import pytest
from mutations import survives
from ours import logits_of, states_of
from torch_equations import lstm, sigmoid
from torch_writer import SAVE, Module, Parameter

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.formats import guillitte

E, H = 5, 6
IDS = np.random.default_rng(1).integers(0, 256, (15, 2)).astype(np.int32)


def weights(kind, layers, vocabulary=256):
    """The arrays by their names in the modules."""
    draw = np.random.default_rng(3)
    shapes = {"embed.weight": (vocabulary, E)}
    for k in range(layers):
        below = H if k else E
        if kind == "mlstm":
            of_layer = {"wx.weight": (4 * H, below), "wh.weight": (4 * H, H), "wh.bias": (4 * H,)}
            of_layer |= {"wmx.weight": (H, below), "wmh.weight": (H, H)}
        else:
            of_layer = {"weight_ih": (4 * H, below), "weight_hh": (4 * H, H)}
            of_layer |= {"bias_ih": (4 * H,), "bias_hh": (4 * H,)}
        shapes |= {f"rnn.layer_{k}.{name}": shape for name, shape in of_layer.items()}
    shapes |= {"rnn.h2o.weight": (vocabulary, H), "rnn.h2o.bias": (vocabulary,)}
    return {name: draw.normal(0, 0.6, shape).astype("f4") for name, shape in shapes.items()}


def linear(found, prefix):
    return Module.of(
        "torch.nn.modules.linear",
        "Linear",
        {
            name: Parameter(found[prefix + name], old=True) if prefix + name in found else None
            for name in ("weight", "bias")
        },
    )


def checkpoint(kind, layers, found):
    """{'rnn', 'embed', 'opt', 'epoch'} as lm.py pickles it."""
    stack = {"dropout": Module.of("torch.nn.modules.dropout", "Dropout", p=0.1)}
    stack["h2o"] = linear(found, "rnn.h2o.")
    cells = []
    for k in range(layers):
        prefix = f"rnn.layer_{k}."
        if kind == "mlstm":
            parts = {name: linear(found, f"{prefix}{name}.") for name in ("wx", "wh", "wmx", "wmh")}
            cell = Module.of("models", "mLSTM", {}, parts, hidden_size=H)
        else:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            arrays = {name: Parameter(found[prefix + name], old=True) for name in names}
            cell = Module.of("torch.nn.modules.rnn", "LSTMCell", arrays)
        stack[f"layer_{k}"] = cell
        cells.append(cell)
    embed = {"weight": Parameter(found["embed.weight"], old=True)}
    return {
        "rnn": Module.of("models", "StackedLSTM", {}, stack, rnn_size=H, layers=cells[:0]),
        "embed": Module.of("torch.nn.modules.sparse", "Embedding", embed),
        "opt": Module("argparse", "Namespace", {"rnn_type": kind, "learning_rate": 0.7}),
        "epoch": 9,
    }


def run(kind, layers, found, ids):
    """Logits, and the last layer's c, in float64."""
    w = {name: array.astype(np.float64) for name, array in found.items()}
    state = [(np.zeros((ids.shape[1], H)),) * 2 for _ in range(layers)]
    logits, cells = [], []
    for now in ids:
        x = w["embed.weight"][now]
        for k in range(layers):
            p, (h, c) = f"rnn.layer_{k}.", state[k]
            if kind == "mlstm":
                m = (x @ w[f"{p}wmx.weight"].T) * (h @ w[f"{p}wmh.weight"].T)
                z = x @ w[f"{p}wx.weight"].T + m @ w[f"{p}wh.weight"].T + w[f"{p}wh.bias"]
                i, f, o, u = np.split(z, 4, axis=1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
                h = sigmoid(o) * np.tanh(c)
            else:
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                h, c = lstm(x, h, c, *(w[p + name] for name in names))
            state[k] = h, c
            x = h if k == 0 else x + h
        logits.append(x @ w["rnn.h2o.weight"].T + w["rnn.h2o.bias"])
        cells.append(c)
    return np.stack(logits), np.stack(cells)


@pytest.mark.parametrize("container", SAVE)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", ["mlstm", "lstm"])
def test_the_logits_are_those_of_its_equations(kind, layers, container, tmp_path):
    found = weights(kind, layers)
    SAVE[container](tmp_path / "a.pt", checkpoint(kind, layers, found), device="cuda:0")
    assert guillitte.recognises(tmp_path / "a.pt")
    model = guillitte.read(tmp_path / "a.pt")
    assert (model.config.residual, model.config.weight_norm) == (layers > 1, False)
    assert model.vocabulary == Bytes()
    wanted, cells = run(kind, layers, found, IDS)
    np.testing.assert_allclose(logits_of(model, IDS), wanted, atol=1e-5)
    (ours,) = states_of(model, IDS, f"{layers - 1}.c")
    np.testing.assert_allclose(ours, cells, atol=1e-5)


def test_without_the_residual_sums_the_logits_would_be_others(tmp_path):
    found = weights("mlstm", 2)
    SAVE["zip"](tmp_path / "a.pt", checkpoint("mlstm", 2, found))
    model = guillitte.read(tmp_path / "a.pt")
    plain = dataclasses.replace(model, config=dataclasses.replace(model.config, residual=False))
    wanted, _ = run("mlstm", 2, found, IDS)
    assert np.abs(logits_of(plain, IDS) - wanted).max() > 0.1


def test_what_is_not_read_is_said(tmp_path):
    def refused(saved, message):
        SAVE["legacy"](tmp_path / "a.pt", saved)
        with pytest.raises(InputError, match=message) as met:
            guillitte.read(tmp_path / "a.pt")
        assert "\n" not in str(met.value)

    found = weights("mlstm", 1)
    other = checkpoint("mlstm", 1, found)
    other["rnn"].name = "StackedGRU"
    refused(other, r"asks for models\.StackedGRU.*nothing was run")
    refused({"rnn": 3}, r"no array embed\.weight")
    lacking = {k: v for k, v in found.items() if "wmh" not in k}
    refused(lacking, r"no array rnn\.layer_0\.wmh\.weight")
    wrong = found | {"rnn.layer_0.wx.weight": np.zeros((4 * H, E + 1), "f4")}
    refused(wrong, r"wx\.weight has the shape \(24, 6\), it has to be \(24, 5\)")


def small(path, container):
    found = weights("mlstm", 2, vocabulary=7)
    SAVE[container](path, checkpoint("mlstm", 2, found))


@pytest.mark.parametrize("container", SAVE)
def test_damaged_files_give_one_line_or_a_sound_model(container, tmp_path):
    small(tmp_path / "a.pt", container)
    guillitte.read(tmp_path / "a.pt")
    refused, _ = survives(guillitte.read, tmp_path / "a.pt", 100)
    assert refused > 40


@pytest.mark.slow
@pytest.mark.parametrize("container", SAVE)
def test_two_thousand_damaged_files(container, tmp_path):
    small(tmp_path / "a.pt", container)
    survives(guillitte.read, tmp_path / "a.pt", 2000, first=100)
