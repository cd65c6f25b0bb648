"""The gradient of a batch, and the head by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.classifier import BINARY, EXCLUSIVE, SEVERAL
from mlstm.model import head as heads
from mlstm.model import language_model, whole_texts
from mlstm.model.config import ModelConfig
from mlstm.model.head import HeadConfig
from mlstm.model.whole_texts import What
from mlstm.training.finetuning import FinetuneConfig, step
from mlstm.training.finetuning.step import Given, Shape, State

POOLINGS = ("last", "mean", "max", "min")


def problem(kind, outputs, dtype, *, layers=1, before=0):
    """A shape, random parameters of model and head, and a batch of texts of several lengths; of
    `before` steps it takes the state as given."""
    model = ModelConfig(vocabulary=11, embedding=3, hidden=5, layers=layers, chunk=4)
    what = What((f"{layers - 1}.c", "0.h"), POOLINGS)
    head = HeadConfig(what.features(model), outputs, (4, 3), "tanh")
    shape = Shape(model, head, what, kind, 0.3)
    return shape, *_arrays(shape, dtype, before)


@partial(jax.jit, static_argnums=range(3))
def _arrays(shape, dtype, before):
    model, head, what = shape.model, shape.head, shape.what
    keys = iter(jax.random.split(jax.random.key(0), 20))
    parameters = {
        "model": language_model.init_parameters(model, next(keys), dtype),
        "head": heads.init_parameters(head, next(keys), dtype),
    }
    last = parameters["head"]["2"]
    last["w"] = jax.random.normal(next(keys), last["w"].shape, dtype)
    standard = {
        "mean": jax.random.normal(next(keys), (head.features,), dtype),
        "scale": 0.5 + jax.random.uniform(next(keys), (head.features,), dtype),
    }
    draw = np.random.default_rng(0)
    laid = whole_texts.lay([draw.integers(0, 11, n) for n in (9, 14, 3, 0, 6)], 14, 6)
    running = whole_texts.begin(model, what, 6, dtype)
    if before:
        running, _ = whole_texts.read(
            model, parameters["model"], running, laid.ids[:before], laid.mask[:before], what
        )
    K = head.outputs
    wanted = np.eye(K)[draw.integers(0, K, 6)] if shape.kind == EXCLUSIVE else None
    wanted = draw.integers(0, 2, (6, K)) if wanted is None else wanted
    weights = np.ones((6, K)) * (np.arange(6) < 5)[:, None]
    given = Given(
        running,
        jnp.asarray(laid.ids[before:]),
        jnp.asarray(laid.mask[before:]),
        jnp.asarray(wanted, dtype),
        jnp.asarray(weights, dtype),
    )
    return parameters, standard, given


@pytest.mark.parametrize(
    ("kind", "outputs", "layers", "before"),
    [(BINARY, 1, 1, 0), (EXCLUSIVE, 3, 2, 0), (SEVERAL, 2, 1, 8)],
)
def test_the_gradient_is_that_of_the_readable_path(kind, outputs, layers, before):
    with jax.enable_x64(True):
        shape, parameters, standard, given = problem(
            kind, outputs, jnp.float64, layers=layers, before=before
        )

        def gradient(reference):
            def total(parameters):
                return step.loss(shape, parameters, standard, given, reference=reference)[0]

            return jax.jit(jax.value_and_grad(total))(parameters)

        (fast, found), (readable, wanted) = gradient(False), gradient(True)
        assert fast == pytest.approx(float(readable), rel=1e-12)
        for path, leaf in jax.tree_util.tree_leaves_with_path(found):
            other = wanted
            for key in path:
                other = other[key.key]
            assert np.abs(other).max() > 0, path
            np.testing.assert_allclose(leaf, other, atol=1e-10 * np.abs(other).max(), rtol=0)


def test_a_gradient_that_is_cut_agrees_with_differences_of_the_loss_after_the_cut():
    with jax.enable_x64(True):
        shape, parameters, standard, given = problem(BINARY, 1, jnp.float64, before=8)

        @jax.jit
        def total(table):
            changed = parameters["model"] | {"embedding": table}
            return step.loss(shape, parameters | {"model": changed}, standard, given)[0]

        table = parameters["model"]["embedding"]
        found = jax.jit(jax.grad(total))(table)
        for symbol, unit in ((0, 0), (5, 2)):
            change = jnp.zeros_like(table).at[symbol, unit].set(1e-6)
            slope = (total(table + change) - total(table - change)) / 2e-6
            assert found[symbol, unit] == pytest.approx(float(slope), rel=1e-5, abs=1e-9)


def test_what_is_not_known_does_not_reach_the_loss():
    shape, parameters, standard, given = problem(SEVERAL, 2, jnp.float32)
    known = given._replace(weights=given.weights.at[0, 1].set(0))
    other = known._replace(wanted=known.wanted.at[0, 1].set(1 - known.wanted[0, 1]))
    total = jax.jit(lambda of: step.loss(shape, parameters, standard, of)[0])
    assert total(known) == total(other) != total(given)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted():
    shape, parameters, standard, given = problem(BINARY, 1, jnp.float32)
    optimizer = step.make_optimizer(FinetuneConfig(), 10)
    run = step.make_step(shape, FinetuneConfig(), 10)
    before = jax.tree.map(np.array, parameters)

    def state():
        fresh = jax.tree.map(jnp.array, before)
        return State(fresh, optimizer.init(fresh), jnp.int32(0), jnp.int32(0))

    bad = standard | {"mean": standard["mean"].at[0].set(jnp.nan)}
    after, _ = run(state(), bad, given, jax.random.key(0))
    assert int(after.bad) == 1
    jax.tree.map(np.testing.assert_array_equal, after.parameters, before)
    after, _ = run(state(), standard, given, jax.random.key(0))
    assert int(after.bad) == 0
    assert not np.array_equal(after.parameters["model"]["embedding"], before["model"]["embedding"])


def test_the_models_rate_is_a_share_of_the_heads():
    parameters = {"model": {"b": jnp.ones(3)}, "head": {"b": jnp.ones(2)}}
    gradient = jax.tree.map(jnp.ones_like, parameters)
    moved = {}
    for share in (1.0, 0.1, 0.0):
        config = FinetuneConfig(model_rate=share, schedule="constant", warmup=0.0)
        optimizer = step.make_optimizer(config, 10)
        updates, _ = optimizer.update(gradient, optimizer.init(parameters), parameters)
        moved[share] = {part: float(abs(updates[part]["b"][0])) for part in parameters}
    assert moved[0.0]["model"] == 0
    assert moved[0.1]["model"] == pytest.approx(0.1 * moved[1.0]["model"])
    assert moved[0.1]["head"] == moved[1.0]["head"] == moved[1.0]["model"] > 0


def test_the_gradient_of_head_and_model_is_clipped_as_one():
    parameters = {"model": {"b": jnp.zeros(1)}, "head": {"b": jnp.zeros(1)}}
    gradient = {"model": {"b": jnp.full(1, 3.0)}, "head": {"b": jnp.full(1, 4.0)}}
    config = FinetuneConfig(
        clip=1.0, optimizer="sgd", schedule="constant", warmup=0.0, learning_rate=1.0
    )
    optimizer = step.make_optimizer(config, 10)
    updates, _ = optimizer.update(gradient, optimizer.init(parameters), parameters)
    assert updates["head"]["b"][0] == pytest.approx(-0.8, rel=0.01)
    assert updates["model"]["b"][0] == pytest.approx(-0.6, rel=0.01)


def test_a_model_of_rate_0_has_no_part_in_the_norm_that_is_clipped():
    shape, parameters, standard, given = problem(BINARY, 1, jnp.float32)
    config = FinetuneConfig(
        clip=1e-3, optimizer="sgd", schedule="constant", warmup=0.0, learning_rate=1.0, model_rate=0
    )
    before = jax.tree.map(np.array, parameters)
    moments = step.make_optimizer(config, 10).init(parameters)
    state = State(parameters, moments, jnp.int32(0), jnp.int32(0))
    after, _ = step.make_step(shape, config, 10)(state, standard, given, jax.random.key(0))
    assert int(after.bad) == 0
    moved = jax.tree.map(lambda a, b: np.asarray(a) - b, after.parameters, before)
    norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(moved["head"])))
    assert norm == pytest.approx(1e-3, rel=1e-3)
    assert not any(leaf.any() for leaf in jax.tree.leaves(moved["model"]))


def test_dropout_of_the_head_keeps_the_mean_and_needs_a_key():
    config = HeadConfig(400, 1, dropout=0.5)
    head = {"0": {"w": jnp.ones((400, 1)), "b": jnp.zeros(1)}}
    given = {"mean": jnp.zeros(400), "scale": jnp.ones(400)}
    x = jnp.ones((200, 400))
    assert (heads.scores(config, head, given, x) == 400).all()
    dropped = heads.scores(config, head, given, x, jax.random.key(0))
    assert dropped.std() > 10
    assert float(dropped.mean()) == pytest.approx(400, rel=0.01)
