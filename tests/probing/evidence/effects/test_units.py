"""What reads a unit, by the shape of its model."""

import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.model.sites import check_neuron
from mlstm.trained import Model
from probing.evidence.effects import readers, units

SMALL = {"embedding": 5, "hidden": 6, "layers": 2}


def model(**fields) -> Model:
    config = ModelConfig(**SMALL | fields).check()
    parameters = language_model.init_parameters(config, jax.random.key(0))
    return Model(config, jax.tree.map(np.asarray, parameters), Bytes())


@pytest.mark.parametrize(
    ("fields", "below", "last"),
    [
        ({}, [6, 24], [256]),
        ({"residual": True}, [6, 24, 256], [256]),
        ({"readout": "none"}, [6, 24], []),
        ({"cell": "gru", "residual": True, "layers": 3}, [18, 18, 256], [18, 256]),
    ],
)
def test_what_reads_h_above_its_layer(fields, below, last):
    of = model(**fields)
    for layer, wanted in ((0, below), (1, last)):
        found = units.upward_readers(of, layer)
        assert [w.shape for w in found] == [(6, n) for n in wanted]


@pytest.mark.parametrize(
    ("cell", "state", "names"),
    [
        ("multiplicative_lstm", "h", ["wmh"]),
        ("multiplicative_lstm", "m", ["wh"]),
        ("gru", "h", ["wh"]),
        ("gru_reset_before", "h", ["wh", "whn"]),
        ("rnn", "h", ["wh"]),
    ],
)
def test_output_weight_is_that_of_all_that_reads_the_unit(cell, state, names):
    of = model(cell=cell, layers=1, weight_norm=False, readout="none")
    layer = of.parameters["layers"]["0"]
    wanted = sum((layer[name].reshape(6, -1).astype(float) ** 2).sum(1) for name in names)
    site = f"0.{state}"
    np.testing.assert_allclose(units.output_weight(of, site), np.sqrt(wanted), rtol=1e-6)


@pytest.mark.parametrize("residual", [False, True])
def test_the_readout_reads_a_lower_layer_where_layers_add_up(residual):
    of = model(cell="gru", residual=residual)
    found = readers.readout(of, check_neuron(of.config, "0.h[2]"), {}, 1.0)
    assert (found is not None) == residual


def test_of_a_c_that_zoneout_keeps_the_readout_tells_nothing():
    of = model(cell="lstm", layers=1, zoneout_cell=0.5)
    assert readers.readout(of, check_neuron(of.config, "0.c[2]"), {}, 1.0) is None
