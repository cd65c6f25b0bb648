"""Whole texts pooled on the way: the same features as the packed streams give."""

import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.model import language_model, whole_texts
from mlstm.model.config import ModelConfig
from mlstm.model.pooling import POOLINGS
from mlstm.model.whole_texts import What
from mlstm.trained import Model


@pytest.fixture(scope="module", params=["multiplicative_lstm", "lstm"])
def model(request):
    config = ModelConfig(cell=request.param, embedding=4, hidden=6, layers=2)
    return Model(config, language_model.init_parameters(config, jax.random.key(1)), Bytes())


def test_features_are_those_that_encode_gives(model):
    draw = np.random.default_rng(0)
    texts = [draw.bytes(n) for n in (0, 1, 5, 127, 128, 129, 300, 70)]
    names = ("0.c", "1.h", "1.f")
    ids = [model.vocabulary.encode(text) for text in texts]
    found = whole_texts.pooled(model.config, model.parameters, ids, What(names, POOLINGS))
    wanted = [model.encode(texts, names, pooling) for pooling in POOLINGS]
    np.testing.assert_allclose(found, np.concatenate(wanted, 1), rtol=1e-5, atol=1e-6)


def test_texts_that_are_laid_out_end_together():
    laid = whole_texts.lay([np.array([7, 8]), np.array([], np.int32), np.array([9])], 3, 4)
    assert laid.mask.T.tolist() == [
        [False, True, True],
        [False, False, False],
        [False, False, True],
        [False, False, False],
    ]
    assert laid.ids[-2:, 0].tolist() == [7, 8]
    assert laid.ids[-1, 2] == 9
