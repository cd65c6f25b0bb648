import dataclasses

import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import encoding, language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model
from probing.evidence.matching import correlations, match_neurons

UNITS = 12


@pytest.fixture(scope="module")
def model() -> Model:
    config = ModelConfig(cell="lstm", hidden=UNITS, embedding=4, weight_norm=False)
    parameters = language_model.init_parameters(config, jax.random.key(1))
    return Model(config, jax.tree.map(np.array, parameters), Bytes())


@pytest.fixture(scope="module")
def texts() -> list[bytes]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, size).astype(np.uint8).tobytes() for size in (300, 0, 150)]


def shuffled(model: Model, order: np.ndarray) -> Model:
    """The same function with its units in another order."""
    layer = {
        name: w[..., order] if name != "wh" else w[order][..., order]
        for name, w in model.parameters["layers"]["0"].items()
    }
    readout = dict(model.parameters["readout"], w=model.parameters["readout"]["w"][order])
    return dataclasses.replace(
        model, parameters=model.parameters | {"layers": {"0": layer}, "readout": readout}
    )


def test_units_in_another_order_are_all_found_again(model, texts):
    order = np.random.default_rng(1).permutation(UNITS)
    found = match_neurons(model, shuffled(model, order), texts, "0.c")
    np.testing.assert_array_equal(order[found.others], found.units)
    np.testing.assert_allclose(found.correlations, 1, atol=1e-5)
    unit, r = found.partner(int(order[3]))
    assert (unit, r) == (3, pytest.approx(1, abs=1e-5))


def test_correlations_equal_numpys_on_gathered_states(model, texts):
    other = dataclasses.replace(
        model, parameters=language_model.init_parameters(model.config, jax.random.key(2))
    )
    states = []
    for one in (model, other):
        rows = []
        for text in texts:
            if text:
                windows = encoding.stream_states(
                    one.config, one.parameters, [Bytes().encode(text)], ("0.h",), streams=1
                )
                rows += [np.asarray(w.states["0.h"])[w.text >= 0] for w in windows]
        states.append(np.concatenate(rows))
    expected = np.corrcoef(states[0].T, states[1].T)[:UNITS, UNITS:]
    np.testing.assert_allclose(correlations(model, other, texts, "0.h"), expected, atol=1e-5)


def test_texts_without_bytes_are_refused(model):
    with pytest.raises(InputError, match="fewer than two bytes"):
        correlations(model, model, [b""], "0.c")
