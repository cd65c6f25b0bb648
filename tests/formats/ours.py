"""What our own model computes of a file that was read, for comparison with the original's."""

import jax
import numpy as np

from mlstm.formats.found import Found
from mlstm.model import language_model


def logits_of(found: Found, ids_TB: np.ndarray) -> np.ndarray:
    """(T, B, V) logits from the zero state."""
    return np.asarray(language_model.logits(found.parameters, _run(found, ids_TB).hidden))


def states_of(found: Found, ids_TB: np.ndarray, *sites: str) -> list[np.ndarray]:
    """(T, B, H) of each site, as "0.h"."""
    emitted = _run(found, ids_TB, sites).emitted
    return [np.asarray(emitted[site]) for site in sites]


def _run(found: Found, ids_TB: np.ndarray, sites: tuple[str, ...] = ()):
    with jax.default_matmul_precision("highest"):
        return language_model.forward(
            found.config,
            found.parameters,
            np.asarray(ids_TB, np.int32),
            language_model.initial_state(found.config, ids_TB.shape[1]),
            emit=sites,
        )
