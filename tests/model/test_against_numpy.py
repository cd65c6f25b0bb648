"""The multiplicative LSTM against a derivation in numpy that shares no line with the package."""

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.model import language_model as lm

T, B, E, H, V = 19, 3, 4, 6, 9


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forward_and_backward(p, ids, targets, h, c):
    """Mean nats for each target, and by hand the gradients of parameters and first state."""
    cell, out = p["layers"]["0"], p["readout"]
    norm = {k: np.sqrt((cell["w" + k] ** 2).sum(0)) for k in ("mx", "mh", "x", "h")}
    w = {k: cell["g" + k] * cell["w" + k] / norm[k] for k in norm}
    wx, wh = w["x"].reshape(E, 4 * H), w["h"].reshape(H, 4 * H)
    tape, nats = [], 0.0
    for t in range(T):
        x = p["embedding"][ids[t]]
        a, q = x @ w["mx"], h @ w["mh"]
        m = a * q
        z = x @ wx + m @ wh + cell["b"].reshape(-1)
        i, f, o, u = (
            act(z[:, k * H : (k + 1) * H])
            for k, act in enumerate((sigmoid, sigmoid, sigmoid, np.tanh))
        )
        new_c = f * c + i * u
        new_h = o * np.tanh(new_c)
        y = new_h @ out["w"] + out["b"]
        y = np.exp(y - y.max(1, keepdims=True))
        y /= y.sum(1, keepdims=True)
        nats -= np.log(y[np.arange(B), targets[t]]).sum()
        tape.append((x, a, q, m, i, f, o, u, h, c, new_c, new_h, y))
        h, c = new_h, new_c
    d = {k: np.zeros_like(v) for k, v in {**w, "x": wx, "h": wh}.items()}
    db, dembedding = np.zeros(4 * H), np.zeros((V, E))
    dout, dbias = np.zeros((H, V)), np.zeros(V)
    dh, dc = np.zeros((B, H)), np.zeros((B, H))
    for t in reversed(range(T)):
        x, a, q, m, i, f, o, u, h, c, new_c, new_h, y = tape[t]
        dy = y.copy()
        dy[np.arange(B), targets[t]] -= 1
        dout += new_h.T @ dy
        dbias += dy.sum(0)
        dh = dh + dy @ out["w"].T
        tanh_c = np.tanh(new_c)
        dc = dc + dh * o * (1 - tanh_c**2)
        dz = np.concatenate(
            [
                dc * u * i * (1 - i),
                dc * c * f * (1 - f),
                dh * tanh_c * o * (1 - o),
                dc * i * (1 - u**2),
            ],
            1,
        )
        dc = dc * f
        d["h"] += m.T @ dz
        d["x"] += x.T @ dz
        db += dz.sum(0)
        dm = dz @ wh.T
        d["mh"] += h.T @ (dm * a)
        d["mx"] += x.T @ (dm * q)
        np.add.at(dembedding, ids[t], dz @ wx.T + (dm * q) @ w["mx"].T)
        dh = (dm * a) @ w["mh"].T
    d["x"], d["h"] = d["x"].reshape(E, 4, H), d["h"].reshape(H, 4, H)
    layer = {"b": db.reshape(4, H)}
    for k in norm:
        unit = cell["w" + k] / norm[k]
        along = (d[k] * unit).sum(0)
        layer["g" + k] = along
        layer["w" + k] = cell["g" + k] / norm[k] * (d[k] - along * unit)
    gradients = {
        "embedding": dembedding,
        "layers": {"0": layer},
        "readout": {"w": dout, "b": dbias},
    }
    scale = 1 / (T * B)
    return nats * scale, jax.tree.map(lambda g: g * scale, (gradients, {"h": dh, "c": dc}))


def test_loss_and_every_gradient_equal_the_derivation_by_hand():
    config = lm.ModelConfig(vocabulary=V, embedding=E, hidden=H)
    with jax.enable_x64(True):
        random = np.random.default_rng(7)
        parameters = jax.tree.map(
            lambda x: jnp.asarray(x + 0.3 * random.standard_normal(x.shape)),
            jax.jit(lambda key: lm.init_parameters(config, key, jnp.float64))(jax.random.key(7)),
        )
        ids, targets = (random.integers(0, V, (T, B), np.int32) for _ in range(2))
        h, c = (random.standard_normal((B, H)) for _ in range(2))

        def loss(parameters, state):
            output = lm.forward(config, parameters, ids, (state,))
            return lm.negative_log_likelihood(config, parameters, output.hidden, targets).mean()

        ours = jax.jit(jax.value_and_grad(loss, (0, 1)))(parameters, {"h": h, "c": c})
        theirs = forward_and_backward(*jax.tree.map(np.asarray, (parameters, ids, targets, h, c)))
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * max(1, np.abs(b).max()))
