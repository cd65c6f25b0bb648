"""Dynamic evaluation against a derivation in numpy that shares no line with the package."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.model import dynamic, language_model
from mlstm.model.config import ModelConfig
from mlstm.model.dynamic import Carry, Rates, Statistics
from mlstm.model.scoring import score_window

E, H, V, T, K = 3, 4, 5, 4, 6
READ, SQUARES, SCORE = (
    jax.jit(function, static_argnums=0)
    for function in (dynamic.read, dynamic.squares, score_window)
)
GRADIENT = jax.jit(
    lambda config, parameters, state, segment: jax.grad(
        lambda p: dynamic.mean_nats(config, p, state, segment)[0]
    )(parameters),
    static_argnums=0,
)


class Segment(NamedTuple):
    ids: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    resets: np.ndarray | None = None


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def nats(p, ids, targets, h, c):
    """Of one stream (T,), each target's, and the state behind; weights normalised."""
    cell, out = p["layers"]["0"], p["readout"]
    w = {
        k: cell["g" + k] * cell["w" + k] / np.sqrt((cell["w" + k] ** 2).sum(0))
        for k in ("mx", "mh", "x", "h")
    }
    found = []
    for x, target in zip(p["embedding"][ids], targets, strict=True):
        m = (x @ w["mx"]) * (h @ w["mh"])
        z = np.tensordot(x, w["x"], 1) + np.tensordot(m, w["h"], 1) + cell["b"]
        c = sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[3])
        h = sigmoid(z[2]) * np.tanh(c)
        y = h @ out["w"] + out["b"]
        found.append(np.log(np.exp(y - y.max()).sum()) + y.max() - y[target])
    return np.array(found), h, c


def gradient(p, ids, targets, h, c):
    """Of the mean nats, by central differences in every number."""
    leaves, tree = jax.tree.flatten(p)
    found = [np.zeros_like(leaf) for leaf in leaves]
    for leaf, g in zip(leaves, found, strict=True):
        for place in np.ndindex(leaf.shape):
            before, sides = leaf[place], []
            for step in (1e-5, -1e-5):
                leaf[place] = before + step
                sides.append(nats(p, ids, targets, h, c)[0].mean())
            leaf[place] = before
            g[place] = (sides[0] - sides[1]) / 2e-5
    return jax.tree.unflatten(tree, found)


@pytest.fixture
def toy():
    """A model, a text of K segments of T symbols, and two batches of one stream for statistics, in
    float64."""
    random = np.random.default_rng(3)
    config = ModelConfig(vocabulary=V, embedding=E, hidden=H)
    with jax.enable_x64(True):
        parameters = jax.tree.map(
            lambda x: np.asarray(x) + 0.3 * random.standard_normal(x.shape),
            language_model.init_parameters(config, jax.random.key(7), jnp.float64),
        )
        yield config, parameters, random.integers(0, V, K * T + 1), random.integers(0, V, 2 * T + 1)


def segments(text, steps=T):
    shape = (-1, steps, 1)
    ids, targets = (x.reshape(shape).astype(np.int32) for x in (text[:-1], text[1:]))
    return Segment(ids, targets, np.ones(ids.shape))


def each(batches):
    return [jax.tree.map(lambda x, k=k: x[k], batches) for k in range(len(batches.ids))]


def gathered(config, parameters, text):
    total = jax.tree.map(jnp.zeros_like, parameters)
    state = language_model.initial_state(config, 1, jnp.float64)
    for batch in each(segments(text)):
        total, state = SQUARES(config, parameters, total, state, batch)
    return dynamic.statistics(total, 2)


def adapted(config, parameters, known, rates, text):
    carry = dynamic.begin(config, parameters, 1)
    return READ(config, parameters, known, rates, carry, segments(text))


