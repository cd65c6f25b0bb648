"""The fast recurrence equals the readable one, forward and for every gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from mlstm.model import language_model as lm
from mlstm.model import noise, recurrence
from mlstm.model.cells import CELLS, MultiplicativeLSTM
from mlstm.model.readable import Controls, Plan, Weights, scan_plain
from mlstm.model.sites import sites

MLSTM = lm.ModelConfig(vocabulary=11, embedding=5, hidden=8, chunk=16)
GRU = lm.ModelConfig(cell="gru", vocabulary=11, embedding=5, hidden=8, chunk=16)
RNN = lm.ModelConfig(cell="rnn", vocabulary=11, embedding=5, hidden=8, chunk=16)
LSTM = lm.ModelConfig(cell="lstm", vocabulary=11, embedding=5, hidden=8, chunk=16)


def changed(config, **fields):
    return lm.ModelConfig(**{**vars(config), **fields})


# config, T, B, masked, reset, edited; T below, at, above and at a multiple of the chunk of 16 steps
CASES = {
    "multiplicative": (MLSTM, 7, 3, False, False, False),
    "multiplicative, one chunk, masked": (MLSTM, 16, 2, True, False, False),
    "multiplicative, chunks and a rest, all controls": (MLSTM, 37, 3, True, True, True),
    "multiplicative, two layers": (changed(MLSTM, layers=2), 32, 2, False, True, True),
    "multiplicative, plain weights": (changed(MLSTM, weight_norm=False), 19, 2, False, False, True),
    "LSTM": (LSTM, 16, 3, False, True, False),
    "LSTM, three layers, all controls": (changed(LSTM, layers=3), 21, 2, True, True, True),
    "LSTM, plain weights, one step": (changed(LSTM, weight_norm=False), 1, 1, False, False, True),
    "GRU": (GRU, 16, 3, False, True, False),
    "GRU, two layers, all controls": (
        changed(GRU, layers=2),
        21,
        2,
        True,
        True,
        True,
    ),
    "GRU, reset before": (changed(GRU, cell="gru_reset_before"), 37, 2, True, True, True),
    "RNN, two layers, all controls": (
        changed(RNN, layers=2),
        21,
        2,
        True,
        True,
        True,
    ),
}


@functools.partial(jax.jit, static_argnums=range(7))
def problem(config, time, batch, masked, reset, edited, dtype, seed=0):
    """Random parameters, state, ids and controls; edits at several sites of every layer."""
    keys = iter(jax.random.split(jax.random.key(seed), 40))
    parameters = lm.init_parameters(config, next(keys), dtype)
    state = jax.tree.map(
        lambda x: jax.random.normal(next(keys), x.shape, dtype), lm.initial_state(config, batch)
    )
    edits = {
        f"{layer}.{name}": (
            {
                "keep": jax.random.normal(next(keys), (config.hidden,), dtype),
                "add": jax.random.normal(next(keys), (config.hidden,), dtype),
            },
        )
        for layer in range(config.layers)
        for name in ("c", "h", "i", "r", "n")
        if name in CELLS[config.cell].site_names
    }
    shape = (time, batch)
    return {
        "parameters": parameters,
        "state": state,
        "edits": edits if edited else {},
        "ids": jax.random.randint(next(keys), shape, 0, config.vocabulary),
        "targets": jax.random.randint(next(keys), shape, 0, config.vocabulary),
        "mask": jax.random.bernoulli(next(keys), 0.7, shape) if masked else None,
        "resets": jax.random.bernoulli(next(keys), 0.2, shape) if reset else None,
    }


@functools.partial(jax.jit, static_argnames=("config", "reference"))
def everything(config, reference, problem):
    """The forward results, and the gradient of a loss that reaches every one of them."""

    def loss(parameters, state, edits):
        output = lm.forward(
            config,
            parameters,
            problem["ids"],
            state,
            mask=problem["mask"],
            resets=problem["resets"],
            edits=edits,
            emit=sites(config),
            reference=reference,
        )
        nats = lm.negative_log_likelihood(config, parameters, output.hidden, problem["targets"])
        reached = [jnp.sin(leaf + k).mean() for k, leaf in enumerate(jax.tree.leaves(output))]
        return nats.mean() + sum(reached), output

    arguments = problem["parameters"], problem["state"], problem["edits"]
    (_, output), gradients = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(*arguments)
    return output, gradients


def assert_equal(fast, plain, tolerance):
    """For each leaf max|a - b| <= tolerance max|b|, and nothing that is not finite."""
    assert jax.tree.structure(fast) == jax.tree.structure(plain)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(fast), jax.tree.leaves(plain), strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        name = jax.tree_util.keystr(path)
        assert np.isfinite(a).all(), name
        assert np.isfinite(b).all(), name
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), name


@pytest.mark.parametrize("case", CASES)
def test_fast_equals_readable_in_float64(case):
    config, *shape = CASES[case]
    with jax.enable_x64(True):
        given = problem(config, *shape, jnp.float64)
        assert_equal(everything(config, False, given), everything(config, True, given), 1e-10)


WAYS = {
    "states kept alone": {"keep": "states"},
    "in columns": {"layout": "columns"},
    "in columns, states kept alone": {"layout": "columns", "keep": "states"},
    "chunks of 5": {"chunk": 5},
    "three steps in a turn, chunks of 7, states kept alone": {
        "unroll": 3,
        "chunk": 7,
        "keep": "states",
    },
    "four steps in a turn, chunks of 8": {"unroll": 4, "chunk": 8},
    "one chunk": {"chunk": 64},
}


@pytest.mark.parametrize(
    "case",
    [
        "multiplicative, chunks and a rest, all controls",
        "LSTM, three layers, all controls",
        "LSTM, plain weights, one step",
        "GRU, two layers, all controls",
        "GRU, reset before",
        "RNN, two layers, all controls",
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_computing_equals_the_readable_one(way, case):
    config, *shape = CASES[case]
    with jax.enable_x64(True):
        given = problem(config, *shape, jnp.float64)
        fast = everything(changed(config, **WAYS[way]), False, given)
        assert_equal(fast, everything(config, True, given), 1e-10)


@pytest.mark.parametrize("way", ["states kept alone", "in columns"])
def test_each_way_takes_edits_that_differ_from_text_to_text(way):
    config = changed(MLSTM, **WAYS[way])
    with jax.enable_x64(True):
        given = problem(config, 20, 3, False, False, True, jnp.float64)
        # None larger than in the other problems: a c multiplied by 3 at each step magnifies
        # rounding until the two ways agree in no digit.
        share = jnp.arange(1.0, 4.0)[:, None] / 3
        given["edits"] = jax.tree.map(lambda x: x * share, given["edits"])
        assert_equal(everything(config, False, given), everything(config, True, given), 1e-10)


@pytest.mark.parametrize(
    "way", [pytest.param("states kept alone", marks=pytest.mark.slow), "in columns"]
)
def test_each_way_rounds_to_bfloat16_as_the_readable_one(way):
    config = changed(lm.ModelConfig(hidden=64, layers=2), products="bfloat16")
    given = problem(config, 24, 4, False, False, False, jnp.float32)
    exact = everything(changed(config, products="float32"), True, given)[1]
    fast = everything(changed(config, chunk=8, **WAYS[way]), False, given)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(fast))
    for (path, found), rounded, without in zip(
        jax.tree_util.tree_leaves_with_path(fast[1]),
        jax.tree.leaves(everything(config, True, given)[1]),
        jax.tree.leaves(exact),
        strict=True,
    ):
        apart, effect = (float(jnp.abs(a - rounded).max()) for a in (found, without))
        assert apart < 0.7 * effect, jax.tree_util.keystr(path)


def test_states_kept_alone_take_less_memory():
    config = lm.ModelConfig(embedding=8, hidden=64)
    given = problem(config, 128, 32, False, False, False, jnp.float32)

    def temporaries(config, reference=False):
        def loss(parameters):
            run = functools.partial(lm.forward, config, parameters, given["ids"], given["state"])
            return run(reference=reference).hidden.sum()

        compiled = jax.jit(jax.grad(loss)).lower(given["parameters"]).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    plain = temporaries(config, reference=True)
    assert temporaries(changed(config, chunk=8)) < 0.65 * plain
    assert temporaries(changed(config, chunk=8, keep="states")) < 0.35 * plain


def test_what_is_added_to_a_product_shares_its_gradient():
    """The gates' gradient is that of the product and of the input: one array of it is kept."""
    config = lm.ModelConfig(hidden=24, embedding=5, chunk=6)
    given = problem(config, 12, 7, False, False, False, jnp.float32)

    def loss(parameters):
        return lm.forward(config, parameters, given["ids"], given["state"]).hidden.sum()

    text = jax.jit(jax.grad(loss)).lower(given["parameters"]).as_text()
    loops = [line for line in text.splitlines() if "stablehlo.while" in line]
    assert max(line.count("tensor<6x7x4x24xf32>") for line in loops) == 1


