import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model
from mlstm.training.finetuning import Examples


@pytest.fixture(scope="session")
def model() -> Model:
    config = ModelConfig(embedding=4, hidden=16)
    return Model(config, language_model.init_parameters(config, jax.random.key(0)), Bytes())


@pytest.fixture(scope="session")
def planted():
    """`planted(count, seed)`: texts of random letters; the label says whether there is a "q"."""

    def make(count: int, seed: int) -> Examples:
        draw = np.random.default_rng(seed)
        texts, labels = [], np.arange(count) % 2
        for label in labels:
            letters = draw.choice(list(b"abcdefgh "), draw.integers(20, 60)).astype(np.uint8)
            if label:
                letters[draw.integers(len(letters))] = ord("q")
            texts.append(letters.tobytes())
        return Examples(texts, labels)

    return make
