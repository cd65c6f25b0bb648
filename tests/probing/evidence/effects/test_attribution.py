"""Attribution to bytes, against the equations written plainly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probing
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model

TEXT = b"a (b) c"


@pytest.fixture(scope="module")
def model() -> Model:
    config = ModelConfig(hidden=6, embedding=4)
    parameters = language_model.init_parameters(config, jax.random.key(3))
    draw = np.random.default_rng(0)
    parameters["layers"]["0"]["b"] = jnp.asarray(draw.normal(size=(4, 6)), jnp.float32)
    return Model(config, jax.tree.map(np.asarray, parameters), Bytes())


def plain(model: Model, embedded) -> tuple:
    """c after the last step and log probabilities: the equations of the cell, in float64 of a loop,
    from embeddings (T, E)."""
    p = jax.tree.map(lambda x: jnp.asarray(x, embedded.dtype), model.parameters)
    cell = p["layers"]["0"]

    def normal(name):
        v = cell[f"w{name}"]
        return v * cell[f"g{name}"] / jnp.sqrt(jnp.sum(v * v, axis=0))

    wmx, wmh, wx, wh = (normal(name) for name in ("mx", "mh", "x", "h"))
    h = c = jnp.zeros(6, embedded.dtype)
    for x in embedded:
        m = (x @ wmx) * (h @ wmh)
        i, f, o, u = jnp.einsum("e,egh->gh", x, wx) + jnp.einsum("e,egh->gh", m, wh) + cell["b"]
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(u)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return c, jax.nn.log_softmax(h @ p["readout"]["w"] + p["readout"]["b"])


@pytest.mark.parametrize("of", ["0.c[2]", len(TEXT) - 1])
def test_both_ways_are_what_plain_equations_and_autodiff_give(model, of):
    found = probing.attribute(model, TEXT, of, points=200)
    with jax.enable_x64(True):
        read = TEXT if isinstance(of, str) else TEXT[:-1]
        embedded = np.asarray(model.parameters["embedding"], np.float64)[list(read)]
        way = embedded - embedded.mean(0)

        def number(x):
            c, log_p = plain(model, x)
            return c[2] if isinstance(of, str) else log_p[TEXT[-1]]

        slope = jax.jit(jax.vmap(jax.grad(number)))
        shares = (np.arange(400) + 0.5) / 400
        path = embedded - way + shares[:, None, None] * way
        integrated = (np.asarray(slope(path)).mean(0) * way).sum(1)
        at_text = (np.asarray(slope(embedded[None]))[0] * way).sum(1)
        ends = float(number(embedded)), float(number(embedded - way))
    np.testing.assert_allclose(found.gradient_x_input, at_text, atol=2e-5)
    np.testing.assert_allclose(found.integrated, integrated, atol=2e-5)
    np.testing.assert_allclose([found.value, found.at_baseline], ends, atol=2e-5)


def test_integrated_gradients_sum_to_the_difference_and_the_error_is_told(model):
    found = probing.attribute(model, TEXT, "0.c[2]", baseline="zero")
    assert abs(found.error) < 1e-5
    assert f"{found.error:+.2e}" in str(found)
    assert abs(found.gradient_x_input.sum() - (found.value - found.at_baseline)) > 1e-3
    rough = probing.attribute(model, TEXT, "0.c[2]", baseline="zero", points=1)
    assert abs(rough.error) > 10 * abs(found.error)


def test_a_byte_is_attributed_to_those_before_it_alone(model):
    found = probing.attribute(model, TEXT, -3)
    assert found.text == TEXT[:-3]
    assert len(found.integrated) == len(TEXT) - 3
    same = probing.attribute(model, TEXT, len(TEXT) - 3)
    np.testing.assert_array_equal(found.integrated, same.integrated)


@pytest.mark.parametrize(
    ("text", "of", "baseline", "said"),
    [
        (b"", "0.c[2]", "mean", "a text of 0 bytes"),
        (b"ab", 0, "mean", "one before"),
        (b"ab", 2, "mean", "one before"),
        (b"ab", "0.c[6]", "mean", "no unit 6"),
        (b"ab", "0.c[1]", "blank", "it is one of mean, zero"),
    ],
)
def test_what_cannot_be_attributed_is_said(model, text, of, baseline, said):
    with pytest.raises(InputError, match=said):
        probing.attribute(model, text, of, baseline=baseline)
