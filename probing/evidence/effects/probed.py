"""A linear probe of the concept, fitted on unedited states of train documents."""

# H units

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.trained import Model
from probing.evidence.effects.marked import Marked, told
from probing.evidence.probes import LogisticProbe
from probing.states import rows as sampled_rows

ROWS = 10_000  # of train, at most
BYTES = 1 << 19  # of the documents that are read for them


@dataclass(frozen=True, eq=False)
class Probed:
    """A probe of all units of a site: is the label on?"""

    site: str
    weights: np.ndarray  # (H,) float32, of raw states
    offset: float

    def tells(self, states: jax.Array) -> np.ndarray:
        """(..., H) to (...): above 0 where it says that the label is on."""
        return np.asarray(_tells(states, self.weights, self.offset))


@jax.jit
def _tells(states, weights, offset):
    return jnp.matmul(states, weights, precision="highest") + offset


def probe_of(model: Model, marked: Marked, site: str, seed: int = 0) -> Probed | None:
    """Logistic regression, both sides weighed equally; None where train has one side only."""
    places, left = {}, BYTES
    every = sampled_rows.choose(marked.data, ROWS, seed)["train"]
    for i in sorted(every, key=lambda i: marked.data.hashes[i]):
        left -= len(marked.data.documents[i].data)
        if left < 0 and places:
            break
        places[i] = every[i]
    y = told(sampled_rows.targets(marked.data, places), marked.level)
    if len(np.unique(y)) < 2:
        return None
    (part,) = sampled_rows.states(model, marked.data, site, {"train": places}).values()
    fit = LogisticProbe(class_weight="balanced").fit(part.x, y)
    return Probed(site, fit.coef_[0].astype(np.float32), float(fit.intercept_[0]))
