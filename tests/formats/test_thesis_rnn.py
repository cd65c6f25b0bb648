"""The thesis's tanh RNN in CSV text."""

import numpy as np
import pytest
from mutations import survives
from ours import logits_of, states_of

from mlstm.errors import InputError
from mlstm.formats import thesis_rnn

H, K = 4, 6
SHAPES = {"W": (H, H), "V": (K, H), "U": (H, K), "b": (H, 1), "c": (K, 1)}
IDS = np.random.default_rng(1).integers(0, K, (12, 3))


@pytest.fixture
def weights(tmp_path):
    draw = np.random.default_rng(2)
    made = {name: draw.normal(size=shape) for name, shape in SHAPES.items()}
    (tmp_path / "model" / "Weights").mkdir(parents=True)
    for name, array in made.items():
        np.savetxt(tmp_path / "model" / "Weights" / f"{name}.txt", array, delimiter=",")
    return made


def test_the_logits_and_states_are_those_of_the_original(tmp_path, weights):
    W, V, U, b, c = weights.values()
    h = np.zeros((H, IDS.shape[1]))  # a column is a stream, as in the original
    states, logits = [], []
    for ids in IDS:
        h = np.tanh(W @ h + U @ np.eye(K)[:, ids] + b)
        states.append(h.T)
        logits.append((V @ h + c).T)
    for path in (tmp_path / "model", tmp_path / "model" / "Weights"):
        assert thesis_rnn.recognises(path)
        found = thesis_rnn.read(path)
        assert (found.config.cell, found.config.embedding) == ("rnn", 0)
        np.testing.assert_allclose(logits_of(found, IDS), np.stack(logits), rtol=1e-5, atol=1e-5)
        made = states_of(found, IDS, "0.h")[0]
        np.testing.assert_allclose(made, np.stack(states), rtol=1e-5, atol=1e-5)


def test_what_is_no_matrix_of_that_shape_is_named(tmp_path, weights):
    file = tmp_path / "model" / "Weights" / "V.txt"
    for content, message in [
        ("", "V.txt: not a matrix"),
        ("1,2\n3\n", "V.txt: not a matrix"),
        ("a,b\n", "V.txt: not a matrix"),
        ("1,2\n3,4\n", r"V has the shape \(2, 2\), it has to be \(6, 4\)"),
        ("1,nan,1,1\n" * 6, "V: has numbers that are not finite"),
    ]:
        file.write_text(content)
        with pytest.raises(InputError, match=message):
            thesis_rnn.read(tmp_path / "model")
    file.unlink()
    assert not thesis_rnn.recognises(tmp_path / "model")
    with pytest.raises(InputError, match=r"not a folder with W\.txt"):
        thesis_rnn.read(tmp_path / "model")


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("weights")
def test_damaged_files_are_refused_in_one_line_or_give_a_sound_model(tmp_path, count):
    refused, _ = survives(thesis_rnn.read, tmp_path / "model", count)
    assert refused > count / 4
