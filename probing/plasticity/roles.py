"""Which neurons of a retrained model do what pruned ones did: matched by their activations."""

# R old neurons, P neurons of the new model

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

TAKEN = 0.5
"""|correlation| on held-out text from which on a role counts as taken."""


@dataclass(frozen=True)
class Role:
    """An old neuron, and the living one of the new model that is given to it."""

    old: str
    new: str
    correlation: float  # of the old one in the old model with the new one in the new model
    before: float  # of the two in the old model

    @property
    def taken(self) -> bool:
        return abs(self.correlation) >= TAKEN

    @property
    def newly(self) -> bool:
        """Taken by a neuron that did not do the same before."""
        return self.taken and abs(self.before) < TAKEN


def roles(
    names: Sequence[str], old: np.ndarray, alive: np.ndarray, now: np.ndarray, before: np.ndarray
) -> list[Role]:
    """One for each old neuron: the assignment of the largest total |correlation|, no living neuron
    to two.

    names: (P,) of the neurons. old: (R,) places of the old ones. alive: (P,) bool, of the new
    model. now: (P, P) correlations of the old model's neurons (rows) with those of the new one;
    before: with the old one's own.
    """
    living = np.flatnonzero(alive)
    rows, columns = linear_sum_assignment(-np.abs(now[np.ix_(old, living)]))
    return [
        Role(names[int(a)], names[int(b)], float(now[a, b]), float(before[a, b]))
        for a, b in zip(old[rows], living[columns], strict=True)
    ]
