"""Keras's HDF5 files: models of an independent numpy forward in Keras's own layout."""

import json
import struct
import tracemalloc

import h5py
import numpy as np
import pytest
from mutations import survives
from ours import logits_of, states_of

from mlstm.errors import InputError
from mlstm.formats import keras
from mlstm.formats.hdf5 import open_file
from mlstm.formats.hdf5_bytes import Bytes

V, E, H = 9, 5, 4
IDS = np.random.default_rng(1).integers(0, V, (12, 3))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_layer(w, x):
    """(T, B, H) of a Keras LSTM; w: kernel, recurrent_kernel, bias; gates i, f, c, o."""
    h = c = np.zeros((x.shape[1], H))
    out = []
    for x_t in x:
        i, f, g, o = np.split(x_t @ w[0] + h @ w[1] + w[2], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out)


def cudnn_lstm_layer(w, x):
    """The same of a CuDNNLSTM, from the buffers that cuDNN itself reads: each gate's matrix in
    rows of outputs, two biases."""
    gates = [part.reshape(H, -1) for part in map(np.ascontiguousarray, np.split(w[0], 4, axis=1))]
    inner = [part.reshape(H, H) for part in map(np.ascontiguousarray, np.split(w[1], 4, axis=1))]
    b = w[2].reshape(8, H)
    h = c = np.zeros((x.shape[1], H))
    out = []
    for x_t in x:
        z = [x_t @ gates[k].T + b[k] + h @ inner[k].T + b[4 + k] for k in range(4)]
        c = sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[2])
        h = sigmoid(z[3]) * np.tanh(c)
        out.append(h)
    return np.stack(out)


def cudnn_gru_layer(w, x):
    """A CuDNNGRU from the buffers that cuDNN reads; gates z, r, h."""
    gates = [part.reshape(H, -1) for part in map(np.ascontiguousarray, np.split(w[0], 3, axis=1))]
    inner = [part.reshape(H, H) for part in map(np.ascontiguousarray, np.split(w[1], 3, axis=1))]
    b = w[2].reshape(6, H)
    h = np.zeros((x.shape[1], H))
    out = []
    for x_t in x:
        a = [x_t @ gates[k].T + b[k] for k in range(3)]
        from_h = [h @ inner[k].T + b[3 + k] for k in range(3)]
        z, r = sigmoid(a[0] + from_h[0]), sigmoid(a[1] + from_h[1])
        h = z * h + (1 - z) * np.tanh(a[2] + r * from_h[2])
        out.append(h)
    return np.stack(out)


def gru_layer(w, x, reset_after):
    """(T, B, H) of a Keras GRU; gates z, r, h."""
    W, U, b = np.split(w[0], 3, axis=1), np.split(w[1], 3, axis=1), w[2].reshape(-1, 3, H)
    h = np.zeros((x.shape[1], H))
    out = []
    for x_t in x:
        a = [x_t @ W[k] + b[0, k] for k in range(3)]
        if reset_after:
            r_part = [h @ U[k] + b[1, k] for k in range(3)]
            z, r = sigmoid(a[0] + r_part[0]), sigmoid(a[1] + r_part[1])
            new = np.tanh(a[2] + r * r_part[2])
        else:
            z, r = sigmoid(a[0] + h @ U[0]), sigmoid(a[1] + h @ U[1])
            new = np.tanh(a[2] + (r * h) @ U[2])
        h = z * h + (1 - z) * new
        out.append(h)
    return np.stack(out)


def rnn_layer(w, x):
    h = np.zeros((x.shape[1], H))
    out = []
    for x_t in x:
        h = np.tanh(x_t @ w[0] + h @ w[1] + w[2])
        out.append(h)
    return np.stack(out)