@pytest.mark.parametrize(
    ("field", "value"), [("keep", "gates"), ("layout", "diagonal"), ("chunk", -1), ("unroll", -1)]
)
def test_a_way_that_is_not_there_is_refused(field, value):
    with pytest.raises(InputError, match=f"model.{field} is"):
        changed(MLSTM, **{field: value}).check()


@pytest.mark.parametrize("cell", CELLS)
def test_fast_equals_readable_in_float32_at_the_scale_of_the_initialisation(cell):
    config = lm.ModelConfig(cell=cell, hidden=256)
    given = problem(config, 40, 4, False, True, False, jnp.float32)
    given["state"] = lm.initial_state(config, 4)
    assert_equal(everything(config, False, given), everything(config, True, given), 1e-5)


FIXED = (changed(MLSTM, layers=2), 18, 2)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_fast_equals_readable_whatever_the_values_masks_and_edits(data):
    config, time, batch = FIXED
    seed = data.draw(st.integers(0, 2**31 - 1))
    scale = data.draw(st.sampled_from([1e-3, 0.1, 1.0, 4.0]))
    bits = st.lists(st.booleans(), min_size=time * batch, max_size=time * batch)
    with jax.enable_x64(True):
        given = problem(config, time, batch, True, True, True, jnp.float64, seed)
        given["parameters"] = jax.tree.map(lambda x: scale * x, given["parameters"])
        for name in ("mask", "resets"):
            given[name] = jnp.array(data.draw(bits)).reshape(time, batch)
        values = st.floats(-3, 3, allow_subnormal=False)
        for (edit,) in given["edits"].values():
            edit["keep"] = edit["keep"].at[0].set(data.draw(values))
            edit["add"] = edit["add"].at[1].set(data.draw(values))
        assert_equal(everything(config, False, given), everything(config, True, given), 1e-10)


