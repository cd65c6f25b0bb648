"""PyTorch's recurrent layers: read as its documentation has them, and written back to the bit."""

import jax
import numpy as np
import pytest
from mutations import survives
from ours import logits_of, states_of
from torch_equations import random_layers, run
from torch_writer import SAVE, Module, Ordered, Parameter, Strided

from mlstm.corpus.vocabulary import printable
from mlstm.errors import InputError
from mlstm.formats import char_rnn
from mlstm.formats.found import Found
from mlstm.model import language_model
from mlstm.model.config import ModelConfig

V, H = 100, 6
CASES = [(cell, layers) for cell in ("lstm", "gru", "rnn") for layers in (1, 2, 3)]
IDS = np.random.default_rng(1).integers(0, V, (15, 2)).astype(np.int32)


def weights(cell, layers):
    """The state dict of CharRNN(100, H, 100, cell, layers)."""
    draw = np.random.default_rng(7)
    found = {"encoder.weight": draw.normal(size=(V, H)).astype("f4")}
    found |= {f"rnn.{k}": v for k, v in random_layers(cell, H, H, layers).items()}
    found["decoder.weight"] = draw.normal(size=(V, H)).astype("f4")
    return found | {"decoder.bias": draw.normal(size=V).astype("f4")}


def expected(cell, layers, found):
    recurrent = {k.removeprefix("rnn."): v for k, v in found.items() if k.startswith("rnn.")}
    hidden = run(cell, recurrent, layers, found["encoder.weight"].astype(np.float64)[IDS])
    return hidden @ found["decoder.weight"].T.astype(np.float64) + found["decoder.bias"]


