"""A batch in parts gives the step that it gives whole, in the memory of one part."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.corpus.shards import open_source
from mlstm.errors import InputError
from mlstm.training import accumulation, estimate
from mlstm.training import setup as setups
from mlstm.training.config import Config, from_config_dict, to_dict
from mlstm.training.step import make_gate_saturation

STEPS = 6  # an epoch has 4 windows, the last of them masked


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    numbers = np.random.default_rng(0)
    for name in range(20):
        text = numbers.integers(97, 105, numbers.integers(30, 66)).astype(np.uint8)
        (folder / f"{name}.txt").write_bytes(text.tobytes())
    return open_source(
        folder, tmp_path_factory.mktemp("corpus") / "of it", splits=(1, 0, 0), reset="document"
    )


def make(corpus, accumulate, dtype=jnp.float32, **changes):
    values = {
        "model.hidden": 16, "model.embedding": 8, "data.source": "text", "data.batch": 32,
        "data.window": 8, "train.steps": 100, "optimizer.learning_rate": 0.01, "log.every": 1,
        "optimizer.name": "sgd", "train.accumulate": accumulate,
    } | changes  # fmt: skip
    tree = to_dict(Config())
    for name, value in values.items():
        section, _, field = name.rpartition(".")
        (tree[section] if section else tree)[field] = value
    return setups.make(from_config_dict(tree), corpus, dtype)


def run(setup, steps=STEPS):
    """The state after some steps without its key, and the loss of each."""
    state, losses = setup.create(), []
    for step in range(steps):
        batch = setup.stream.batch(0, step % setup.stream.windows)
        state, metrics = setup.train_step(state, setup.place(batch))
        losses.append(metrics.nats)
    return jax.device_get((state._replace(key=None), losses))


def compiled(setup):
    batch = setup.place(setup.stream.batch(0, 0))
    return setup.train_step.lower(setup.abstract(), batch).compile()


def check_equal(found, want, tolerance):
    paths = jax.tree_util.tree_leaves_with_path(want)
    for (path, b), a in zip(paths, jax.tree.leaves(found), strict=True):
        limit = tolerance * max(1e-300, float(np.max(np.abs(b))))
        np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=jax.tree_util.keystr(path))


def test_the_text_has_masked_windows_and_resets_inside(corpus):
    setup = make(corpus, 1)
    batches = [setup.stream.batch(0, window) for window in range(setup.stream.windows)]
    assert setup.resets_inside
    assert len(batches) < STEPS
    assert (batches[-1].weights == 0).any()
    assert all(batch.resets[1:].any() for batch in batches)


@pytest.fixture(scope="module")
def whole(corpus):
    with jax.enable_x64(True):
        return run(make(corpus, 1, jnp.float64))


OTHER_WAY = {"model.keep": "states", "model.layout": "columns", "model.chunk": 3}


@pytest.mark.parametrize(
    ("accumulate", "mesh", "way"),
    [(2, (1, 1), {}), (32, (1, 1), {}), (4, (8, 1), {}), (2, (4, 2), {}), (8, (4, 2), OTHER_WAY)],
)
def test_steps_in_parts_are_the_steps_of_whole_batches_in_float64(
    corpus, whole, accumulate, mesh, way
):
    with jax.enable_x64(True):
        placed = {"mesh.data": mesh[0], "mesh.model": mesh[1], **way}
        found = run(make(corpus, accumulate, jnp.float64, **placed))
        check_equal(found, whole, 1e-10)


@pytest.mark.parametrize("groups", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_steps_in_parts_are_those_of_whole_batches_for_every_seed(corpus, groups):
    several = {"seeds": 2, "model.layers": 2, "mesh.data": groups}
    with jax.enable_x64(True):
        want = run(make(corpus, 1, jnp.float64, **several))
        check_equal(run(make(corpus, 2, jnp.float64, **several)), want, 1e-10)


@pytest.mark.parametrize("groups", [1, 2])
def test_each_part_and_each_group_drops_other_units(corpus, groups, monkeypatch):
    keys = []

    def forward(config, parameters, ids, state, *, dropout_key, **rest):
        key = jax.random.key_data(dropout_key)
        jax.debug.callback(lambda key: keys.append(tuple(np.asarray(key).tolist())), key)
        return real(config, parameters, ids, state, dropout_key=dropout_key, **rest)

    real = accumulation.language_model.forward
    monkeypatch.setattr(accumulation.language_model, "forward", forward)
    dropping = {"model.output_dropout": 0.5, "mesh.data": groups}
    run(make(corpus, 4, **dropping), steps=2)
    jax.effects_barrier()
    assert len(set(keys)) == 2 * 4 * groups


EXCHANGE = re.compile(
    r" (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
AMONG_HIDDEN_UNITS = "replica_groups=[4,2]<=[8]"  # pairs of devices, of a 4 x 2 mesh


def exchanges(setup):
    """(kind, how many loops it stands in), for each exchange of the compiled step between the
    devices that share the streams."""
    found = []
    for line in compiled(setup).as_text().splitlines():
        kind = EXCHANGE.search(line)
        if kind and AMONG_HIDDEN_UNITS not in line:
            name = re.search(r'op_name="([^"]*)"', line)
            assert name, line
            found.append((kind[1], name[1].count("while/body")))
    return found


@pytest.mark.parametrize("mesh", [(8, 1), (4, 2)])
def test_devices_that_share_a_batch_exchange_one_sum_after_its_parts_and_nothing_else(corpus, mesh):
    placed = {"mesh.data": mesh[0], "mesh.model": mesh[1]}
    assert set(exchanges(make(corpus, 4, **placed))) == {("all-reduce", 0)}


def test_a_dry_run_shows_the_memory_of_a_part(corpus, monkeypatch):
    monkeypatch.setattr(estimate, "_product_rate", lambda _: 1e9)
    large = {"data.window": 16}
    whole, half, quarter = (
        estimate.estimate(make(corpus, n, **large)).memory_bytes for n in (1, 2, 4)
    )
    assert quarter < half < whole


def test_gate_saturation_of_a_batch_in_parts_is_that_of_the_first(corpus):
    setup = make(corpus, 4)
    state, batch = setup.create(), setup.stream.batch(0, 1)
    model = setup.config.model
    given = state.parameters, state.carry, state.position.window
    found = make_gate_saturation(model, 4)(*given, batch)
    first = type(batch)(*(part[:, ::4] for part in batch))
    carry = jax.tree.map(lambda x: x[::4], state.carry)
    want = make_gate_saturation(model)(state.parameters, carry, given[2], first)
    check_equal(found, want, 1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.accumulate": 3}, "accumulate=3 does not divide config.data.batch=32: with "
         "accumulate 1, 2, 4, 8, 16, 32 it does"),
        ({"train.accumulate": 8, "mesh.data": 8}, "accumulate=8 x config.mesh.data=8 does not "
         "divide config.data.batch=32: with accumulate 1, 2, 4 it does"),
        ({"train.accumulate": 0}, "accumulate is 0: it has to be at least 1"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_the_batch_are_one_line(corpus, changes, message):
    with pytest.raises(InputError) as error:
        make(corpus, **{"accumulate": 1, **changes})
    assert message in str(error.value)
