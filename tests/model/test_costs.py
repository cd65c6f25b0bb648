"""Costs of many edits in one call equal those of one edit and one text at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm.errors import InputError
from mlstm.model import costs, edits
from mlstm.model import language_model as lm

CONFIG = lm.ModelConfig(hidden=16, vocabulary=11, embedding=5)
PARAMETERS = lm.init_parameters(CONFIG, jax.random.key(0))
PARAMETERS["readout"]["w"] *= 5
RNG = np.random.default_rng(1)
TEXTS = [RNG.integers(0, 11, n).astype(np.uint8) for n in (30, 7, 1, 19)]
POOL = RNG.normal(size=(6, 16)).astype(np.float32)


def alone(text, changes, number):
    """(nats of its bytes but the first, log p of each next byte, c) of one text."""
    made = edits.make_edits(CONFIG, changes)
    arrays = None
    if made:
        position = np.arange(len(text))[:, None]
        arrays = edits.resolve(made.arrays, made.steps(np.full_like(position, number), position))
    ids = jnp.asarray(text, jnp.int32)[:, None]
    out = lm.forward(
        CONFIG,
        PARAMETERS,
        ids,
        lm.initial_state(CONFIG, 1),
        edits=arrays,
        emit=("0.c",),
        reference=True,
    )
    log_p = np.asarray(jax.nn.log_softmax(lm.logits(PARAMETERS, out.hidden)[:, 0]))
    return -log_p[np.arange(len(text) - 1), text[1:]], log_p[:-1], out.emitted["0.c"][:, 0]


def gathered(batch, **settings):
    """For each edit and text: nats, divergence and c by position; and the base's nats."""
    found = {}
    settings = {"streams": 2, "window": 8, "divergence": True, "emit": ("0.c",)} | settings
    for window in costs.stream_costs(CONFIG, PARAMETERS, TEXTS, batch, **settings):
        for n in range(batch.count):
            for t, b in zip(*np.nonzero(window.text >= 0), strict=True):
                text, place = int(window.text[t, b]), int(window.position[t, b])
                assert window.weights[t, b] == (place + 1 < len(TEXTS[text]))
                found[n, text, place] = (
                    float(window.nats[n, t, b]),
                    float(window.divergence[n, t, b]),
                    np.asarray(window.states["0.c"][n, t, b]),
                    float(window.base[t, b]),
                )
    return found


def assert_as_alone(batch, lists):
    found = gathered(batch)
    for n, changes in enumerate(lists):
        for number, text in enumerate(TEXTS):
            plain, log_p, _ = alone(text, [], number)
            nats, log_q, c = alone(text, changes, number)
            apart = (np.exp(log_p) * (log_p - log_q)).sum(-1)
            for place in range(len(text)):
                own = found[n, number, place]
                np.testing.assert_allclose(own[2], c[place], atol=1e-5)
                if place + 1 == len(text):
                    assert own[0] == own[1] == own[3] == 0
                    continue
                np.testing.assert_allclose(
                    [own[0], own[1], own[3]], [nats[place], apart[place], plain[place]], atol=2e-5
                )


def test_lists_of_edits_side_by_side_cost_what_each_costs_alone():
    lists = [["0.c[1]=2", "0.h[3]+=1@4:9"], ["0.c[5]*=0", "0.h[2]*=3@1:"]]
    assert_as_alone(edits.batch(CONFIG, lists), lists)


def test_sets_of_units_taken_out_cost_what_each_costs_alone():
    sets, value = [[1], [2, 7, 9], []], POOL[0]
    assert_as_alone(
        edits.each_set(CONFIG, "0.c", sets, value=value),
        [[edits.mean("0.c", units, value[units])] if units else [] for units in sets],
    )
    assert_as_alone(
        edits.each_set(CONFIG, "0.c", sets[:2], pool=POOL, seed=3, when="after_step"),
        [
            [edits.resample("0.c", units, POOL[:, units], 3, when="after_step")]
            for units in sets[:2]
        ],
    )


def test_resampling_side_by_side_may_have_seeds_of_its_own():
    lists = [[edits.resample("0.c", [k], POOL[:, [k]], seed=k)] for k in range(3)]
    assert_as_alone(edits.batch(CONFIG, lists), lists)


def test_other_units_values_and_texts_do_not_recompile():
    gathered(edits.each_set(CONFIG, "0.c", [[1], [2]], value=POOL[0]))
    compiled = costs._window._cache_size()
    gathered(edits.each_set(CONFIG, "0.c", [[3, 4, 5], []], value=0.5))
    assert costs._window._cache_size() == compiled


def test_edits_side_by_side_have_to_be_alike():
    with pytest.raises(InputError, match="have to be alike"):
        edits.batch(CONFIG, [["0.c[1]=2"], ["0.h[1]=2"]])
    with pytest.raises(InputError, match="have to be alike"):
        edits.batch(CONFIG, [["0.c[1]=2"], ["0.c[1]=2@4:"]])
    with pytest.raises(InputError, match="needs an edit"):
        edits.batch(CONFIG, [["0.c[1]=2"], []])
    with pytest.raises(InputError, match="begin at 0"):
        edits.each_set(CONFIG, "0.c", [[-1, 3]], value=0.0)
    with pytest.raises(InputError, match="0 to 15"):
        edits.each_set(CONFIG, "0.c", [[16]], value=0.0)


def test_given_embeddings_are_read_as_the_rows_that_ids_name():
    ids = jnp.asarray(RNG.integers(0, 11, (9, 2)), jnp.int32)
    state = lm.initial_state(CONFIG, 2)
    by_id = lm.forward(CONFIG, PARAMETERS, ids, state)
    embedded = PARAMETERS["embedding"][ids]
    for reference in (False, True):
        given = lm.forward(CONFIG, PARAMETERS, None, state, embedded=embedded, reference=reference)
        np.testing.assert_allclose(given.hidden, by_id.hidden, atol=1e-6)

    def total(x, reference):
        out = lm.forward(CONFIG, PARAMETERS, None, state, embedded=x, reference=reference)
        return jnp.sin(out.hidden).sum()

    fast, plain = (jax.grad(total)(embedded, reference) for reference in (False, True))
    np.testing.assert_allclose(fast, plain, atol=1e-5)