def random_weights(**shapes):
    draw = np.random.default_rng(len(shapes))
    return {name: draw.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def recurrent_weights(reads, gates, bias=None):
    return random_weights(
        kernel=(reads, gates * H), recurrent_kernel=(H, gates * H), bias=bias or (gates * H,)
    )


def write(path, layers, settings=None, **how):
    """A file as Keras writes it: of weights, or with `settings` [(class, config)] a whole model."""
    with h5py.File(path, "w") as file:
        weights = file
        if settings is not None:
            config = {
                "class_name": "Sequential",
                "config": {
                    "layers": [
                        {"class_name": kind, "config": {"name": name, **config}}
                        for (name, _), (kind, config) in zip(layers, settings, strict=True)
                    ]
                },
            }
            file.attrs["model_config"] = json.dumps(config).encode()
            weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([name.encode() for name, _ in layers])
        for name, arrays in layers:
            group = weights.create_group(name)
            group.attrs["weight_names"] = np.array([f"{name}/{n}:0".encode() for n in arrays])
            for array_name, array in arrays.items():
                group.create_dataset(f"{name}/{array_name}:0", data=array, **how)
    return path


def word_model(layer_weights, cell):
    """The thesis's model: embedding, recurrent layers, Dense; and its logits of IDS."""
    embedding, dense = random_weights(embeddings=(V, E)), random_weights(kernel=(H, V), bias=(V,))
    layers = [("embedding_1", embedding)]
    layers += [(f"rnn_{k}", weights) for k, weights in enumerate(layer_weights)]
    layers += [("dense_1", dense), ("activation_1", {})]
    x = embedding["embeddings"][IDS].astype(np.float64)
    for weights in layer_weights:
        x = cell(list(weights.values()), x)
    return layers, x @ dense["kernel"] + dense["bias"]


PACKED = {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True}


@pytest.mark.parametrize("how", [{}, PACKED])
@pytest.mark.parametrize("count", [1, 2])
def test_the_logits_are_those_of_a_keras_lstm(tmp_path, count, how):
    weights = [recurrent_weights(H if k else E, 4) for k in range(count)]
    layers, wanted = word_model(weights, lstm_layer)
    found = keras.read(write(tmp_path / "w.h5", layers, **how))
    assert found.config.cell == "lstm"
    assert any("sigmoid" in note for note in found.notes)
    np.testing.assert_allclose(logits_of(found, IDS), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("gates", "layer"), [(4, cudnn_lstm_layer), (3, cudnn_gru_layer)])
def test_a_layer_of_cudnn_is_read_in_the_order_of_its_buffers(tmp_path, gates, layer):
    layers, wanted = word_model([recurrent_weights(E, gates, (2 * gates * H,))], layer)
    found = keras.read(write(tmp_path / "w.h5", layers))
    assert not any("sigmoid" in note for note in found.notes)
    np.testing.assert_allclose(logits_of(found, IDS), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_logits_are_those_of_a_keras_gru(tmp_path, reset_after):
    weights = recurrent_weights(E, 3, (2, 3 * H) if reset_after else (3 * H,))
    layers, wanted = word_model([weights], lambda w, x: gru_layer(w, x, reset_after))
    found = keras.read(write(tmp_path / "w.h5", layers))
    assert found.config.cell == ("gru" if reset_after else "gru_reset_before")
    np.testing.assert_allclose(logits_of(found, IDS), wanted, rtol=1e-5, atol=1e-5)


def test_the_logits_are_those_of_a_keras_simple_rnn(tmp_path):
    layers, wanted = word_model([recurrent_weights(E, 1)], rnn_layer)
    found = keras.read(write(tmp_path / "w.h5", layers))
    np.testing.assert_allclose(logits_of(found, IDS), wanted, rtol=1e-5, atol=1e-5)


def test_without_an_embedding_the_input_is_one_hot(tmp_path):
    weights, dense = recurrent_weights(V, 4), random_weights(kernel=(H, V), bias=(V,))
    found = keras.read(write(tmp_path / "w.h5", [("lstm", weights), ("dense", dense)]))
    assert found.config.embedding == 0
    h = lstm_layer(list(weights.values()), np.eye(V)[IDS])
    wanted = h @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(logits_of(found, IDS), wanted, rtol=1e-5, atol=1e-5)


def test_a_model_with_attention_is_read_as_far_as_its_recurrent_layers(tmp_path):
    weights = [recurrent_weights(E, 4), recurrent_weights(H, 4)]
    layers, _ = word_model(weights, lstm_layer)
    layers = [*layers[:3], ("attention", random_weights(attention_W=(E + 2 * H, 1))),
              ("output", random_weights(kernel=(E + 2 * H, V), bias=(V,)))]  # fmt: skip
    found = keras.read(write(tmp_path / "w.hdf5", layers))
    assert found.config.readout == "none"
    assert any("attention, output" in note for note in found.notes)
    first = lstm_layer(list(weights[0].values()), layers[0][1]["embeddings"][IDS])
    second = lstm_layer(list(weights[1].values()), first)
    for made, wanted in zip(states_of(found, IDS, "0.h", "1.h"), [first, second], strict=True):
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5)


def whole(tmp_path, **settings):
    layers, wanted = word_model([recurrent_weights(E, 4)], lstm_layer)
    kinds = [("Embedding", {}), ("LSTM", settings), ("Dense", {}), ("Activation", {})]
    return write(tmp_path / "model.h5", layers, kinds), wanted


def test_a_whole_model_is_read_and_tells_its_gates(tmp_path):
    path, wanted = whole(tmp_path, recurrent_activation="sigmoid", activation="tanh")
    found = keras.read(path)
    assert not any("sigmoid" in note for note in found.notes)
    np.testing.assert_allclose(logits_of(found, IDS), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"recurrent_activation": "hard_sigmoid"}, {"activation": "relu"},
                 {"go_backwards": True}]
)  # fmt: skip
def test_a_layer_that_computes_something_else_is_refused(tmp_path, settings):
    path, _ = whole(tmp_path, **settings)
    name, value = next(iter(settings.items()))
    with pytest.raises(InputError, match=f"rnn_0: its {name} is '{value}'; only"):
        keras.read(path)


