"""Probes of k neurons: how many does a concept need (Gurnee et al. 2023)?"""

# N rows, H features, K classes

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from mlstm.errors import InputError
from probing.evidence.probes.linear import (
    LinearProbe,
    check_training,
    deviations,
    probabilities,
)
from probing.evidence.probes.logistic import LogisticProbe
from probing.evidence.probes.sums import one_hot

PATH = tuple(2.0**power for power in range(-14, 5))
"""Inverse strengths of L1, from few neurons to many."""


class SparseProbe(LinearProbe):
    """A logistic probe with L2 on the k neurons that tell the classes best.

    They are chosen on the rows that the probe is fitted on. By "mean_difference": the largest
    distance of a class's mean from that of the other classes, in standard deviations. By "l1":
    along a path of weaker and weaker L1, the k largest standardised coefficients of the first
    probe with k or more.
    """

    def __init__(
        self,
        k: int = 1,
        choose: Literal["mean_difference", "l1"] = "mean_difference",
        C: float = 1.0,
        class_weight: Literal["balanced"] | dict | None = None,
        random_state: int | None = 0,
    ):
        self.k = k
        self.choose = choose
        self.C = C
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """X: (N, H), y: (N,) classes. `neurons_` are the chosen ones, best first."""
        if self.choose not in ("mean_difference", "l1"):
            raise InputError(f"choose is {self.choose!r}; it is mean_difference or l1")
        if self.k < 1:
            raise InputError(f"k is {self.k}; a probe needs at least 1 neuron")
        X, self.classes_, places = check_training(self, X, y)
        score = self._mean_difference(X, places) if self.choose != "l1" else self._l1(X, places)
        order = np.argsort(-score, kind="stable")
        self.neurons_ = order[: min(self.k, X.shape[1])]
        _, self.scale_ = deviations(X)
        probe = self._probe(C=self.C).fit(X[:, self.neurons_], self.classes_[places])
        self.coef_ = np.zeros((len(probe.coef_), X.shape[1]))
        self.coef_[:, self.neurons_] = probe.coef_
        self.intercept_ = probe.intercept_
        return self

    def _probe(self, **settings) -> LogisticProbe:
        probe = LogisticProbe(**settings)
        return probe.set_params(class_weight=self.class_weight, random_state=self.random_state)

    def _mean_difference(self, X: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(H,)"""
        hot = one_hot(places, len(self.classes_))
        count = hot.sum(0)
        mean, scale = deviations(X)
        sums = (X - mean).T @ hot  # (H, K), over all classes 0
        apart = np.abs(sums / count + sums / (len(X) - count))
        return apart.max(1) / scale

    def _l1(self, X: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(H,)"""
        score = np.zeros(X.shape[1])
        for C in PATH:
            probe = self._probe(C=C, l1_ratio=1.0).fit(X, self.classes_[places])
            score = np.abs(probe.coef_standard_).max(0)
            if probe.n_nonzero_ >= self.k:
                break
        return score

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """(N, K) in the order of `classes_`."""
        return probabilities(self.decision_function(X))


class SparsePoint(NamedTuple):
    """One point of a curve over k."""

    k: int
    neurons: tuple[int, ...]  # best first
    accuracy: float
    balanced_accuracy: float


def sparse_curve(
    probe: SparseProbe,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    ks: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
) -> list[SparsePoint]:
    """What k neurons reach on `test`, for each k up to the number there are. Parts: (X, y)."""
    settings: Any = probe.get_params()
    points = []
    for k in sorted({min(k, train[0].shape[1]) for k in ks}):
        fitted = SparseProbe(**settings | {"k": k}).fit(*train)
        predicted = fitted.predict(test[0])
        points.append(
            SparsePoint(
                k,
                tuple(int(neuron) for neuron in fitted.neurons_),
                float((predicted == test[1]).mean()),
                float(balanced_accuracy_score(test[1], predicted)),
            )
        )
    return points
