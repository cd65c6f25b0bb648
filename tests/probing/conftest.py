from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.loading import Model
from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig
from probing.tasks import LabelledData, LabelledDocument, every_byte, stored

PLANTED = 5
GATES = "ifou"  # as they lie in the parameters


def hand_built(
    hidden: int,
    marks: Sequence[bytes],
    units: Mapping[int, Mapping[str, Sequence[float]]],
    *,
    embedding: int = 4,
    origin: str = "planted",
) -> Model:
    """An LSTM with random parameters in which some units are written by hand.

    marks: sets of bytes; the k-th column of the embedding says whether a byte is in the k-th.
    units: of each the gates "i", "f", "o" and "u" before their nonlinearity: a bias, then the
        weight of each mark; what is left out is 0. "own": the weight of the unit's h in u.
    """
    config = ModelConfig(cell="lstm", hidden=hidden, embedding=embedding, weight_norm=False)
    parameters = jax.tree.map(np.array, language_model.init_parameters(config, jax.random.key(1)))
    layer = parameters["layers"]["0"]
    for k, mark in enumerate(marks):
        parameters["embedding"][:, k] = np.isin(np.arange(256), np.frombuffer(mark, np.uint8))
    for unit, gates in units.items():
        for name in ("wx", "wh", "b"):
            layer[name][..., unit] = 0
        for nth, name in enumerate(GATES):
            bias, *weights = gates.get(name, [0])
            layer["b"][nth, unit] = bias
            layer["wx"][: len(weights), nth, unit] = weights
        layer["wh"][unit, GATES.index("u"), unit] = gates.get("own", [0])[0]
    return Model(config, parameters, Bytes(), origin=origin)


@pytest.fixture(scope="session")
def build() -> Callable[..., Model]:
    """`hand_built`, for tests that plant units of their own."""
    return hand_built


@pytest.fixture(scope="session")
def planted() -> Model:
    """An LSTM of 16 units whose unit 5 of c is 1 after a digit and -1 after any other byte."""
    unit = {"i": [20], "f": [-20], "u": [-10, 20]}
    return hand_built(16, [b"0123456789"], {PLANTED: unit})


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
