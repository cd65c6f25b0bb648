"""What an accuracy of the sentiment protocol is compared with, on the same test documents.

The published protocol has none of this. A surface model reads n-grams and the length of a text;
the twin has random weights and goes through the whole protocol as the model did, to its single
neuron; the most frequent label reads nothing.
"""

# N test documents

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from probing.evidence.claims import Interval
from probing.evidence.intervals import jackknife_lead, jackknife_mean


@dataclass(frozen=True)
class Comparison:
    """A reading of the states, beside what is known without them or without training."""

    what: str  # "all neurons", or the neuron
    test: float  # its accuracy
    beside: dict[str, float]  # of each baseline
    lead: Interval
    """Over the best of them, which is chosen anew without each document: jackknife, paired."""

    @property
    def best(self) -> str:
        """The baseline of the highest accuracy."""
        return max(self.beside, key=lambda name: self.beside[name])

    @property
    def leads(self) -> bool:
        return self.lead.lower > 0

    def __str__(self) -> str:
        said = f"{self.what}: {self.test:.4f} against {self.beside[self.best]:.4f} of {self.best}"
        verdict = (
            "more than any baseline"
            if self.leads
            else "explained by a baseline: nothing is shown that the model has learned"
        )
        return f"{said}, lead {self.lead}: {verdict}"


def compare(
    what: str, right: np.ndarray, beside: Mapping[str, np.ndarray], groups: np.ndarray
) -> Comparison:
    """right: (N,) bool, whether it told each test document rightly, and the same of each baseline;
    groups (N,): documents of one group are left out together."""
    own = jackknife_mean(right, groups)
    others = {name: jackknife_mean(each, groups) for name, each in beside.items()}
    lead = jackknife_lead(own, *others.values())
    return Comparison(
        what,
        own.value,
        {name: other.value for name, other in others.items()},
        Interval(lead.value, lead.lower, lead.upper),
    )