def module(cell, found, old=False, **changes):
    """The whole module as torch pickles it; `old` as torch 0.2 did, all layers in one storage."""

    def part(prefix):
        return {k.rpartition(".")[2]: v for k, v in found.items() if k.startswith(prefix)}

    recurrent = part("rnn.")
    if old:
        buffer = np.concatenate([a.reshape(-1) for a in recurrent.values()])
        offsets = np.cumsum([0, *(a.size for a in recurrent.values())]).tolist()
        recurrent = {
            name: Strided(buffer, offset, a.shape, (H, 1) if a.ndim == 2 else (1,))
            for (name, a), offset in zip(recurrent.items(), offsets, strict=False)
        }
    wrapped = {
        name: {k: Parameter(v, old) for k, v in arrays.items()}
        for name, arrays in (
            ("encoder", part("encoder.")),
            ("rnn", recurrent),
            ("decoder", part("decoder.")),
        )
    }
    names = list(wrapped["rnn"])
    layers = Module.of(
        "torch.nn.modules.rnn",
        {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}[cell],
        wrapped["rnn"],
        mode={"lstm": "LSTM", "gru": "GRU", "rnn": "RNN_TANH"}[cell],
        num_layers=len(names) // 4,
        bidirectional=False,
        _all_weights=[names[k : k + 4] for k in range(0, len(names), 4)],
    )
    layers.state |= changes
    parts = {
        "encoder": Module.of("torch.nn.modules.sparse", "Embedding", wrapped["encoder"]),
        "rnn": layers,
        "decoder": Module.of("torch.nn.modules.linear", "Linear", wrapped["decoder"]),
    }
    return Module.of("model", "CharRNN", {}, parts, rnn_class=cell, n_layers=len(names) // 4)


@pytest.mark.parametrize("container", SAVE)
@pytest.mark.parametrize(("cell", "layers"), CASES)
def test_the_logits_are_those_of_torchs_equations(cell, layers, container, tmp_path):
    found = weights(cell, layers)
    wanted = expected(cell, layers, found)
    assert np.abs(wanted).max() > 1, "a comparison of zeros says nothing"
    first = None
    for number, saved in enumerate(
        [
            Ordered(found),
            {f"module.{k}": v for k, v in found.items()},
            module(cell, found),
            module(cell, found, old=True),
        ]
    ):
        path = tmp_path / f"{number}.pt"
        SAVE[container](path, saved, device="cuda:0" if number else "cpu")
        assert char_rnn.recognises(path)
        model = char_rnn.read(path)
        assert (model.config.cell, model.config.layers) == (cell, layers)
        assert model.vocabulary == printable()
        if number == 0:
            np.testing.assert_allclose(logits_of(model, IDS), wanted, atol=1e-5)
            first = model
        assert same(model, first)
        assert ("ReLU" in str(model.notes)) == (cell == "rnn" and number < 2)


@pytest.mark.parametrize(("cell", "layers"), CASES)
def test_layers_alone_are_a_model_without_embedding_and_readout(cell, layers, tmp_path):
    found = random_layers(cell, 9, H, layers)
    SAVE["zip"](tmp_path / "a.pt", Ordered(found))
    model = char_rnn.read(tmp_path / "a.pt")
    assert (model.config.embedding, model.config.vocabulary, model.config.readout) == (0, 9, "none")
    ids = IDS % 9
    wanted = run(cell, found, layers, np.eye(9)[ids])
    (hidden,) = states_of(model, ids, f"{layers - 1}.h")
    np.testing.assert_allclose(hidden, wanted, atol=1e-5)
    char_rnn.write(model, tmp_path / "b.pt")
    assert same(model, char_rnn.read(tmp_path / "b.pt"))


@pytest.mark.parametrize(("kind", "limit"), [("f8", 1e-5), ("f2", 2e-2)])
def test_other_types_of_numbers_become_float32(kind, limit, tmp_path):
    found = weights("gru", 2)
    SAVE["zip"](tmp_path / "a.pt", {k: v.astype(kind) for k, v in found.items()})
    logits = logits_of(char_rnn.read(tmp_path / "a.pt"), IDS)
    np.testing.assert_allclose(logits, expected("gru", 2, found), atol=limit)


def test_bfloat16_and_the_other_order_of_bytes(tmp_path):
    found = {
        k: (v.view("u4") >> 16 << 16).astype("u4").view("f4") for k, v in weights("lstm", 1).items()
    }
    short = {k: (v.view("u4") >> 16).astype("u2") for k, v in found.items()}
    SAVE["zip"](tmp_path / "a.pt", short)
    SAVE["zip"](tmp_path / "b.pt", found, byteorder="big")
    SAVE["zip"](tmp_path / "c.pt", short, byteorder="big")
    for name in "abc":
        logits = logits_of(char_rnn.read(tmp_path / f"{name}.pt"), IDS)
        np.testing.assert_allclose(logits, expected("lstm", 1, found), atol=1e-5)


def same(a, b):
    same_bits = jax.tree.map(
        lambda x, y: x.tobytes() == np.asarray(y).tobytes(), *map(_tree, (a, b))
    )
    return jax.tree.all(same_bits) and a.config == b.config


def _tree(found):
    return jax.tree.map(np.asarray, found.parameters)


@pytest.mark.parametrize(
    ("readout", "embedding"), [("linear", 0), ("linear", 5), ("linear", H), ("tied", H)]
)
@pytest.mark.parametrize(("cell", "layers"), CASES)
def test_what_is_written_is_read_back_to_the_bit(cell, layers, readout, embedding, tmp_path):
    config = ModelConfig(cell, 11, embedding, H, layers, weight_norm=False, readout=readout)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    parameters = jax.tree.map(lambda x: np.asarray(x).copy(), parameters)
    for layer in parameters["layers"].values():
        layer["b"][..., 0], layer["b"][..., 1], layer["b"][..., 2] = -0.0, 1e-42, -3.3
    model = Found(config, parameters, vocabulary=None)
    char_rnn.write(model, tmp_path / "a.pt")
    assert same(model, char_rnn.read(tmp_path / "a.pt"))


def test_weight_normalisation_is_multiplied_out_when_written(tmp_path):
    config = ModelConfig("lstm", 11, 5, H, 2, weight_norm=True)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    parameters = jax.tree.map(lambda x: np.asarray(x) * 1.3, parameters)
    model = Found(config, parameters, None)
    char_rnn.write(model, tmp_path / "a.pt")
    ids = IDS % 11
    again = char_rnn.read(tmp_path / "a.pt")
    np.testing.assert_allclose(logits_of(again, ids), logits_of(model, ids), atol=1e-5)


def test_what_pytorch_has_no_layers_for_is_not_written(tmp_path):
    for config in (ModelConfig(), ModelConfig("lstm", layers=2, residual=True)):
        with pytest.raises(InputError, match=r"a\.pt: PyTorch has no layers of"):
            char_rnn.write(Found(config, {}, None), tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def refused(tmp_path, saved, message):
    SAVE["zip"](tmp_path / "a.pt", saved)
    with pytest.raises(InputError, match=message) as met:
        char_rnn.read(tmp_path / "a.pt")
    assert "\n" not in str(met.value)


def test_what_is_not_read_is_said(tmp_path):
    found = weights("rnn", 1)
    relu = module("rnn", found, mode="RNN_RELU")
    refused(tmp_path, relu, r"a\.pt: its layers are RNN_RELU; nn\.LSTM, .* tanh are read")
    wrapped = Module.of("torch.nn.parallel.data_parallel", "DataParallel", {}, {"module": relu})
    refused(tmp_path, wrapped, r"a\.pt: its layers are RNN_RELU")
    back = {k.replace("_l0", "_l0_reverse"): v for k, v in found.items()}
    refused(tmp_path, back | found, "in two directions")
    projected = {"rnn.weight_hr_l0": np.zeros((3, H), "f4")}
    refused(tmp_path, found | projected, "with projections")
    refused(tmp_path, found | {"attention": np.zeros(3, "f4")}, "1 arrays that are no part")
    refused(tmp_path, {"a": np.zeros(3, "f4")}, r"no array weight_ih_l0")
    refused(tmp_path, found | {"decoder.bias": np.zeros(7, "f4")}, r"decoder\.bias has the shape")
    refused(tmp_path, found | {"rnn.bias_hh_l0": np.zeros(H, "i8")}, "type Long")
    refused(tmp_path, found | {"rnn.bias_hh_l0": np.full(H, np.nan, "f4")}, "not finite")
    refused(tmp_path, found | {"rnn.weight_hh_l0": np.zeros((H, 5), "f4")}, "rows of 5 units")
    refused(tmp_path, {k: v for k, v in found.items() if "hh" not in k}, "no array .*weight_hh_l0")
    many = random_layers("rnn", 1, 1, 500)
    refused(tmp_path, many, "500 layers; up to 64 are read")
    refused(tmp_path, [1, 2], "no array weight_ih_l0")
    refused(tmp_path, Module.of("os", "system"), r"asks for os\.system.*nothing was run")
    refused(tmp_path, Module.of("__main__", "Other"), r"asks for __main__\.Other")


def small(path, container):
    found = {k: v[:5] if k[0] in "ed" else v for k, v in weights("gru", 1).items()}
    SAVE[container](path, module("gru", found))


@pytest.mark.parametrize("container", SAVE)
def test_damaged_files_give_one_line_or_a_sound_model(container, tmp_path):
    small(tmp_path / "a.pt", container)
    char_rnn.read(tmp_path / "a.pt")
    refused, _ = survives(char_rnn.read, tmp_path / "a.pt", 100)
    assert refused > 50


@pytest.mark.slow
@pytest.mark.parametrize("container", SAVE)
def test_two_thousand_damaged_files(container, tmp_path):
    small(tmp_path / "a.pt", container)
    survives(char_rnn.read, tmp_path / "a.pt", 2000, first=100)
