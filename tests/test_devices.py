"""The mesh, and where each array lives on it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from mlstm import devices
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig, init_parameters
from mlstm.model.readable import Placement

MODEL = ModelConfig(hidden=16, embedding=8, layers=2)


def specs(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.spec
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.fixture(scope="module")
def shapes():
    return jax.eval_shape(lambda: init_parameters(MODEL, jax.random.key(0)))


def test_more_devices_than_there_are_is_one_clear_line():
    with pytest.raises(InputError, match=r"config\.mesh 16 x 2 needs 32 devices, here are 8"):
        devices.mesh(16, 2)


def test_every_recurrent_weight_is_split_by_its_last_axis(shapes):
    found = specs(devices.parameter_shardings(devices.mesh(4, 2), shapes))
    assert found["layers/0/wh"] == P(None, None, "model")
    assert found["layers/1/wmh"] == P(None, "model")
    assert found["layers/1/gx"] == P(None, "model")
    assert found["layers/0/gmh"] == P("model")
    assert found["layers/0/b"] == P(None, "model")
    assert all("model" in spec for name, spec in found.items() if name.startswith("layers"))


def test_the_readout_is_split_by_the_units_it_reads_and_the_embedding_is_whole(shapes):
    found = specs(devices.parameter_shardings(devices.mesh(4, 2), shapes))
    assert found["readout/w"] == P("model", None)
    assert found["readout/b"] == found["embedding"] == P()


def test_a_population_is_split_by_its_seeds_and_has_the_batch_whole(shapes):
    mesh = devices.mesh(4, 2, population=True)
    of_eight = jax.tree.map(lambda s: jax.ShapeDtypeStruct((8, *s.shape), s.dtype), shapes)
    found = specs(devices.parameter_shardings(mesh, of_eight))
    alone = specs(devices.parameter_shardings(devices.mesh(4, 2), shapes))
    assert found == {name: P("seeds", *spec) for name, spec in alone.items()}
    moments = jax.eval_shape(jax.vmap(optax.adafactor(1e-3).init), of_eight)
    for leaf in jax.tree.leaves(devices.optimizer_shardings(mesh, moments, of_eight)):
        assert leaf.spec[0] == "seeds"
    carry, batch = devices.carry_sharding(mesh), devices.batch_sharding(mesh)
    assert carry.shard_shape((8, 6, 16)) == (2, 6, 8)
    assert batch.shard_shape((5, 6)) == (5, 6)


@pytest.mark.parametrize("make", [optax.adamw, optax.adafactor, optax.contrib.muon])
def test_moments_live_where_their_parameters_live(shapes, make):
    mesh = devices.mesh(2, 4)
    moments = jax.eval_shape(make(1e-3).init, shapes)
    placed = devices.optimizer_shardings(mesh, moments, shapes)
    state = jax.jit(lambda: make(1e-3).init(jax.tree.map(jnp.zeros_like, shapes)),
                    out_shardings=placed)()  # fmt: skip
    wanted = specs(devices.parameter_shardings(mesh, shapes))
    shape = {jax.tree_util.keystr(p, simple=True, separator="/"): s.shape
             for p, s in jax.tree_util.tree_leaves_with_path(shapes)}  # fmt: skip
    seen = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        of = next((n for n in wanted if name.endswith("/" + n)), None)
        same = of is not None and leaf.shape == shape[of]
        seen += same
        assert leaf.sharding.spec == (wanted[of] if same else P()), name
    assert seen > 10


@pytest.mark.parametrize(
    "way",
    [
        {},
        {"keep": "states", "layout": "columns"},
        {"products": "bfloat16"},
        {"cell": "gru", "keep": "states"},
        {"cell": "gru_reset_before", "layout": "columns"},
        {"cell": "rnn", "layers": 2, "embedding": 0},
    ],
    ids=["products kept", "states kept, columns", "bfloat16", "GRU", "GRU, reset before", "RNN"],
)
def test_devices_that_share_hidden_units_find_the_gradients_of_one(way):
    """Chunks of 3 and a rest; the operands that were made whole are used again backward."""
    config = dataclasses.replace(MODEL, chunk=3, **way)
    low = config.products == "bfloat16"
    mesh = devices.mesh(2, 4)

    def gradients(parameters, ids, state, placement, reference):
        def nats(parameters):
            hidden = language_model.forward(
                config, parameters, ids[:-1], state, placement=placement, reference=reference
            ).hidden
            return language_model.negative_log_likelihood(
                config, parameters, hidden, ids[1:]
            ).mean()

        return jax.grad(nats)(parameters)

    compiled = jax.jit(gradients, static_argnums=(3, 4))
    with jax.enable_x64(not low):
        dtype = jnp.float32 if low else jnp.float64
        parameters = init_parameters(config, jax.random.key(0), dtype)
        state = jax.tree.map(
            lambda s: jax.random.normal(jax.random.key(1), s.shape, dtype),
            language_model.initial_state(config, 4),
        )
        ids = jax.random.randint(jax.random.key(2), (8, 4), 0, 256)
        want = compiled(parameters, ids, state, Placement(), not low)
        places = devices.parameter_shardings(mesh, parameters)
        found = compiled(
            jax.device_put(parameters, places),
            jax.device_put(ids, devices.batch_sharding(mesh)),
            jax.device_put(state, devices.carry_sharding(mesh)),
            devices.placement(mesh),
            False,
        )
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(want), strict=True
        ):
            name = jax.tree_util.keystr(path)
            assert np.abs(a - b).max() <= (1e-3 if low else 1e-10) * np.abs(b).max(), name


def test_a_weight_gradient_is_made_of_as_many_steps_as_if_a_group_of_devices_were_alone():
    groups = devices.placement(devices.mesh(8, 1))
    assert language_model.plan(MODEL, 1024, placement=groups).chunk == 8
    assert language_model.plan(MODEL, 128).chunk == 8
    assert language_model.plan(MODEL, 1024).chunk == 4
