"""Which neurons of two models do the same: matched by correlation, one to one."""

# H units of one model, G of the other

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from mlstm.errors import InputError, check_one
from mlstm.model import encoding, sites
from mlstm.trained import Model
from probing.states.ids import read

WINDOW = 128


@dataclass(frozen=True)
class Matching:
    """The assignment of the largest total |correlation|, each neuron to at most one."""

    site: str
    units: np.ndarray  # (pairs,) of the first model, ascending
    others: np.ndarray  # (pairs,) of the second
    correlations: np.ndarray  # (pairs,) signed
    best: np.ndarray  # (H,) the largest |correlation| that each neuron has with any other

    def partner(self, unit: int) -> tuple[int, float]:
        """The other model's neuron for this one, and their correlation. KeyError without one."""
        place = int(np.searchsorted(self.units, unit))
        if place == len(self.units) or self.units[place] != unit:
            raise KeyError(unit)
        return int(self.others[place]), float(self.correlations[place])


def correlations(model: Model, other: Model, texts: Sequence[bytes], site: str) -> np.ndarray:
    """(H, G) Pearson correlations of the neurons of a site over all tokens of the texts.

    Both models read the same tokens, each text from the zero state; nothing is stored. A neuron
    that does not vary correlates with none: 0. InputError for models of other vocabularies, an
    unknown site, or texts without two tokens.
    """
    for one in (model, other):
        check_one(one)
        sites.check_site(one.config, site)
    if model.vocabulary != other.vocabulary:
        raise InputError("models of two vocabularies do not read a text in the same steps")
    ids = [read(model, text).ids for text in texts]
    streams = encoding.choose_streams([len(text) for text in ids], WINDOW)
    n, sums = 0, None
    both = [
        encoding.stream_states(
            one.config, one.parameters, ids, (site,), streams=streams, window=WINDOW
        )
        for one in (model, other)
    ]
    for a, b in zip(*both, strict=True):
        here = a.text >= 0
        x, y = (np.asarray(window.states[site])[here].astype(np.float64) for window in (a, b))
        parts = [x.sum(0), y.sum(0), (x * x).sum(0), (y * y).sum(0), x.T @ y]
        sums = parts if sums is None else [s + p for s, p in zip(sums, parts, strict=True)]
        n += len(x)
    if sums is None or n < 2:
        raise InputError("the texts have fewer than two bytes or tokens: nothing can be correlated")
    x, y, xx, yy, xy = sums
    covariance = xy / n - np.outer(x / n, y / n)
    variance = np.outer(xx / n - (x / n) ** 2, yy / n - (y / n) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = covariance / np.sqrt(np.maximum(variance, 0))
    return np.where(np.isfinite(r), r, 0.0).clip(-1, 1)


def match_neurons(model: Model, other: Model, texts: Sequence[bytes], site: str) -> Matching:
    """Match the neurons of a site of two models (Hungarian assignment; Li et al. 2016).

    Errors as `correlations`.
    """
    r = correlations(model, other, texts, site)
    units, others = linear_sum_assignment(-np.abs(r))
    return Matching(site, units, others, r[units, others], np.abs(r).max(1))