def test_edits_may_differ_from_text_to_text():
    config = MLSTM
    with jax.enable_x64(True):
        given = problem(config, 20, 3, False, False, True, jnp.float64)
        given["edits"] = jax.tree.map(lambda x: x * jnp.arange(1.0, 4.0)[:, None], given["edits"])
        assert_equal(everything(config, False, given), everything(config, True, given), 1e-10)


def test_bfloat16_rounds_forward_and_backward_alike_and_keeps_float32():
    exact_config = lm.ModelConfig(hidden=64, layers=2)
    low_config = changed(exact_config, products="bfloat16")
    given = problem(exact_config, 24, 4, False, False, False, jnp.float32)
    exact = everything(exact_config, False, given)
    fast, plain = (everything(low_config, reference, given) for reference in (False, True))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(fast))
    assert_equal(fast, plain, 2e-2)
    for (path, low), plain_low, high in zip(
        jax.tree_util.tree_leaves_with_path(fast[1]),
        jax.tree.leaves(plain[1]),
        jax.tree.leaves(exact[1]),
        strict=True,
    ):
        error = float(jnp.abs(low - high).max() / jnp.abs(high).max())
        assert 1e-5 < error < 0.1, jax.tree_util.keystr(path)
        between = float(jnp.abs(low - plain_low).max() / jnp.abs(high).max())
        assert between < error, "rounded otherwise than the plain scan"


def test_weight_gradients_of_bfloat16_products_are_summed_in_float32():
    given = problem(changed(MLSTM, products="bfloat16"), 20, 4, False, False, False, jnp.float32)
    _, (gradients, _, _) = everything(changed(MLSTM, products="bfloat16"), False, given)
    for name, leaf in (
        ("readout", gradients["readout"]["w"]),
        ("wh", gradients["layers"]["0"]["wh"]),
        ("wx", gradients["layers"]["0"]["wx"]),
    ):
        rounded = leaf.astype(jnp.bfloat16).astype(jnp.float32)
        assert float(jnp.mean(rounded == leaf)) < 0.1, name


