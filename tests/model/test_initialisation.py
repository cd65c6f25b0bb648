"""Weights with a gate axis are initialised as the flat matrices that they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.model import language_model as lm

CONFIG = lm.ModelConfig(embedding=64, hidden=128)


@pytest.fixture(scope="module")
def cell():
    return lm.init_parameters(CONFIG, jax.random.key(0))["layers"]["0"]


def test_recurrent_weights_are_orthogonal_as_flat_matrices(cell):
    for name in ("wmh", "wh"):
        flat = np.asarray(cell[name]).reshape(128, -1)
        np.testing.assert_allclose(flat @ flat.T, np.eye(128), atol=1e-5)


def test_input_weights_have_the_standard_deviation_of_glorot_on_the_flat_matrix(cell):
    for name, outputs in (("wmx", 128), ("wx", 4 * 128)):
        expected = np.sqrt(2 / (64 + outputs))
        assert np.asarray(cell[name]).std() == pytest.approx(expected, rel=0.05)


def test_gains_start_as_the_norms_so_that_the_normalised_weight_is_the_weight(cell):
    for name in ("mx", "mh", "x", "h"):
        v = np.asarray(cell["w" + name])
        np.testing.assert_allclose(cell["g" + name], np.sqrt((v**2).sum(0)), rtol=1e-6)


def test_forget_bias_is_the_only_bias_that_is_not_zero():
    b = lm.init_parameters(lm.ModelConfig(hidden=8, forget_bias=3.0), jax.random.key(0))["layers"][
        "0"
    ]["b"]
    np.testing.assert_array_equal(b[1], 3)
    np.testing.assert_array_equal(jnp.delete(b, 1, axis=0), 0)


def test_without_weight_norm_there_are_no_gains():
    cell = lm.init_parameters(lm.ModelConfig(hidden=8, weight_norm=False), jax.random.key(0))[
        "layers"
    ]["0"]
    assert set(cell) == {"wmx", "wmh", "wx", "wh", "b"}


def test_openai_shape_has_their_number_of_parameters():
    config = lm.ModelConfig(vocabulary=256, embedding=64, hidden=4096)
    assert lm.parameter_count(config) == 86_319_360


def test_training_flops_are_those_of_the_products():
    config = lm.ModelConfig(vocabulary=256, embedding=64, hidden=512)
    assert lm.flops_per_byte(config) == 30 * 512**2 + 6 * 256 * 512 + 6 * 5 * 64 * 512


# recipe -> of embedding, wx, wh, b, readout: the standard deviation
H, E, V = 128, 64, 200
SPREADS = {
    "krause": (0.2 / 3**0.5, None, None, 0, None),
    "torch": (1, (3 * H) ** -0.5, (3 * H) ** -0.5, (2 / (3 * H)) ** 0.5, (3 * H) ** -0.5),
    "char_rnn": (0.08 / 3**0.5,) * 5,
    "concept_neurons": (
        *(1, (2 / (E + 2 * H)) ** 0.5, (2 / (E + 2 * H)) ** 0.5),
        *(H**-0.5, (2 / (H + V)) ** 0.5),
    ),
    "openai_reproduction": (
        *(0.88 * (2 / (V + E)) ** 0.5, 0.88 * (2 / (E + H)) ** 0.5, 0.88 * H**-0.5),
        *(0.88 * (2 / (1 + H)) ** 0.5, 0.88 * (2 / (H + V)) ** 0.5),
    ),
    "he": (1, (2 / E) ** 0.5, (2 / H) ** 0.5, 0, (2 / H) ** 0.5),
    "small": (1, 0.01, 0.01, 0, 0.01),
}


@pytest.mark.parametrize("recipe", SPREADS)
def test_a_recipe_draws_with_its_spread(recipe):
    config = lm.ModelConfig(
        cell="lstm", vocabulary=V, embedding=E, hidden=H, initialisation=recipe, forget_bias=0.0
    )
    parameters = lm.init_parameters(config, jax.random.key(0))
    layer = parameters["layers"]["0"]
    arrays = (
        *(parameters["embedding"], layer["wx"], layer["wh"], layer["b"]),
        parameters["readout"]["w"],
    )
    for array, expected in zip(arrays, SPREADS[recipe], strict=True):
        if expected is not None:
            assert np.asarray(array).std() == pytest.approx(expected, rel=0.08)
    norms = np.sqrt((np.asarray(layer["wh"]) ** 2).sum(0))
    if recipe == "openai_reproduction":
        assert (np.asarray(layer["gh"]) < 0).mean() == pytest.approx(0.5, abs=0.1)
    else:
        np.testing.assert_allclose(layer["gh"], norms, rtol=1e-5)


def test_krause_draws_every_weight_orthogonal():
    config = lm.ModelConfig(vocabulary=V, embedding=E, hidden=H, initialisation="krause")
    parameters = lm.init_parameters(config, jax.random.key(0))
    layer = parameters["layers"]["0"]
    for w in (layer["wmx"], layer["wmh"], layer["wx"], layer["wh"], parameters["readout"]["w"]):
        flat = np.asarray(w).reshape(len(w), -1)
        np.testing.assert_allclose(flat @ flat.T, np.eye(len(w)), atol=1e-5)


def test_torch_draws_a_gru_as_pytorch_does():
    """n keeps its two biases apart, so that neither is a sum."""
    config = lm.ModelConfig(
        cell="gru", embedding=8, hidden=400, initialisation="torch", forget_bias=0.0
    )
    layer = lm.init_parameters(config, jax.random.key(0))["layers"]["0"]
    limit = 400**-0.5
    for biases, count in ((layer["b"][0], 2), (layer["b"][1], 2), (layer["b"][2], 1)):
        spread = np.asarray(biases).std()
        assert spread == pytest.approx(limit * (count / 3) ** 0.5, rel=0.1)
    for single in (layer["b"][2], layer["bn"]):
        assert 0.9 * limit < np.abs(single).max() <= limit
