"""TensorFlow 1's LSTM cells, as char-rnn-tensorflow trains them."""

import pickle

import numpy as np
import pytest
from mutations import survives
from ours import logits_of, states_of

from mlstm.errors import InputError
from mlstm.formats import tensorflow

V, H = 7, 4
IDS = np.random.default_rng(1).integers(0, V, (12, 3))


CELL = "rnnlm/multi_rnn_cell/cell_{}/lstm_cell"


def variables(layers, reads=H, cell=CELL, ends=("kernel", "bias")):
    draw = np.random.default_rng(layers)
    made = {}
    for k in range(layers):
        F = H if k else reads
        made[f"{cell.format(k)}/{ends[0]}"] = draw.normal(size=(F + H, 4 * H))
        made[f"{cell.format(k)}/{ends[1]}"] = draw.normal(size=4 * H)
    made["rnnlm/softmax_w"] = draw.normal(size=(H, V))
    made["rnnlm/softmax_b"] = draw.normal(size=V)
    made["embedding"] = draw.normal(size=(V, reads))
    return {name: array.astype(np.float32) for name, array in made.items()}


def cells_over(kernels, x, forget_bias=1.0):
    """(T, B, H) of BasicLSTMCells one above the other; kernels: (kernel, bias) of each."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    for kernel, bias in kernels:
        h = c = np.zeros((x.shape[1], H))
        out = []
        for x_t in x:
            i, j, f, o = np.split(np.concatenate([x_t, h], 1) @ kernel + bias, 4, axis=1)
            c = c * sigmoid(f + forget_bias) + sigmoid(i) * np.tanh(j)
            h = np.tanh(c) * sigmoid(o)
            out.append(h)
        x = np.stack(out)
    return x


def wanted(p, x, layers, forget_bias=1.0):
    arrays = list(p.values())
    kernels = [(arrays[2 * k], arrays[2 * k + 1]) for k in range(layers)]
    return cells_over(kernels, x, forget_bias) @ p["rnnlm/softmax_w"] + p["rnnlm/softmax_b"]


@pytest.mark.parametrize("forget_bias", [1.0, 0.0])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_logits_are_those_of_the_cell_with_its_forget_bias(tmp_path, layers, forget_bias):
    p = variables(layers)
    np.savez(tmp_path / "model.npz", **p)
    assert tensorflow.recognises(tmp_path / "model.npz")
    options = {} if forget_bias == 1 else {"forget_bias": forget_bias}
    found = tensorflow.read(tmp_path / "model.npz", **options)
    assert found.config.layers == layers
    assert any(f"a forget bias of {forget_bias:g}" in note for note in found.notes)
    expected = wanted(p, p["embedding"][IDS], layers, forget_bias)
    np.testing.assert_allclose(logits_of(found, IDS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "ends"),
    [
        ("rnn/basic_lstm_cell", ("kernel", "bias")),
        ("rnn/basic_lstm_cell", ("weights", "biases")),
        ("RNN/BasicLSTMCell/Linear", ("Matrix", "Bias")),
    ],
)
def test_older_names_of_one_layer_are_read(tmp_path, cell, ends):
    p = variables(1, cell=cell, ends=ends)
    for name, array in p.items():
        np.save(tmp_path / f"{name.replace('/', '.')}.npy", array)
    found = tensorflow.read(tmp_path)
    expected = wanted(p, p["embedding"][IDS], 1)
    np.testing.assert_allclose(logits_of(found, IDS), expected, rtol=1e-5, atol=1e-5)


def test_without_an_embedding_the_input_is_one_hot(tmp_path):
    p = variables(2, reads=V)
    del p["embedding"]
    np.savez(tmp_path / "w.npz", **p)
    found = tensorflow.read(tmp_path / "w.npz")
    assert found.config.embedding == 0
    expected = wanted(p, np.eye(V)[IDS], 2)
    np.testing.assert_allclose(logits_of(found, IDS), expected, rtol=1e-5, atol=1e-5)


def test_without_a_readout_the_recurrent_layers_are_read_alone(tmp_path):
    p = variables(1)
    del p["rnnlm/softmax_w"], p["rnnlm/softmax_b"]
    np.savez(tmp_path / "w.npz", **p)
    found = tensorflow.read(tmp_path / "w.npz")
    assert found.config.readout == "none"
    kernel, bias, embedding = p.values()
    expected = cells_over([(kernel, bias)], embedding[IDS])
    np.testing.assert_allclose(states_of(found, IDS, "0.h")[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("protocol", [0, 2])  # of Python 2, of Python 3 then
def test_a_pickled_vocabulary_beside_the_arrays_tells_the_symbols(tmp_path, protocol):
    np.savez(tmp_path / "w.npz", **variables(1))
    characters = tuple("e tan\n€")
    pair = characters, {character: k for k, character in enumerate(characters)}
    (tmp_path / "chars_vocab.pkl").write_bytes(pickle.dumps(pair, protocol))
    found = tensorflow.read(tmp_path / "w.npz")
    assert found.vocabulary.decode(range(V)) == "e tan\n€".encode()
    for wrong in [characters, (characters[1:], {}), (tuple(range(V)), {}), ("", {})]:
        (tmp_path / "chars_vocab.pkl").write_bytes(pickle.dumps(wrong))
        with pytest.raises(InputError, match=r"chars_vocab\.pkl: (not the 7|a symbol)"):
            tensorflow.read(tmp_path / "w.npz")
    (tmp_path / "chars_vocab.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(InputError, match="system"):
        tensorflow.read(tmp_path / "w.npz")


def test_arrays_that_are_not_of_such_a_model_are_named(tmp_path):
    p = variables(2)
    np.savez(tmp_path / "w.npz", **p, other=np.ones((2, 3), np.float32))
    with pytest.raises(InputError, match=r"besides cells and embedding it has .*other \(2, 3\)"):
        tensorflow.read(tmp_path / "w.npz")
    del p["rnnlm/multi_rnn_cell/cell_0/lstm_cell/kernel"]
    np.savez(tmp_path / "w.npz", **p)
    with pytest.raises(InputError, match=r"LSTM cells of the layers \[1\]; they count from 0"):
        tensorflow.read(tmp_path / "w.npz")


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_in_one_line_or_give_a_sound_model(tmp_path, count):
    np.savez(tmp_path / "w.npz", **variables(2))
    refused, _ = survives(tensorflow.read, tmp_path / "w.npz", count)
    assert refused > count / 4