def test_features_and_their_weights_have_the_plain_gradient():
    with jax.enable_x64(True):
        given = problem(MLSTM, 1, 1, False, False, False, jnp.float64)
        layer = given["parameters"]["layers"]["0"]
        weights = Weights(
            {k: layer[k] for k in ("wmh", "wh")}, {k: layer[k] for k in ("wmx", "wx", "b")}, None
        )
        features = jax.random.normal(jax.random.key(1), (21, 3, 5), jnp.float64)
        state = {k: jnp.ones((3, 8), jnp.float64) for k in ("h", "c")}

        def loss(scan, weights, features):
            controls = Controls(None, None, None)
            result = scan(Plan(MultiplicativeLSTM), weights, features, state, {}, controls)
            return jnp.sin(result.hidden).sum()

        fast, plain = (
            jax.jit(jax.grad(functools.partial(loss, scan), (0, 1)))(weights, features)
            for scan in (recurrence.scan, scan_plain)
        )
        assert_equal(fast, plain, 1e-10)


@pytest.mark.parametrize("way", ["as it comes", "in columns, states kept alone"])
def test_a_leading_axis_of_seeds_is_vmap(way):
    config = changed(MLSTM, **WAYS.get(way, {}))
    with jax.enable_x64(True):
        problems = [problem(config, 20, 2, False, True, True, jnp.float64, s) for s in range(3)]
        for p in problems:
            p["ids"], p["targets"], p["resets"] = (
                problems[0][k] for k in ("ids", "targets", "resets")
            )
        one_by_one = [everything(config, False, p) for p in problems]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *problems)
        at_once = jax.vmap(lambda p: everything(config, False, p))(stacked)
        assert_equal(at_once, jax.tree.map(lambda *x: jnp.stack(x), *one_by_one), 1e-12)


@pytest.mark.parametrize("way", ["as it comes", "in columns", "states kept alone"])
def test_many_edits_of_one_text_are_vmap(way):
    config = changed(MLSTM, **WAYS.get(way, {}))
    with jax.enable_x64(True):
        given = problem(config, 20, 2, False, True, True, jnp.float64)
        many = jax.tree.map(lambda x: jnp.stack([x, 2 * x, -x]), given["edits"])

        def one(edits):
            return everything(config, False, given | {"edits": edits})

        one_by_one = [one(jax.tree.map(lambda x, n=n: x[n], many)) for n in range(3)]
        assert_equal(jax.vmap(one)(many), jax.tree.map(lambda *x: jnp.stack(x), *one_by_one), 1e-12)


def test_rounded_products_of_float64_have_the_types_of_the_readable_ones():
    config = changed(MLSTM, products="bfloat16")
    with jax.enable_x64(True):
        given = problem(config, 9, 2, False, False, False, jnp.float64)
        fast, plain = (everything(config, reference, given) for reference in (False, True))
        types = [[leaf.dtype for leaf in jax.tree.leaves(x)] for x in (fast, plain)]
        assert types[0] == types[1]
        assert_equal(fast[0], plain[0], 1e-2)


def test_a_step_that_uses_a_weight_twice_is_refused():
    class Twice(MultiplicativeLSTM):
        @staticmethod
        def step(state, inputs, product, site):
            product("wmh", state["h"])
            return MultiplicativeLSTM.step(state, inputs, product, site)

    given = problem(MLSTM, 1, 1, False, False, False, jnp.float32)
    layer = given["parameters"]["layers"]["0"]
    weights = Weights(
        {k: layer[k] for k in ("wmh", "wh")}, {k: layer[k] for k in ("wmx", "wx", "b")}, None
    )
    zero = {k: jnp.zeros((3, 8)) for k in ("h", "c")}
    run = functools.partial(recurrence.scan, Plan(Twice), weights)
    with pytest.raises(ValueError, match='"wmh" twice'):
        run(jnp.ones((4, 3, 5)), zero, {}, Controls(None, None, None))
    with pytest.raises(ValueError, match="no step"):
        run(jnp.ones((0, 3, 5)), zero, {}, Controls(None, None, None))


