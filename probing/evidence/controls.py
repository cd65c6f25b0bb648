"""What a score is compared with. A figure without its control says little."""

from __future__ import annotations

import dataclasses

import jax

from mlstm.loading import Model
from mlstm.model import language_model


def random_twin(model: Model, seed: int = 0) -> Model:
    """The same architecture with fresh random parameters, never trained.

    What its best neuron reaches is what the bytes and the recurrence give away by themselves: a
    trained neuron that does no better has not learned the concept.
    """
    parameters = language_model.init_parameters(model.config, jax.random.key(seed))
    return dataclasses.replace(
        model, parameters=parameters, origin=f"random twin of {model.origin}, seed {seed}"
    )
