import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.loading import Model
from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig
from probing.tasks import LabelledData, LabelledDocument, every_byte, stored

PLANTED = 5


@pytest.fixture(scope="session")
def planted() -> Model:
    """An LSTM of 16 units whose unit 5 of c is 1 after a digit and -1 after any other byte."""
    config = ModelConfig(cell="lstm", hidden=16, embedding=4, weight_norm=False)
    parameters = jax.tree.map(np.array, language_model.init_parameters(config, jax.random.key(1)))
    layer = parameters["layers"]["0"]
    digit = np.isin(np.arange(256), np.frombuffer(b"0123456789", np.uint8))
    parameters["embedding"][:, 0] = digit
    layer["wx"][:, :, PLANTED] = 0
    layer["wh"][:, :, PLANTED] = 0
    i, f, u = 0, 1, 3
    layer["b"][[i, f, u], PLANTED] = 20, -20, -10
    layer["wx"][0, u, PLANTED] = 20
    return Model(config, parameters, Bytes(), origin="planted")


@pytest.fixture(scope="session")
def digits() -> LabelledData:
    """Documents of random letters and digits; the labels: digit, a coin, place in the document."""
    draw = np.random.default_rng(0)
    documents = []
    for k in range(12):
        data = bytes(draw.choice(list(b"abcdefgh<&>\n0123"), size=100 + 60 * k).tolist())
        ids = np.frombuffer(data, np.uint8)
        digit = (ids >= ord("0")) & (ids <= ord("9"))
        coin = draw.random(len(data)) < 0.3
        documents.append(
            LabelledDocument(
                f"<doc {k}>",
                data,
                stored(
                    every_byte(
                        np.stack([digit, coin, np.zeros_like(coin)], 1),
                        np.arange(len(data))[:, None],
                    )
                ),
            )
        )
    return LabelledData(
        "digits",
        "drawn <b>text</b>",
        "byte",
        ("digit", "coin", "never"),
        ("place",),
        tuple(documents),
    )
