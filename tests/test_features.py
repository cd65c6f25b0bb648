"""Features of texts, beside those of one text at a time."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm import devices, features
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import encoding, language_model, pooling
from mlstm.model.config import ModelConfig
from mlstm.trained import Model

CONFIG = ModelConfig(hidden=8, embedding=4, layers=2)
MODEL = Model(CONFIG, language_model.init_parameters(CONFIG, jax.random.key(0)), Bytes())
SITES = ("0.c", "1.h")
NUMPY = {"mean": np.mean, "max": np.max, "min": np.min, "last": lambda x, axis: x[-1]}


def texts_of(lengths, seed=0) -> list[bytes]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, 256, n).astype(np.uint8).tobytes() for n in lengths]


@jax.jit
def reference(ids):
    state = language_model.initial_state(CONFIG, 1)
    return language_model.forward(
        CONFIG, MODEL.parameters, ids, state, emit=SITES, reference=True
    ).emitted


def alone(text: bytes, longest: int) -> np.ndarray:
    """The states at every position of one text by itself: (len(text), sites x H) float64."""
    ids = np.zeros((longest, 1), np.int32)
    ids[: len(text), 0] = np.frombuffer(text, np.uint8)
    emitted = reference(ids)
    return np.concatenate([emitted[site][: len(text), 0] for site in SITES], -1).astype(np.float64)


def check_against_one_at_a_time(texts: list[bytes]) -> None:
    longest = max(map(len, texts))
    states = [alone(text, longest) for text in texts]
    for name, pooled in NUMPY.items():
        found = MODEL.encode(texts, SITES, name)
        assert found.dtype == np.float32
        for row, of_text in zip(found, states, strict=True):
            expected = pooled(of_text, axis=0) if len(of_text) else np.zeros(len(row))
            np.testing.assert_allclose(row, expected, atol=1e-5, err_msg=name)


def test_every_pooling_equals_one_text_at_a_time_in_any_order():
    lengths = np.random.default_rng(0).permutation([0, 0, 1, 2, 127, 128, 129, 600, *range(3, 60)])
    check_against_one_at_a_time(texts_of(lengths))


@pytest.mark.slow
def test_500_texts_of_up_to_5000_bytes_equal_one_at_a_time():
    lengths = np.random.default_rng(1).integers(0, 5001, 500)
    lengths[:3] = 0, 5000, 1
    check_against_one_at_a_time(texts_of(lengths))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_the_texts_is_that_of_the_rows(lengths, random):
    texts = texts_of(lengths)
    order = random.sample(range(len(texts)), len(texts))
    rows = MODEL.encode(texts, pooling="mean", streams=4)
    shuffled = MODEL.encode([texts[i] for i in order], pooling="mean", streams=4)
    np.testing.assert_allclose(shuffled, rows[order], atol=1e-6)


def test_more_texts_end_in_a_window_than_are_fetched_at_once():
    texts = texts_of([1] * (3 * pooling.ROWS + 5))
    found = MODEL.encode(texts, "0.c", "last", streams=2)
    table = dict(zip(texts, found, strict=True))
    again = MODEL.encode(sorted(table), "0.c", "last")
    np.testing.assert_allclose(again, [table[text] for text in sorted(table)], atol=1e-6)
    assert len(table) > pooling.ROWS


def test_sites_stand_side_by_side_in_the_order_in_which_they_are_named():
    texts = texts_of([5, 9])
    both = MODEL.encode(texts, "1.h,0.c")
    assert both.shape == (2, 16)
    np.testing.assert_array_equal(both[:, :8], MODEL.encode(texts, "1.h"))
    np.testing.assert_array_equal(both[:, 8:], MODEL.encode(texts, ["0.c"]))
    np.testing.assert_array_equal(MODEL.encode(texts), MODEL.encode(texts, "1.c"))


def test_text_is_its_utf8_and_goes_through_the_recipe_of_the_model_unless_another_is_named():
    cleaned = dataclasses.replace(MODEL, cleaning="openai")
    np.testing.assert_array_equal(MODEL.encode(["é"]), MODEL.encode(["é".encode()]))
    want = MODEL.encode([b"\n it's "])
    np.testing.assert_array_equal(cleaned.encode(["it&#39;s\n"]), want)
    np.testing.assert_array_equal(MODEL.encode(["it&#39;s\n"], cleaning="openai"), want)
    np.testing.assert_array_equal(
        cleaned.encode(["\n it's "], cleaning="none"), MODEL.encode(["\n it's "])
    )


def test_no_texts_and_empty_ones_have_rows_of_zeros():
    assert MODEL.encode([]).shape == (0, 8)
    np.testing.assert_array_equal(MODEL.encode(["", b""], pooling="min"), np.zeros((2, 8)))


def test_progress_is_in_bytes_and_ends_at_all_of_them():
    seen = []
    MODEL.encode(texts_of([300, 20, 7]), progress=lambda *at: seen.append(at))
    assert seen == sorted(seen)
    assert seen[-1] == (327, 327)


def test_texts_of_other_lengths_and_numbers_do_not_recompile():
    MODEL.encode(texts_of([3, 300]), pooling="max", streams=2)
    jitted = encoding._window, pooling._pool, pooling._rows
    compiled = [each._cache_size() for each in jitted]
    for lengths in ([1], [700, 0, 5], [1] * 200):
        MODEL.encode(texts_of(lengths), pooling="max", streams=2)
    assert [each._cache_size() for each in jitted] == compiled


def test_at_least_90_percent_of_the_work_is_useful_on_2000_texts_of_lognormal_length():
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(np.log(400), 1, 2000), 1, 5000).astype(int).tolist()
    streams = encoding.choose_streams(lengths, features.WINDOW)
    cells = sum(
        feed.mask.size
        for feed in encoding.feeds([np.zeros(n) for n in lengths], streams, features.WINDOW)
    )
    share = encoding.useful_share(lengths, streams, features.WINDOW)
    assert share == sum(lengths) / cells
    assert share >= 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("It was great.",), "texts is one text"),
        ((["a", 3],), r"texts\[1\] is a int"),
        ((["a", "\ud800"],), r"texts\[1\]: a text has '\\ud800'"),
        ((["a"], "2.c"), 'no site "2.c" in this model'),
        ((["a"], []), "no site is named; there are 0.m"),
        ((["a"], "0.c", "median"), 'no pooling "median"; there are last, mean, max, min'),
        ((["a"], "0.c", "last", "opneai"), 'no cleaning "opneai"'),
    ],
)
def test_what_cannot_be_encoded_is_named(arguments, words):
    with pytest.raises(InputError, match=words):
        MODEL.encode(*arguments)


@pytest.mark.parametrize("shape", [(8, 1), (2, 4)])
def test_eight_devices_find_the_features_of_one(shape):
    texts = texts_of([0, 1, 700, 3, 128, *range(5, 70)])
    mesh = devices.mesh(*shape)
    for name in pooling.POOLINGS:
        found = MODEL.encode(texts, SITES, name, mesh=mesh)
        np.testing.assert_allclose(found, MODEL.encode(texts, SITES, name), atol=1e-6)
    compiled = encoding._window._cache_size()
    MODEL.encode(texts, SITES, "max", mesh=devices.mesh(*shape))
    assert encoding._window._cache_size() == compiled


def test_streams_that_a_mesh_does_not_divide_are_filled_and_units_are_refused():
    texts = texts_of([5, 300, 17, 40])
    found = MODEL.encode(texts, streams=3, mesh=devices.mesh(8, 1))
    np.testing.assert_allclose(found, MODEL.encode(texts, streams=3), atol=1e-6)
    with pytest.raises(InputError, match="3 devices of the mesh's model do not divide 8 units"):
        MODEL.encode(["a"], mesh=devices.mesh(1, 3))
