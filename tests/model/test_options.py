"""What a model may have beside its cell: sums, ties, one-hot input, and noise in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.errors import InputError
from mlstm.model import language_model as lm
from mlstm.model.cells import CELLS
from mlstm.model.edits import make_edits
from mlstm.model.sites import sites

T, B = 12, 3
SMALL = {"vocabulary": 7, "embedding": 5, "hidden": 6, "chunk": 5}
KEY = jax.random.key(4)


def made(dtype=jnp.float64, **fields):
    config = lm.ModelConfig(**{**SMALL, **fields}).check()
    keys = iter(jax.random.split(jax.random.key(1), 60))
    parameters = jax.tree.map(
        lambda x: x + 0.2 * jax.random.normal(next(keys), x.shape, dtype),
        lm.init_parameters(config, jax.random.key(0), dtype),
    )
    return config, parameters, jax.random.randint(jax.random.key(2), (T, B), 0, config.vocabulary)


def run(config, parameters, ids, **more):
    state = lm.initial_state(config, ids.shape[1], lm.dtype_of(parameters))
    return lm.forward(config, parameters, ids, state, **more)


def close(a, b, tolerance=1e-10):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1, np.abs(y).max()))


OPTIONS = {
    "residual": {"layers": 3, "residual": True},
    "tied": {"embedding": 6, "readout": "tied", "cell": "gru"},
    "one-hot": {"embedding": 0, "cell": "lstm", "weight_norm": False},
    "one-hot GRU": {"embedding": 0, "cell": "gru", "layers": 2},
    "noise": {
        "layers": 2,
        "residual": True,
        "dropout": 0.2,
        "output_dropout": 0.2,
        "hidden_dropout": 0.3,
        "embedding_dropout": 0.3,
        "zoneout_cell": 0.4,
        "zoneout_hidden": 0.2,
    },
    "noise, GRU": {"cell": "gru_reset_before", "hidden_dropout": 0.3, "zoneout_hidden": 0.2},
}
WAYS = {"rows": {}, "columns, states": {"layout": "columns", "keep": "states"}}


@pytest.mark.parametrize("key", [None, KEY], ids=["evaluated", "trained"])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("way", WAYS)
def test_fast_equals_readable_with_every_option(way, option, key):
    with jax.enable_x64(True):
        config, parameters, ids = made(**OPTIONS[option], **WAYS[way])
        mask = jax.random.bernoulli(jax.random.key(3), 0.7, ids.shape)

        def loss(parameters, reference):
            output = run(
                config,
                parameters,
                ids,
                mask=mask,
                emit=sites(config),
                dropout_key=key,
                reference=reference,
            )
            nats = lm.negative_log_likelihood(config, parameters, output.hidden, ids)
            return nats.mean() + sum(jnp.sin(x).mean() for x in jax.tree.leaves(output)), output

        both = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
        close(both(parameters, False), both(parameters, True))


@pytest.mark.parametrize("option", OPTIONS)
def test_generation_steps_through_the_same_model(option):
    with jax.enable_x64(True):
        config, parameters, ids = made(**OPTIONS[option])
        wanted = lm.logits(parameters, run(config, parameters, ids).hidden)
        folded, state = lm.fold(config, parameters), lm.initial_state(config, B, jnp.float64)
        step = jax.jit(lm.step, static_argnums=0)
        for t in range(T):
            scores, state = step(config, folded, ids[t], state)
            close(scores, wanted[t])


def test_a_residual_layer_gives_the_sum_of_what_it_read_and_its_h():
    with jax.enable_x64(True):
        config, parameters, ids = made(layers=3, residual=True)
        emitted = run(config, parameters, ids, emit=("0.h", "1.h", "2.h"))
        close(emitted.hidden, sum(emitted.emitted.values()))
        plain = run(*made(layers=3)[:2], ids, emit=("1.h",))
        close(plain.emitted["1.h"], emitted.emitted["1.h"])  # the first two read the same
        assert float(jnp.abs(plain.hidden - emitted.emitted["2.h"]).max()) > 1e-3


def test_a_tied_readout_is_the_transposed_embedding_and_both_uses_are_trained():
    with jax.enable_x64(True):
        config, parameters, ids = made(embedding=6, readout="tied")
        assert set(parameters["readout"]) == {"b"}
        hidden = run(config, parameters, ids).hidden
        close(
            lm.logits(parameters, hidden),
            hidden @ parameters["embedding"].T + parameters["readout"]["b"],
        )
        alone = jax.grad(lambda p: lm.logits(p, hidden).sum())(parameters)["embedding"]
        close(alone, jnp.broadcast_to(hidden.sum((0, 1)), alone.shape))


def test_one_hot_input_is_an_embedding_that_is_the_identity():
    with jax.enable_x64(True):
        config, parameters, ids = made(embedding=0)
        same = lm.ModelConfig(**{**SMALL, "embedding": 7})
        assert "embedding" not in parameters
        with_table = parameters | {"embedding": jnp.eye(7)}
        close(run(config, parameters, ids).hidden, run(same, with_table, ids).hidden)
        assert lm.parameter_count(config) == lm.parameter_count(same) - 49


def test_a_model_without_a_readout_has_states_and_says_that_it_has_no_logits():
    config, parameters, ids = made(readout="none", dtype=jnp.float32)
    assert "readout" not in parameters
    assert run(config, parameters, ids).hidden.shape == (T, B, 6)
    for ask in (lambda: lm.logits(parameters, jnp.zeros(6)), lambda: lm.fold(config, parameters)):
        with pytest.raises(InputError, match="no readout"):
            ask()


def test_hidden_dropout_drops_the_same_units_at_every_step_for_the_readout():
    config, parameters, ids = made(hidden_dropout=0.5, dtype=jnp.float32)
    hidden = np.asarray(run(config, parameters, ids, dropout_key=KEY).hidden)
    gone = (hidden == 0).all(0)
    assert gone.any()
    assert not gone.all()
    assert (hidden[:, ~gone] != 0).all()
    assert (gone != gone[0]).any(), "each stream has its own"
    other = np.asarray(run(config, parameters, ids, dropout_key=jax.random.key(9)).hidden)
    assert ((other == 0).all(0) != gone).any()


def test_a_unit_that_is_dropped_reaches_no_later_step():
    """With all that reads h dropped, a step knows nothing of the ones before but c."""
    with jax.enable_x64(True):
        config, parameters, ids = made(hidden_dropout=1 - 1e-12)
        first = run(config, parameters, ids, dropout_key=KEY, emit=("0.m",)).emitted["0.m"]
        close(first, jnp.zeros_like(first))


def test_embedding_dropout_drops_the_same_features_at_every_step():
    with jax.enable_x64(True):
        config, parameters, ids = made(embedding_dropout=0.5, cell="rnn", weight_norm=False)
        ones = parameters | {"embedding": jnp.ones((7, 5))}
        layer = dict(ones["layers"]["0"])
        layer |= {"wh": jnp.zeros((6, 6)), "wx": jnp.eye(5, 6), "b": jnp.zeros(6)}
        ones["layers"] = {"0": layer}
        hidden = np.asarray(run(config, ones, ids, dropout_key=KEY).hidden)[..., :5]
        assert set(np.unique(np.round(hidden, 6))) == {0, round(float(np.tanh(2.0)), 6)}
        assert (hidden == hidden[0]).all()


def test_zoneout_keeps_old_values_in_training_and_the_mean_of_both_elsewhere():
    with jax.enable_x64(True):
        config, parameters, ids = made(zoneout_cell=0.3, zoneout_hidden=0.1)
        emit = ("0.i", "0.f", "0.u", "0.o", "0.c", "0.h")

        def states(key):
            found = run(config, parameters, ids, emit=emit, dropout_key=key).emitted
            return {name[2:]: np.asarray(x) for name, x in found.items()}

        for key, shares in ((None, {"c": 0.3, "h": 0.1}), (KEY, {"c": None, "h": None})):
            s = states(key)
            before = {k: np.concatenate([np.zeros((1, B, 6)), s[k][:-1]]) for k in "ch"}
            c = s["f"] * before["c"] + s["i"] * s["u"]
            made_new = {"c": c, "h": s["o"] * np.tanh(c)}
            for k, share in shares.items():
                if share is None:
                    kept = s[k] == before[k]
                    close(np.where(kept, before[k], made_new[k]), s[k])
                    assert 0.02 < kept.mean() < 0.6
                    assert kept.any(0).any()
                else:
                    close(share * before[k] + (1 - share) * made_new[k], s[k])


def edited(config, text):
    made = make_edits(config, text)
    assert made
    return made.arrays


def test_an_edit_holds_where_units_keep_their_old_values():
    with jax.enable_x64(True):
        config, parameters, ids = made(cell="lstm", zoneout_cell=0.5, zoneout_hidden=0.3)
        for key in (None, KEY):
            for text in ("0.c[2]=2", "0.h[2]=2", "0.c[2]=-0.01..0.01"):
                arrays = edited(config, text)
                site = text[:3]
                found = run(
                    config, parameters, ids, edits=arrays, emit=(site, "0.h"), dropout_key=key
                )
                values = np.asarray(found.emitted[site])[..., 2]
                if text.endswith("=2"):
                    close(values, np.full_like(values, 2))
                else:
                    assert np.abs(values).max() <= 0.01
                    assert np.abs(values).max() > 0
        # h is made of the edited c at once: o tanh(2), but for what it keeps.
        found = run(
            config, parameters, ids, edits=edited(config, "0.c[2]=2"), emit=("0.o", "0.h")
        ).emitted
        h, o = (np.asarray(found[name])[..., 2] for name in ("0.h", "0.o"))
        close(h[0], 0.7 * o[0] * np.tanh(2.0))
        close(h[1:], 0.3 * h[:-1] + 0.7 * o[1:] * np.tanh(2.0))


def test_noise_is_drawn_in_training_alone_and_by_its_key():
    config, parameters, ids = made(**OPTIONS["noise"], dtype=jnp.float32)
    quiet = run(config, parameters, ids).hidden
    one, again, other = (
        run(config, parameters, ids, dropout_key=jax.random.key(k)).hidden for k in (1, 1, 2)
    )
    assert (one == again).all()
    assert (one != other).any()
    assert (one != quiet).any()
    assert config.random
    assert not lm.ModelConfig(**SMALL).random


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"readout": "tied"}, 'model.readout is "tied", so model.embedding, 5, has to be'),
        ({"readout": "softmax"}, "it may be"),
        ({"initialisation": "xavier"}, "model.initialisation is"),
        ({"embedding": -1}, "model.embedding is -1"),
        ({"embedding": 0, "embedding_dropout": 0.1}, "there is none"),
        ({"cell": "gru", "zoneout_cell": 0.1}, "gru has none; use zoneout_hidden"),
        ({"residual": True}, "from layer 1 on"),
        ({"hidden_dropout": 1.0}, "a share from 0 to below 1"),
        ({"cell": "transformer"}, "multiplicative_lstm, lstm, gru, gru_reset_before, rnn"),
    ],
)
def test_an_option_that_cannot_be_is_refused(fields, said):
    with pytest.raises(InputError, match=said):
        lm.ModelConfig(**{**SMALL, **fields}).check()


@pytest.mark.parametrize("cell", CELLS)
def test_forget_bias_is_that_of_the_gate_that_keeps(cell):
    gate = CELLS[cell].forget_gate
    b = lm.init_parameters(lm.ModelConfig(cell=cell, forget_bias=3.0, **SMALL), KEY)
    b = np.asarray(b["layers"]["0"]["b"])
    assert (b == 3).sum() == (0 if gate is None else 6)
    if gate is not None:
        assert (b[gate] == 3).all()
