import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm import devices
from mlstm.model import encoding, language_model
from mlstm.model.config import ModelConfig
from mlstm.model.edits import make_edits, resolve

CONFIG = ModelConfig(hidden=8, embedding=4, layers=2)
PARAMETERS = language_model.init_parameters(CONFIG, jax.random.key(0))
SITES = ("0.c", "1.h")
LENGTHS = st.lists(st.integers(0, 40), max_size=20)


def texts_of(lengths: list[int]) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, n).astype(np.uint8) for n in lengths]


def packed(texts, **settings) -> list[dict[str, np.ndarray]]:
    """The states of each text, put together from the windows."""
    out = [{s: np.full((len(t), CONFIG.hidden), np.nan) for s in SITES} for t in texts]
    for window in encoding.stream_states(CONFIG, PARAMETERS, texts, SITES, **settings):
        for text in set(window.text[window.text >= 0].tolist()):
            here = window.text == text
            for site in SITES:
                out[text][site][window.position[here]] = np.asarray(window.states[site])[here]
    return out


@jax.jit
def reference(ids, arrays, steps):
    change = resolve(arrays, steps)
    state = language_model.initial_state(CONFIG, 1)
    return language_model.forward(
        CONFIG, PARAMETERS, ids, state, emit=SITES, edits=change, reference=True
    ).emitted


def alone(text: np.ndarray, change=None) -> dict[str, np.ndarray]:
    """One text by itself; what pads it to one shape comes after it."""
    ids = np.zeros((40, 1), np.int32)
    ids[: len(text), 0] = text
    position = np.arange(40)[:, None]
    steps = change.steps(np.zeros_like(position), position) if change else {}
    emitted = reference(ids, change.arrays if change else None, steps)
    return {site: np.asarray(emitted[site])[: len(text), 0] for site in SITES}


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.integers(1, 5), st.integers(1, 9))
def test_every_id_of_every_text_is_fed_exactly_once_in_order_and_resets_where_a_text_begins(
    lengths, streams, window
):
    texts = texts_of(lengths)
    last: dict[int, tuple[int, int]] = {}
    for feed in encoding.feeds(texts, streams, window):
        assert feed.ids.shape == (window, streams)
        assert (feed.mask == (feed.text >= 0)).all()
        assert (feed.resets == (feed.mask & (feed.position == 0))).all()
        for stream in range(streams):
            for row in np.flatnonzero(feed.mask[:, stream]):
                text, place = int(feed.text[row, stream]), int(feed.position[row, stream])
                before, where = last.get(text, (-1, stream))
                assert (place, stream) == (before + 1, where)
                assert feed.ids[row, stream] == texts[text][place]
                last[text] = place, stream
    assert {text: place + 1 for text, (place, _) in last.items()} == {
        i: n for i, n in enumerate(lengths) if n
    }


@settings(max_examples=15, deadline=None)
@given(LENGTHS)
def test_packed_states_equal_those_of_one_text_at_a_time(lengths):
    texts = texts_of(lengths)
    for text, states in zip(texts, packed(texts, streams=3, window=8), strict=True):
        if len(text):
            expected = alone(text)
            for site in SITES:
                np.testing.assert_allclose(states[site], expected[site], atol=1e-5)


def test_an_edit_reaches_every_packed_text():
    texts = texts_of([5, 17, 3])
    change = make_edits(CONFIG, ["0.c[2]=1.5", "1.h[3]+=1@2:5@ramp=2"])
    for text, states in zip(texts, packed(texts, streams=2, window=4, edits=change), strict=True):
        np.testing.assert_allclose(states["1.h"], alone(text, change)["1.h"], atol=1e-5)


def test_states_and_edits_are_the_same_on_a_mesh():
    texts = texts_of([5, 17, 3, 40, 1])
    change = make_edits(CONFIG, ["0.c[2]=1.5", "1.h[3]+=1@2:5@ramp=2"])
    settings = {"streams": 4, "window": 8, "edits": change}
    spread = packed(texts, mesh=devices.mesh(4, 2), **settings)
    for found, expected in zip(spread, packed(texts, **settings), strict=True):
        for site in SITES:
            np.testing.assert_allclose(found[site], expected[site], atol=1e-6)


def test_texts_of_other_lengths_and_numbers_do_not_recompile():
    packed(texts_of([3, 9]), streams=2, window=16)
    compiled = encoding._window._cache_size()
    for lengths in ([1], [100, 5, 0, 7], [16, 32, 33], [2] * 40):
        packed(texts_of(lengths), streams=2, window=16)
    assert encoding._window._cache_size() == compiled


def test_no_texts_give_no_window():
    assert packed([]) == []
    assert list(encoding.feeds(texts_of([0, 0]), 2, 4)) == []


def test_useful_work_is_at_least_95_percent_on_2000_texts_of_lognormal_length():
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(np.log(400), 1, 2000), 1, 5000).astype(int).tolist()
    computed = encoding.windows_needed(lengths, 128, 128) * 128 * 128
    assert sum(lengths) > 0.95 * computed


def test_one_long_text_among_short_ones_runs_on_few_streams():
    assert encoding.choose_streams([100_000] + [10] * 100, 128) == 1
    assert encoding.choose_streams([500] * 1000, 128) == 64


@pytest.mark.parametrize("streams", [1, 4, 32])
def test_the_fullest_stream_is_at_most_four_thirds_of_the_fair_share_or_the_longest(streams):
    lengths = np.random.default_rng(1).integers(1, 2000, 200).tolist()
    fullest = max(sum(lengths[i] for i in texts) for texts in encoding.plan(lengths, streams))
    assert fullest <= max(max(lengths), 4 / 3 * sum(lengths) / streams)
