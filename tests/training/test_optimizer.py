"""Optimizers: Muon acts on the matrices it should, decay on no vector, schedules end as said."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlstm.model.language_model import ModelConfig, init_parameters
from mlstm.training import optimizer as optimizers
from mlstm.training.config import OptimizerConfig

MODEL = ModelConfig(hidden=12, embedding=6, vocabulary=10, layers=1)


@pytest.fixture(scope="module")
def parameters():
    return init_parameters(MODEL, jax.random.key(0))


@pytest.fixture(scope="module")
def gradient(parameters):
    keys = iter(jax.random.split(jax.random.key(1), 100))
    return jax.tree.map(lambda x: jax.random.normal(next(keys), x.shape), parameters)


def updates_of(config, parameters, gradient, steps=2):
    optimizer = optimizers.make(config, 100)
    state, updates = optimizer.init(parameters), None
    for _ in range(steps):
        updates, state = jax.jit(optimizer.update)(gradient, state, parameters)
    return updates


def leaves(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


MUON = OptimizerConfig(name="muon", learning_rate=0.02, schedule="constant", weight_decay=0.1)


def test_muon_is_muon_on_the_flat_matrices_and_adam_elsewhere(parameters, gradient):
    found = leaves(updates_of(MUON, parameters, gradient))
    flat_muon = optax.contrib.muon(0.02, weight_decay=0.1)
    adam = optax.nadam(0.02)  # optax's Muon has Nesterov's momentum in its Adam too
    matrices = set()
    for name, g in leaves(gradient).items():
        w = leaves(parameters)[name]
        leaf = name.split("/")[-1]
        matrix = name.startswith("layers") and leaf in ("wmx", "wmh", "wx", "wh")
        if matrix:
            matrices.add(name)
            g, w = g.reshape(len(g), -1), w.reshape(len(w), -1)
        alone = flat_muon if matrix else adam
        state, want = alone.init({"w": w}), None
        update = jax.jit(alone.update)
        for _ in range(2):
            want, state = update({"w": g}, state, {"w": w})
        np.testing.assert_allclose(
            found[name].reshape(want["w"].shape), want["w"], rtol=2e-4, atol=2e-6, err_msg=name
        )
    assert len(matrices) == 4


def test_adam_has_its_own_rate_beside_muon(parameters, gradient):
    one = leaves(updates_of(MUON, parameters, gradient))
    other = leaves(
        updates_of(dataclasses.replace(MUON, adam_learning_rate=0.002), parameters, gradient)
    )
    np.testing.assert_allclose(other["embedding"], one["embedding"] / 10, rtol=1e-4)
    np.testing.assert_array_equal(other["layers/0/wh"], one["layers/0/wh"])


@pytest.mark.parametrize("name", sorted(optimizers._OPTIMIZERS))
def test_every_optimizer_lowers_a_simple_loss(name, parameters):
    config = OptimizerConfig(name=name, learning_rate=1e-2, schedule="constant", momentum=0.5)
    optimizer = optimizers.make(config, 100)

    def loss(p):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p))

    @jax.jit
    def step(p, state):
        updates, state = optimizer.update(jax.grad(loss)(p), state, p)
        return optax.apply_updates(p, updates), state

    p, state = parameters, optimizer.init(parameters)
    for _ in range(5):
        p, state = step(p, state)
    assert loss(p) < loss(parameters)


@pytest.mark.parametrize("name", sorted(optimizers._OPTIMIZERS))
def test_weight_decay_moves_weights_and_no_vector(name, parameters):
    config = OptimizerConfig(
        name=name, learning_rate=1e-2, schedule="constant", weight_decay=0.1, momentum=0.0
    )
    zero = jax.tree.map(jnp.zeros_like, parameters)
    moved = {n for n, u in leaves(updates_of(config, parameters, zero)).items() if jnp.any(u != 0)}
    vectors = {n for n in moved if n.split("/")[-1][0] in "bg"}
    assert not vectors
    assert "layers/0/wh" in moved


def test_clipping_bounds_each_element_then_the_whole(parameters, gradient):
    settings = {"name": "sgd", "momentum": 0.0, "learning_rate": 1.0, "schedule": "constant"}
    value = updates_of(OptimizerConfig(clip_value=0.5, **settings), parameters, gradient, 1)
    assert max(float(jnp.max(jnp.abs(u))) for u in jax.tree.leaves(value)) == 0.5
    whole = updates_of(OptimizerConfig(clip_norm=0.25, **settings), parameters, gradient, 1)
    assert float(optax.tree.norm(whole)) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "middle"), [("constant", 1.0), ("linear", 0.55), ("cosine", 0.55)]
)
def test_a_schedule_warms_up_and_ends_at_its_final_fraction(schedule, middle):
    config = OptimizerConfig(learning_rate=2.0, schedule=schedule, warmup=10, final_fraction=0.1)
    rate = optimizers.schedule(config, 110)
    assert float(rate(0)) == pytest.approx(0.2)
    assert float(rate(9)) == pytest.approx(2.0)
    assert float(rate(60)) == pytest.approx(2.0 * middle, rel=1e-5)
    assert float(rate(110)) == pytest.approx(2.0 if schedule == "constant" else 0.2)
    assert float(rate(200)) == float(rate(110))


def test_a_rate_may_end_before_the_run_and_stay():
    """Krause et al.: on its way from 1e-3 to 0 in 108,000 steps it stops at 7e-5."""
    config = OptimizerConfig(learning_rate=1e-3, decay_steps=100_440, final_fraction=0.07)
    rate = optimizers.schedule(config, 180_000)
    for step in (0, 4_500, 54_000, 100_000, 101_000, 179_999):
        published = max(1e-3 * (108_000 - step) / 108_000, 7e-5)
        assert float(rate(step)) == pytest.approx(published, rel=1e-4)
