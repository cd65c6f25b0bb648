import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm import evaluation
from mlstm.corpus.shards import open_source
from mlstm.corpus.stream import Stream
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model, scoring
from mlstm.model.config import ModelConfig
from mlstm.trained import Model

CONFIG = ModelConfig(embedding=8, hidden=16)
TEXT = bytes(np.random.default_rng(0).choice(list(b"abc \n"), 3000).astype(np.uint8))


@pytest.fixture(scope="module")
def parameters():
    parameters = language_model.init_parameters(CONFIG, jax.random.key(0))
    parameters["readout"]["w"] *= 10
    return parameters


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return split_of(TEXT, tmp_path_factory.mktemp("text"))


def split_of(data: bytes, folder):
    (folder / "text.txt").write_bytes(data)
    return open_source(folder / "text.txt", splits=(1, 0, 0)).split("train")


def nats_of(parameters, *texts: bytes) -> np.ndarray:
    """(T, B): of each byte but the first, each text read in one piece from the zero state."""
    if min(map(len, texts), default=0) < 2:
        return np.zeros(0)
    ids = jnp.asarray([list(text) for text in texts], jnp.int32).T
    state = language_model.initial_state(CONFIG, len(texts))
    hidden = language_model.forward(CONFIG, parameters, ids[:-1], state).hidden
    nats = language_model.negative_log_likelihood(CONFIG, parameters, hidden, ids[1:])
    return np.asarray(nats, np.float64)


def test_state_is_carried_through_all_windows(parameters, split):
    score = scoring.bits_per_byte(CONFIG, parameters, Stream(split, 1, 37, context=8))
    assert score.bytes == len(TEXT) - 1
    assert score.nats == pytest.approx(nats_of(parameters, TEXT).sum(), rel=1e-5)


def test_parallel_streams_come_near_one_stream(parameters, split):
    score = scoring.bits_per_byte(CONFIG, parameters, Stream(split, 7, 50, context=200))
    assert score.bytes == len(TEXT) - 1
    assert score.nats == pytest.approx(nats_of(parameters, TEXT).sum(), rel=1e-3)


def test_a_model_that_knows_nothing_needs_8_bits(split):
    blank = jax.tree.map(jnp.zeros_like, language_model.init_parameters(CONFIG, jax.random.key(0)))
    score = scoring.bits_per_byte(CONFIG, blank, Stream(split, 4, 64, context=16))
    assert score.bits_per_byte == pytest.approx(8, rel=1e-5)
    assert score.nats_per_byte == pytest.approx(math.log(256), rel=1e-5)


@pytest.mark.parametrize("every", [1, 64, 5000])
def test_reset_every_scores_blocks_that_know_nothing_of_each_other(parameters, split, every):
    score = evaluation.evaluate(Model(CONFIG, parameters, Bytes()), split, reset_every=every)
    whole = (len(TEXT) - 1) // every * every
    blocks = [TEXT[at : at + every + 1] for at in range(0, whole, every)]
    expected = sum(nats_of(parameters, *side).sum() for side in (blocks, [TEXT[whole:]]) if side)
    assert score.bytes == len(TEXT) - 1
    assert score.nats == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("length", [2, 129, 4097])
def test_every_byte_but_the_first_counts_once(parameters, tmp_path, length):
    model = Model(CONFIG, parameters, Bytes())
    split = split_of((TEXT * 2)[:length], tmp_path)
    assert evaluation.evaluate(model, split).bytes == length - 1
    assert evaluation.evaluate(model, split, reset_every=100).bytes == length - 1


def test_an_edit_changes_the_score(parameters, split):
    model = Model(CONFIG, parameters, Bytes())
    plain = evaluation.evaluate(model, split)
    edited = evaluation.evaluate(model, split, edits=["0.c[3]=5"])
    assert abs(edited.bits_per_byte - plain.bits_per_byte) > 1e-3


def test_a_list_of_models_is_refused(parameters, split):
    with pytest.raises(InputError, match="one model is needed, not a list of 2"):
        evaluation.evaluate([Model(CONFIG, parameters, Bytes())] * 2, split)


def test_a_text_of_one_byte_is_refused(parameters, tmp_path):
    with pytest.raises(InputError, match="at least 2"):
        evaluation.evaluate(Model(CONFIG, parameters, Bytes()), split_of(b"x", tmp_path))