def test_a_bidirectional_layer_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"rnn_1"]
        group = file.create_group("rnn_1")
        group.attrs["weight_names"] = [b"forward/kernel:0", b"backward/kernel:0"]
        group["forward/kernel:0"] = group["backward/kernel:0"] = np.ones((2, 2), np.float32)
    with pytest.raises(InputError, match="two arrays 'kernel', as bidirectional ones have"):
        keras.read(tmp_path / "w.h5")


def test_a_file_of_the_newer_layout_says_how_to_write_it_again(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w", libver="latest") as file:
        file.attrs["layer_names"] = [b"a"]
    assert keras.recognises(tmp_path / "w.h5")
    with pytest.raises(InputError, match="libver='earliest'"):
        keras.read(tmp_path / "w.h5")


def test_text_of_any_length_and_half_precision_are_read(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["names"] = ["a", "", "longer"]
        file.attrs["name"] = "€"
        file.attrs["number"] = 3
        for kind in ("<f2", ">f4", "<f8"):
            file[f"g/{kind}"] = np.arange(6, dtype=kind).reshape(2, 3)
        file["integers"] = np.arange(3)
    root = open_file(tmp_path / "w.h5")
    assert root.text("names") == ["a", "", "longer"]
    assert root.text("name") == ["€"]
    assert root.text("number") is None
    for kind in ("<f2", ">f4", "<f8"):
        read = root.member(f"g/{kind}").array()
        assert read.dtype == np.dtype(kind)
        np.testing.assert_array_equal(read, np.arange(6).reshape(2, 3))
    assert root.member("g/absent") is None
    with pytest.raises(InputError, match="integers: does not hold floating-point"):
        root.member("integers").array()


def test_groups_of_very_many_members_and_long_chunked_arrays_are_read(tmp_path):
    array = np.random.default_rng(0).normal(size=(70, 900))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for k in range(700):
            file[f"member {k}"] = np.float32([k])
        file.create_dataset("long", data=array, chunks=(8, 16), compression="gzip")
    root = open_file(tmp_path / "w.h5")
    for k in (0, 350, 699):
        assert root.member(f"member {k}").array() == [k]
    np.testing.assert_array_equal(root.member("long").array(), array)


def test_impossible_sizes_are_refused_before_memory_is_taken(tmp_path):
    layers, _ = word_model([recurrent_weights(E, 4)], lstm_layer)
    path = write(tmp_path / "w.h5", layers)
    with h5py.File(tmp_path / "fill.h5", "w") as file:
        file.attrs["layer_names"] = [b"a"]
        group = file.create_group("a")
        group.attrs["weight_names"] = [b"embeddings:0"]
        group.create_dataset("embeddings:0", (2**20, 2**20), np.float32, chunks=(2**10, 2**10))
    shape = struct.pack("<QQ", V, E)
    assert path.read_bytes().count(shape) >= 1
    huge = path.read_bytes().replace(shape, struct.pack("<QQ", 2**40, 2**20))
    (tmp_path / "huge.h5").write_bytes(huge)
    tracemalloc.start()
    try:
        for name in ("fill.h5", "huge.h5"):
            with pytest.raises(InputError, match=r"says that it holds|impossible shape"):
                keras.read(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("shape", [(2**62, 0, 2**40), (2**60, 2**40, 0)])
def test_an_empty_array_of_an_impossible_shape_is_refused(tmp_path, shape):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"a"]
        file.create_group("a").attrs["weight_names"] = [b"kernel:0"]
        file["a"].create_dataset("kernel:0", shape=shape, dtype="f4")
    with pytest.raises(InputError, match="an array of the impossible shape"):
        keras.read(tmp_path / "w.h5")


def test_chunks_that_are_compressed_again_and_again_are_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_chunk((8,))
        for _ in range(30):
            how.set_shuffle()
        space = h5py.h5s.create_simple((8,))
        data = h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, how)
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(8, np.float32))
    array = open_file(tmp_path / "w.h5").member("a")
    assert array is not None
    with pytest.raises(InputError, match="compressed twice in one way"):
        array.array()


