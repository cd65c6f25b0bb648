"""concept_neurons' byte LSTM: TensorFlow's variables by name."""

import numpy as np
import pytest
from mutations import survives
from ours import logits_of, states_of

from mlstm.errors import InputError
from mlstm.formats import concept_neurons, tensorflow

H = 3
SHAPES = {
    **{f"lstm/W_{gate}": (256 + H, H) for gate in "fico"},
    **{f"lstm/b_{gate}": (H,) for gate in "fico"},
    "logits_softmax/W_out": (H, 256),
    "logits_softmax/b_out": (256,),
}


@pytest.fixture
def variables():
    draw = np.random.default_rng(5)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def as_published(p, ids_TB):
    """Logits and cell states in the original's own layout: one-hot byte and h side by side."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    h = c = np.zeros((ids_TB.shape[1], H))
    logits, cells = [], []
    for ids in ids_TB:
        both = np.concatenate([np.eye(256)[ids], h], axis=1)
        f = sigmoid(both @ p["lstm/W_f"] + p["lstm/b_f"])
        i = sigmoid(both @ p["lstm/W_i"] + p["lstm/b_i"])
        new = np.tanh(both @ p["lstm/W_c"] + p["lstm/b_c"])
        o = sigmoid(both @ p["lstm/W_o"] + p["lstm/b_o"])
        c = f * c + i * new
        h = o * np.tanh(c)
        logits.append(h @ p["logits_softmax/W_out"] + p["logits_softmax/b_out"])
        cells.append(c)
    return np.stack(logits), np.stack(cells)


def test_the_logits_and_cells_are_those_of_the_original(tmp_path, variables):
    np.savez(tmp_path / "model.npz", **variables)
    assert concept_neurons.recognises(tmp_path / "model.npz")
    found = concept_neurons.read(tmp_path / "model.npz")
    ids = np.random.default_rng(0).integers(0, 256, (15, 2))
    logits, cells = as_published(variables, ids)
    np.testing.assert_allclose(logits_of(found, ids), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(states_of(found, ids, "0.c")[0], cells, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("instead", [".", "_", "__"])
def test_a_folder_of_arrays_may_write_names_in_other_ways(tmp_path, variables, instead):
    for name, array in variables.items():
        np.save(tmp_path / f"{name.replace('/', instead)}.npy", array)
    assert concept_neurons.recognises(tmp_path)
    made = concept_neurons.read(tmp_path).parameters["layers"]["0"]["wx"]
    np.testing.assert_array_equal(made[:, 3], variables["lstm/W_c"][:256])


def test_what_an_optimizer_kept_is_left_out(tmp_path, variables):
    slots = {f"{name}/Adam_1": array for name, array in variables.items()}
    kept = {"beta1_power": np.float32(0.9), "global_step": np.int64(7)}
    np.savez(tmp_path / "model.npz", **variables, **slots, **kept)
    assert concept_neurons.read(tmp_path / "model.npz").config.hidden == H


def test_missing_and_strange_arrays_are_named(tmp_path, variables):
    del variables["lstm/W_o"]
    np.savez(tmp_path / "w.npz", **variables)
    with pytest.raises(InputError, match="no lstm_W_o"):
        concept_neurons.read(tmp_path / "w.npz")
    np.savez(tmp_path / "w.npz", **variables, **{"lstm/W_o": np.ones((H, H), np.float32)})
    with pytest.raises(InputError, match=r"lstm_W_o has the shape \(3, 3\), .* \(259, 3\)"):
        concept_neurons.read(tmp_path / "w.npz")


INDEX = bytes(40) + bytes.fromhex("57fb808b247547db")


@pytest.mark.parametrize("reader", [concept_neurons, tensorflow])
@pytest.mark.parametrize(
    ("files", "path"),
    [
        (["model-7.index", "model-7.meta", "model-7.data-00000-of-00001"], "model-7"),
        (["model-7.index", "model-7.meta", "model-7.data-00000-of-00001"], "model-7.meta"),
        (["model-7.index", "checkpoint"], ""),
        (["model-7.data-00000-of-00001.aa"], "model-7.data-00000-of-00001.aa"),
        (["model-7"], "model-7"),  # of version 1, which is one file
    ],
)
def test_a_checkpoint_of_the_saver_is_known_and_says_what_to_do(tmp_path, reader, files, path):
    for name in files:
        (tmp_path / name).write_bytes(INDEX)
    assert tensorflow.recognises(tmp_path / path)
    with pytest.raises(InputError, match=r"model-7'.*savez.*get_variable_to_shape_map") as caught:
        reader.read(tmp_path / path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_in_one_line_or_give_a_sound_model(tmp_path, variables, count):
    np.savez(tmp_path / "w.npz", **variables)
    refused, _ = survives(concept_neurons.read, tmp_path / "w.npz", count)
    assert refused > count / 4
