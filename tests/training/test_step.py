"""The step: what it computes, what it refuses to let in, and that meshes do not change it."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.corpus.shards import open_source
from mlstm.model import language_model
from mlstm.training import setup as setups
from mlstm.training.config import from_config_dict, to_dict
from mlstm.training.step import make_gate_saturation


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(np.random.default_rng(0).integers(97, 105, 2500).astype(np.uint8).tobytes())
    return path


@pytest.fixture(scope="module")
def corpus(text):
    return open_source(text, text.parent / "corpus")


MADE = {}


def make(corpus, dtype=jnp.float32, **changes):
    """A Setup; the same one for the same changes, so that it is compiled once."""
    key = (dtype, *sorted(changes.items()))
    if key not in MADE:
        MADE[key] = _make(corpus, dtype, changes)
    return MADE[key]


def _make(corpus, dtype, changes):
    values = {
        "model.hidden": 16,
        "model.embedding": 8,
        "data.source": "text.txt",
        "data.batch": 8,
        "data.window": 8,
        "train.steps": 100,
        "optimizer.learning_rate": 0.01,
        "log.every": 4,
    } | changes
    tree = to_dict(setups.Config())
    for name, value in values.items():
        section, field = name.split(".")
        tree[section][field] = value
    return setups.make(from_config_dict(tree), corpus, dtype)


BEGUN = {}


def begin(setup):
    """The state at step 0; made once for each setup, for making it has to be compiled."""
    if id(setup.train_step) not in BEGUN:
        BEGUN[id(setup.train_step)] = setup.create()
    return jax.tree.map(jnp.copy, BEGUN[id(setup.train_step)])


def run(setup, steps):
    state, losses = begin(setup), []
    for step in range(steps):
        batch = setup.stream.batch(0, step % setup.stream.windows)
        state, metrics = setup.train_step(state, setup.place(batch))
        losses.append(metrics.nats)
    return state, np.array(jax.device_get(losses))


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def test_the_loss_is_the_mean_nats_of_the_weighted_targets_with_carried_state(corpus):
    setup = make(corpus, **{"optimizer.name": "sgd", "optimizer.learning_rate": 1e-30})
    model = setup.config.model
    parameters = begin(setup).parameters
    carry = language_model.initial_state(model, 8)
    _, losses = run(setup, 3)
    for window in range(3):
        batch = setup.stream.batch(0, window)
        out = language_model.forward(model, parameters, batch.ids, carry, reference=True)
        nats = language_model.negative_log_likelihood(model, parameters, out.hidden, batch.targets)
        carry = out.state
        want = float(jnp.sum(nats)) if window == 0 else want + float(jnp.sum(nats))  # noqa: F821
        assert losses[window] * 64 * (window + 1) == pytest.approx(want, rel=1e-5)


def test_the_average_begins_anew_after_a_log(corpus):
    _, by_four = run(make(corpus), 8)
    _, each = run(make(corpus, **{"log.every": 1, "optimizer.name": "adamw"}), 8)
    np.testing.assert_allclose(by_four[3::4], each.reshape(2, 4).mean(1), rtol=1e-5)


def test_position_counts_windows_and_epochs(corpus):
    setup = make(corpus)
    state, _ = run(setup, setup.stream.windows + 2)
    assert (int(state.position.epoch), int(state.position.window)) == (1, 2)


def test_an_epoch_begins_with_a_zero_carry_as_resets_inside_the_loop_would_give(corpus):
    setup = make(corpus)
    inside = dataclasses.replace(setup, resets_inside=True)
    steps = setup.stream.windows + 2
    state, losses = run(setup, steps)
    other, other_losses = run(inside, steps)
    np.testing.assert_allclose(losses, other_losses, rtol=2e-5)
    for a, b in zip(jax.tree.leaves(state.carry), jax.tree.leaves(other.carry), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def poisoned(setup, batch):
    batch.weights[0, 0] = math.nan
    return setup.place(batch)


@pytest.mark.parametrize("on_nonfinite", ["skip", "stop"])
def test_a_nonfinite_loss_changes_nothing_and_is_remembered(corpus, on_nonfinite):
    setup = make(corpus, **{"train.on_nonfinite": on_nonfinite})
    state, _ = run(setup, 2)
    before = bits((state.parameters, state.optimizer, state.carry))
    state, _ = setup.train_step(state, poisoned(setup, setup.stream.batch(0, 2)))
    assert bits((state.parameters, state.optimizer, state.carry)) == before
    assert (int(state.first_bad_step), int(state.skipped), int(state.step)) == (3, 1, 3)
    state, metrics = setup.train_step(state, setup.place(setup.stream.batch(0, 3)))
    changed = bits((state.parameters, state.optimizer, state.carry)) != before
    assert changed == (on_nonfinite == "skip")
    assert int(state.first_bad_step) == 3
    assert math.isfinite(float(metrics.nats))


def test_the_mean_of_no_steps_is_no_number(corpus):
    setup = make(corpus, **{"train.on_nonfinite": "skip"})
    _, metrics = setup.train_step(begin(setup), poisoned(setup, setup.stream.batch(0, 0)))
    assert math.isnan(float(metrics.nats))


@pytest.mark.parametrize("cell", ["multiplicative_lstm", "lstm"])
def test_gate_saturation_is_that_of_the_state_that_the_step_starts_from(corpus, cell):
    model = language_model.ModelConfig(cell=cell, hidden=16, embedding=8)
    saturation = make_gate_saturation(model)
    parameters = language_model.init_parameters(model, jax.random.key(0))
    batch = make(corpus).stream.batch(0, 0)._replace(resets=None)
    zero = language_model.initial_state(model, 8)
    carried = jax.tree.map(lambda s: s + 3, zero)
    first, later = (saturation(parameters, carried, jnp.int32(w), batch) for w in (0, 1))
    assert set(first) == {"0.i", "0.f", "0.o"}
    assert bits(first) == bits(saturation(parameters, zero, jnp.int32(1), batch))
    assert bits(first) != bits(later)


def test_gates_of_a_gru_are_watched_and_an_rnn_has_none(corpus):
    batch = make(corpus).stream.batch(0, 0)._replace(resets=None)
    for cell, gates in (("gru", {"0.r", "0.z"}), ("rnn", set())):
        model = language_model.ModelConfig(cell=cell, hidden=16, embedding=8)
        parameters = language_model.init_parameters(model, jax.random.key(0))
        state = language_model.initial_state(model, 8)
        found = make_gate_saturation(model)(parameters, state, jnp.int32(1), batch)
        assert set(found) == gates


def test_an_update_that_is_not_finite_never_reaches_the_parameters(corpus):
    setup = make(corpus, **{"optimizer.name": "sgd", "optimizer.learning_rate": 3e38,
                            "optimizer.schedule": "constant"})  # fmt: skip
    state, _ = run(setup, 3)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(state.parameters))
    assert int(state.first_bad_step) >= 0


def test_the_step_copies_nothing_from_the_host_and_compiles_once(corpus):
    from jax._src import test_util

    setup = make(corpus, **{"model.output_dropout": 0.5})
    state = begin(setup)
    batches = [setup.place(setup.stream.batch(0, w)) for w in range(4)]
    state, _ = setup.train_step(state, batches[0])
    with jax.transfer_guard("disallow"), test_util.count_jit_and_pmap_lowerings() as count:
        for batch in batches[1:]:
            state, _ = setup.train_step(state, batch)
    assert count() == 0


def test_dropout_is_a_function_of_the_key_and_the_step_alone(corpus):
    setup = make(corpus, **{"model.output_dropout": 0.5})
    one, other = (run(setup, 3) for _ in range(2))
    assert bits(one[0].parameters) == bits(other[0].parameters)
    plain = run(make(corpus), 3)
    assert not np.allclose(one[1], plain[1])


NOISE = {
    "model.hidden_dropout": 0.2,
    "model.embedding_dropout": 0.2,
    "model.zoneout_cell": 0.3,
    "model.zoneout_hidden": 0.1,
}


@pytest.mark.parametrize(
    ("mesh", "way"),
    [
        ((8, 1), {}),
        ((4, 2), {}),
        ((4, 2), {"model.keep": "states", "model.layout": "columns", "model.chunk": 3}),
        ((4, 2), NOISE),
    ],
)
def test_a_mesh_gives_the_losses_of_one_device_over_50_steps_in_float64(corpus, mesh, way):
    with jax.enable_x64(True):
        _, want = run(make(corpus, jnp.float64, **(NOISE if way is NOISE else {})), 50)
        placed = {"mesh.data": mesh[0], "mesh.model": mesh[1], **way}
        state, found = run(make(corpus, jnp.float64, **placed), 50)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-9)
        assert len(state.parameters["layers"]["0"]["wh"].sharding.device_set) == 8


@pytest.mark.parametrize("mesh", [(8, 1), (4, 2)])
@pytest.mark.parametrize("optimizer", ["muon"])
def test_a_mesh_gives_the_losses_of_one_device_over_3_steps_in_float32(corpus, mesh, optimizer):
    named = {"optimizer.name": optimizer, "log.every": 1}
    _, want = run(make(corpus, **named), 3)
    _, found = run(make(corpus, **named, **{"mesh.data": mesh[0], "mesh.model": mesh[1]}), 3)
    np.testing.assert_allclose(found, want, rtol=1e-5)