def test_a_one_hot_layer_of_no_symbols_is_refused_by_its_file(tmp_path):
    layers = [("rnn", recurrent_weights(0, 4))]
    path = write(tmp_path / "w.h5", layers)
    with pytest.raises(InputError, match=r"w\.h5: its first layer reads no symbols"):
        keras.read(path)


def test_a_group_that_holds_itself_is_not_followed_for_ever(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("model_weights")
        group["model_weights"] = file["/"]
        group["a"] = group
        group.attrs["layer_names"] = [b"a"]
        group.attrs["weight_names"] = [b"/".join([b"a"] * 5000) + b"/kernel:0"]
    with pytest.raises(InputError, match="the layer 'a' has no array 'a/a/a"):
        keras.read(tmp_path / "w.h5")


def test_parts_that_lie_over_one_another_end_the_reading():
    """A tree of 40 nodes in a row, each with the same 200 leaves: 8,000 children in 5,000 bytes."""
    nodes, leaf = 40, 1000
    tree = b"TREE" + bytes([0, 1]) + struct.pack("<HQQ", nodes, 0, 0)
    tree += b"".join(struct.pack("<QQ", 0, leaf + 24 * nth) for nth in range(nodes))
    level_0 = b"TREE" + bytes([0, 0]) + struct.pack("<HQQ", 200, 0, 0)
    data = tree.ljust(leaf, b"\0") + level_0 * nodes + bytes(200 * 16)
    with pytest.raises(InputError, match=r"w\.h5: its parts lie over one another"):
        list(Bytes(data, "w.h5").tree(0, 0, 8))


def test_a_layer_that_is_named_again_and_again_is_refused(tmp_path):
    layers, _ = word_model([recurrent_weights(E, 4)], lstm_layer)
    write(tmp_path / "w.h5", layers)
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file.attrs["layer_names"] = [b"rnn_0"] * 1000
    with pytest.raises(InputError, match="layer_names name one layer twice"):
        keras.read(tmp_path / "w.h5")


def test_many_names_of_one_group_of_many_names_of_one_array_end_the_reading(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("0")
        group["0"] = np.zeros(0, np.float32)
        for number in range(1, 1000):
            group[str(number)] = group["0"]
            file[str(number)] = group
        names = np.array([str(number).encode() for number in range(1000)])
        group.attrs["weight_names"] = file.attrs["layer_names"] = names
    read = []
    monkeypatch.setattr(keras, "as_float32", lambda array, _: read.append(1) or array)
    with pytest.raises(InputError, match="its parts lie over one another"):
        keras.read(tmp_path / "w.h5")
    assert len(read) < 50_000  # of a million that it asks for


def test_many_attributes_that_are_looked_through_for_each_name_end_the_reading(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for number in range(400):
            file.attrs[f"a{number}"] = b"x"
    root = open_file(tmp_path / "w.h5")
    with pytest.raises(InputError, match="its parts lie over one another"):
        sum(root.text("b") is None for _ in range(100))


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["weights", "model", "gzip"])
def test_damaged_files_are_refused_in_one_line_or_give_a_sound_model(tmp_path, kind, count):
    layers, _ = word_model([recurrent_weights(E, 4)], lstm_layer)
    if kind == "model":
        path, _ = whole(tmp_path, recurrent_activation="sigmoid")
    else:
        how = {"chunks": True, "compression": "gzip"} if kind == "gzip" else {}
        path = write(tmp_path / "w.h5", layers, **how)
    refused, _ = survives(keras.read, path, count)
    assert refused > count / 4
