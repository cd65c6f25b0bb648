"""Every cell against its equations in numpy, written once more: values, and by differences of
these the gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.model import language_model as lm

T, B, E, H, V = 9, 2, 4, 5, 7


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def flat(w):
    return w.reshape(len(w), -1)


def normal(cell, name):
    w = flat(cell["w" + name])
    gain = cell.get("g" + name)
    return w if gain is None else gain.reshape(-1) * w / np.linalg.norm(w, axis=0)


def lstm_gates(z, c):
    i, f, o, u = np.split(z, 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
    return sigmoid(o) * np.tanh(c), c


def multiplicative_lstm(p, x, h, c):
    m = (x @ normal(p, "mx")) * (h @ normal(p, "mh"))
    return lstm_gates(x @ normal(p, "x") + m @ normal(p, "h") + p["b"].reshape(-1), c)


def lstm(p, x, h, c):
    return lstm_gates(x @ normal(p, "x") + h @ normal(p, "h") + p["b"].reshape(-1), c)


def gru(p, x, h, c):
    xr, xz, xn = np.split(x @ normal(p, "x") + p["b"].reshape(-1), 3, 1)
    hr, hz, hn = np.split(h @ normal(p, "h"), 3, 1)
    z = sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + sigmoid(xr + hr) * (hn + p["bn"])) + z * h, c


def gru_reset_before(p, x, h, c):
    xr, xz, xn = np.split(x @ normal(p, "x") + p["b"].reshape(-1), 3, 1)
    hr, hz = np.split(h @ normal(p, "h"), 2, 1)
    z = sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + (sigmoid(xr + hr) * h) @ normal(p, "hn")) + z * h, c


def rnn(p, x, h, c):
    return np.tanh(x @ normal(p, "x") + h @ normal(p, "h") + p["b"]), c


STEPS = {f.__name__: f for f in (multiplicative_lstm, lstm, gru, gru_reset_before, rnn)}


def mean_nats(step, p, ids, targets):
    h = c = np.zeros((B, H))
    nats = 0.0
    for now, wanted in zip(ids, targets, strict=True):
        h, c = step(p["layers"]["0"], p["embedding"][now], h, c)
        scores = h @ p["readout"]["w"] + p["readout"]["b"]
        nats += (np.log(np.exp(scores).sum(1)) - scores[np.arange(B), wanted]).sum()
    return nats / (T * B)


@pytest.mark.parametrize("weight_norm", [True, False])
@pytest.mark.parametrize("cell", STEPS)
def test_loss_and_gradients_are_those_of_the_equations(cell, weight_norm):
    config = lm.ModelConfig(
        cell=cell, vocabulary=V, embedding=E, hidden=H, weight_norm=weight_norm, chunk=4
    )
    random = np.random.default_rng(3)
    with jax.enable_x64(True):
        parameters = jax.tree.map(
            lambda x: np.asarray(x) + 0.3 * random.standard_normal(x.shape),
            lm.init_parameters(config, jax.random.key(0), jnp.float64),
        )
        ids, targets = (random.integers(0, V, (T, B), np.int32) for _ in range(2))

        state = lm.initial_state(config, B, jnp.float64)

        def loss(parameters):
            hidden = lm.forward(config, parameters, ids, state).hidden
            return lm.negative_log_likelihood(config, parameters, hidden, targets).mean()

        ours, gradient = jax.jit(jax.value_and_grad(loss))(parameters)
        ours, gradient = float(ours), jax.tree.map(np.asarray, gradient)
    step = STEPS[cell]
    np.testing.assert_allclose(ours, mean_nats(step, parameters, ids, targets), rtol=1e-12)
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameters):
        # Along a random direction of each array by itself, so that none hides behind the others.
        direction = random.standard_normal(leaf.shape)

        def moved(by, path=path, direction=direction):
            return jax.tree_util.tree_map_with_path(
                lambda at, x: x + by * direction if at == path else x, parameters
            )

        low, high = (mean_nats(step, moved(by), ids, targets) for by in (-1e-5, 1e-5))
        slope = (gradient_at(gradient, path) * direction).sum()
        assert slope == pytest.approx((high - low) / 2e-5, rel=1e-5, abs=1e-9), path


def gradient_at(tree, path):
    for key in path:
        tree = tree[key.key]
    return tree
