"""Minimum description length of labels given states: the online code (Voita & Titov 2020)."""

# N rows, K classes

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from mlstm.errors import InputError
from probing.evidence.probes.linear import check_training, validated
from probing.evidence.probes.logistic import LogisticProbe

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Where the blocks end, as shares of the rows."""


class MDLProbe(ClassifierMixin, BaseEstimator):
    """How many bits the labels cost when each block is coded by a probe of those before it.

    The first block costs log2 K bits a label. After n rows a probe's probabilities p become
    (n p + 1) / (n + K), one row of each class on trust, so that a class not seen yet can be coded.
    The probe fitted on all rows, `probe_`, predicts.
    """

    def __init__(
        self,
        probe: BaseEstimator | None = None,
        fractions: Sequence[float] = FRACTIONS,
        random_state: int | None = 0,
    ):
        self.probe = probe
        self.fractions = fractions
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """X: (N, H), y: (N,) classes. Rows are coded in an order drawn from `random_state`; rows
        of one of the `groups` (N,), such as documents, stay together and in one block.

        `bits_` of all labels, `bits_per_label_`, `compression_` (bits of the uniform code over
        bits), `ends_` (B,) of the blocks in rows and `block_bits_` (B,).
        """
        ends = np.asarray(self.fractions, float)
        if not len(ends) or ends[-1] != 1 or (np.diff(ends, prepend=0) <= 0).any():
            raise InputError(f"fractions are {list(ends)}; they ascend from above 0 to 1")
        X, self.classes_, places = check_training(self, X, y)
        units = np.arange(len(X)) if groups is None else np.unique(groups, return_inverse=True)[1]
        check_consistent_length(X, units)
        shuffled = check_random_state(self.random_state).permutation(int(units.max()) + 1)
        order = np.argsort(shuffled[units], kind="stable")
        X, places, ranks = X[order], places[order], shuffled[units][order]
        wanted = np.maximum(1, np.round(ends * len(X))).astype(int)
        # A group that an end falls into is left whole before it.
        self.ends_ = np.unique(np.searchsorted(ranks, ranks[wanted - 1], side="right"))
        bits = [self.ends_[0] * np.log2(len(self.classes_))]
        for start, end in zip(self.ends_[:-1], self.ends_[1:], strict=True):
            share = self._probabilities(X[:start], places[:start], X[start:end])
            bits.append(-np.log2(share[np.arange(end - start), places[start:end]]).sum())
        self.block_bits_ = np.array(bits)
        self.bits_ = float(self.block_bits_.sum())
        self.bits_per_label_ = self.bits_ / len(X)
        self.compression_ = float(np.log2(len(self.classes_)) / self.bits_per_label_)
        self.probe_ = self._probe().fit(X, self.classes_[places])
        return self

    def _probe(self) -> Any:
        return LogisticProbe() if self.probe is None else clone(self.probe)

    def _probabilities(self, X: np.ndarray, places: np.ndarray, new: np.ndarray) -> np.ndarray:
        """(rows of new, K) from a probe of the rows before."""
        n, classes = len(X), len(self.classes_)
        told = np.zeros((len(new), classes))
        seen = np.unique(places)
        told[:, seen] = 1.0 if len(seen) == 1 else self._probe().fit(X, places).predict_proba(new)
        return (n * told + 1) / (n + classes)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(N,) of `classes_`."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(1)]

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """(N, K) in the order of `classes_`."""
        check_is_fitted(self)
        X = validated(self, X, reset=False)
        return self.probe_.predict_proba(X)