@pytest.mark.parametrize("rule", ["rms", "sgd"])
def test_nats_and_parameters_equal_the_derivation_in_numpy(toy, rule):
    config, parameters, text, train = toy
    eta, decay, epsilon = (0.02, 0.3, 1e-3) if rule == "rms" else (0.5, 0.1, 0.0)
    copy = lambda: jax.tree.map(np.array, parameters)  # noqa: E731

    theta, h, c = copy(), np.zeros(H), np.zeros(H)
    squares = jax.tree.map(np.zeros_like, theta)
    for k in range(2):
        ids, targets = train[k * T : k * T + T], train[k * T + 1 : k * T + T + 1]
        g = gradient(theta, ids, targets, h, c)
        squares = jax.tree.map(lambda s, x: s + x**2, squares, g)
        _, h, c = nats(theta, ids, targets, h, c)
    root = jax.tree.map(lambda s: np.sqrt(s / 2), squares)
    mean = np.concatenate([x.ravel() for x in jax.tree.leaves(root)]).mean()
    share = jax.tree.map(lambda x: np.minimum(x / mean, 1 / decay), root)
    assert max(x.max() / mean for x in jax.tree.leaves(root)) > 1 / decay  # clipping has work
    if rule == "sgd":
        root, share = (jax.tree.map(np.ones_like, root) for _ in range(2))

    total, h, c = 0.0, np.zeros(H), np.zeros(H)
    for k in range(K):
        ids, targets = text[k * T : k * T + T], text[k * T + 1 : k * T + T + 1]
        g = gradient(theta, ids, targets, h, c)
        cost, h, c = nats(theta, ids, targets, h, c)
        total += cost.sum()
        theta = jax.tree.map(
            lambda now, before, d, r, g: now + decay * d * (before - now) - eta * g / (r + epsilon),
            theta, parameters, share, root, g,
        )  # fmt: skip

    known = gathered(config, parameters, train) if rule == "rms" else None
    carry, found = adapted(config, parameters, known, Rates(eta, decay, epsilon), text)
    assert float(found) == pytest.approx(total, rel=1e-6)
    moved = max(
        float(np.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(theta), jax.tree.leaves(parameters), strict=True)
    )
    assert moved > 0.05
    for a, b in zip(jax.tree.leaves(carry.parameters), jax.tree.leaves(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_without_a_learning_rate_it_is_the_static_model_bit_by_bit(toy):
    config, parameters, text, train = toy
    known = gathered(config, parameters, train)
    carry, found = adapted(config, parameters, known, Rates(0.0, 0.5, 1e-3), text)
    for a, b in zip(jax.tree.leaves(carry.parameters), jax.tree.leaves(parameters), strict=True):
        np.testing.assert_array_equal(a, b)
    state, static = language_model.initial_state(config, 1, jnp.float64), []
    for batch in each(segments(text)):
        state, cost = SCORE(config, parameters, state, batch)
        static.append(float(cost))
    assert float(found) == pytest.approx(sum(static), rel=1e-14)


def test_a_decay_that_is_clipped_to_all_the_way_back_leaves_the_last_step_alone(toy):
    config, parameters, text, train = toy
    known = gathered(config, parameters, train)
    huge = Statistics(known.root, jax.tree.map(lambda x: x * 0 + 1e9, known.share))
    rates = Rates(0.02, 1.0, 1e-3)
    carry, _ = adapted(config, parameters, huge, rates, text)
    before, _ = adapted(config, parameters, huge, rates, text[: (K - 1) * T + 1])
    last = each(segments(text))[-1]
    # From wherever it was, theta is back at theta_0 less one step of the last gradient.
    g = GRADIENT(config, before.parameters, before.state, last)
    expected = jax.tree.map(lambda p, d, r: p - 0.02 * d / (r + 1e-3), parameters, g, known.root)
    for a, b in zip(jax.tree.leaves(carry.parameters), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


def test_streams_side_by_side_adapt_each_by_itself(toy):
    config, parameters, text, train = toy
    known, rates = gathered(config, parameters, train), Rates(0.02, 0.3, 1e-3)
    half = K * T // 2
    pieces = [text[: half + 1], text[half:]]
    both = Segment(
        *(np.concatenate(x, -1) for x in zip(*(segments(p)[:3] for p in pieces), strict=True))
    )
    carry = dynamic.begin(config, parameters, 2)
    carry, found = READ(config, parameters, known, rates, carry, both)
    alone = [adapted(config, parameters, known, rates, piece) for piece in pieces]
    assert float(found) == pytest.approx(sum(float(nats) for _, nats in alone), rel=1e-12)
    for k, (one, _) in enumerate(alone):
        state = jax.tree.map(lambda x, k=k: x[k : k + 1], carry.state)
        here = Carry(jax.tree.map(lambda x, k=k: x[k], carry.parameters), state)
        for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