def test_a_masked_step_carries_the_state_unchanged():
    config = MLSTM
    given = problem(config, 6, 2, False, False, False, jnp.float32)
    mask = jnp.ones((6, 2), bool).at[3:, 1].set(False)
    run = functools.partial(lm.forward, config, given["parameters"])
    output = run(given["ids"], given["state"], mask=mask)
    short = run(given["ids"][:3], given["state"])
    for name in ("h", "c"):
        np.testing.assert_allclose(output.state[0][name][1], short.state[0][name][1], atol=1e-6)
    np.testing.assert_array_equal(output.hidden[3:, 1], output.hidden[[2, 2, 2], 1])
    resets = ~mask
    both = run(given["ids"], given["state"], mask=mask, resets=resets)
    np.testing.assert_array_equal(both.hidden, output.hidden)


def test_a_site_that_is_not_there_is_refused_and_never_ignored():
    given = problem(MLSTM, 3, 1, False, False, False, jnp.float32)
    run = functools.partial(lm.forward, MLSTM, given["parameters"], given["ids"], given["state"])
    one = {"keep": jnp.ones(8), "add": jnp.ones(8)}
    for wrong in ({"emit": ("9.c",)}, {"emit": ("0.z",)}, {"edits": {"1.c": one}}):
        with pytest.raises(InputError, match="no site"):
            run(**wrong)


def test_dropout_between_layers_drops_its_share_and_keeps_the_mean():
    config = changed(MLSTM, layers=2, hidden=64, dropout=0.25)
    dropped = noise.dropped(jnp.ones((200, 100)), 0.25, jax.random.key(0))
    assert float((dropped == 0).mean()) == pytest.approx(0.25, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.01)
    given = problem(config, 12, 2, False, False, False, jnp.float32)
    run = functools.partial(lm.forward, config, given["parameters"], given["ids"], given["state"])
    without, first, again, other = (
        run(emit=("0.h",), dropout_key=key)
        for key in (None, jax.random.key(1), jax.random.key(1), jax.random.key(2))
    )
    np.testing.assert_array_equal(first.emitted["0.h"], without.emitted["0.h"])
    np.testing.assert_array_equal(first.hidden, again.hidden)
    assert float(jnp.abs(first.hidden - without.hidden).max()) > 1e-3
    assert float(jnp.abs(first.hidden - other.hidden).max()) > 1e-3
    assert not bool((first.hidden == 0).any()), "the readout's input is not dropped"


def test_dropout_between_layers_needs_two():
    with pytest.raises(InputError, match="output_dropout"):
        changed(MLSTM, dropout=0.1).check()


def test_a_reset_forgets_everything_before_it():
    config = MLSTM
    given = problem(config, 6, 2, False, False, False, jnp.float32)
    resets = jnp.zeros((6, 2), bool).at[4].set(True)
    run = functools.partial(lm.forward, config, given["parameters"])
    output = run(given["ids"], given["state"], resets=resets)
    alone = run(given["ids"][4:], lm.initial_state(config, 2))
    np.testing.assert_allclose(output.hidden[4:], alone.hidden, rtol=1e-6)


def test_windows_with_carried_state_equal_one_long_run():
    config = changed(MLSTM, layers=2)
    with jax.enable_x64(True):
        given = problem(config, 40, 2, False, False, False, jnp.float64)
        run = functools.partial(lm.forward, config, given["parameters"])
        whole = run(given["ids"], given["state"])
        first = run(given["ids"][:23], given["state"])
        second = run(given["ids"][23:], first.state)
        joined = jnp.concatenate([first.hidden, second.hidden])
        np.testing.assert_allclose(joined, whole.hidden, atol=1e-14)


def test_generation_step_by_step_equals_the_forward_pass():
    config = changed(LSTM, layers=2)
    given = problem(config, 9, 2, False, False, True, jnp.float32)
    output = lm.forward(
        config, given["parameters"], given["ids"], given["state"], edits=given["edits"]
    )
    expected = lm.logits(given["parameters"], output.hidden)
    folded, state = lm.fold(config, given["parameters"]), given["state"]
    for t in range(9):
        logits, state = lm.step(config, folded, given["ids"][t], state, given["edits"])
        np.testing.assert_allclose(logits, expected[t], atol=2e-6)
