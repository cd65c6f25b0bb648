"""The logistic probe: L1, L2 or both, with scikit-learn for small data and JAX for large."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from threadpoolctl import threadpool_limits

from mlstm.errors import InputError
from probing.evidence.probes import proximal
from probing.evidence.probes.linear import (
    LinearProbe,
    check_training,
    deviations,
    probabilities,
)

LARGE = 10_000_000
"""Rows x features x classes above which solver="auto" is JAX: there it is the faster even on a CPU
for several classes."""
SOLVERS = ("auto", "sklearn", "jax")
RADFORD_GRID = tuple(2.0**power for power in range(-8, 1))
"""The inverse strengths that Radford et al. 2017 chose from."""
TIGHTER = 0.1  # of tol: scikit-learn's solvers end nearer to the optimum at the same tol
INTERCEPT_SCALING = 1000  # liblinear penalises the intercept: so much less than a coefficient


class LogisticProbe(LinearProbe):
    """Logistic regression on states; softmax where there are more than two classes.

    The minimum of C sum(log loss) + l1_ratio |w| + (1 - l1_ratio)/2 |w|², the intercept free,
    w in standard deviations of each feature if `standardize`. `coef_` is in the units of X.
    """

    def __init__(
        self,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        class_weight: Literal["balanced"] | dict | None = None,
        standardize: bool = True,
        solver: Literal["auto", "sklearn", "jax"] = "auto",
        random_state: int | None = 0,
        tol: float = 1e-4,
        max_iter: int = 5000,
    ):
        self.C = C
        self.l1_ratio = l1_ratio
        self.class_weight = class_weight
        self.standardize = standardize
        self.solver = solver
        self.random_state = random_state
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: np.ndarray, y: np.ndarray) -> LogisticProbe:
        """X: (N, H) states, y: (N,) classes. ConvergenceWarning where max_iter was too few."""
        if self.solver not in SOLVERS:
            raise InputError(f"no solver {self.solver!r}: there are {', '.join(SOLVERS)}")
        if not self.C > 0 or not 0 <= self.l1_ratio <= 1:
            raise InputError(
                f"C is {self.C} and l1_ratio {self.l1_ratio}: C is above 0, l1_ratio from 0 to 1"
            )
        X, self.classes_, places = check_training(self, X, y)
        mean, self.scale_ = deviations(X)
        in_jax = self.solver == "jax" or (
            self.solver == "auto" and X.size * len(self.classes_) > LARGE
        )
        dtype = np.float32 if in_jax else np.float64
        if self.standardize:
            X = ((X - mean) / self.scale_).astype(dtype)
        coef, intercept = (self._jax if in_jax else self._sklearn)(X.astype(dtype), places)
        if self.standardize:
            coef = coef / self.scale_
            intercept = intercept - coef @ mean
        self.coef_, self.intercept_ = coef, intercept
        return self

    def _sklearn(self, X: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        solver = "saga"
        if self.l1_ratio == 0:
            solver = "lbfgs"
        elif self.l1_ratio == 1 and len(self.classes_) == 2:
            solver = "liblinear"
        weights = dict(enumerate(self._class_weights(places)))
        estimator = LogisticRegression(
            C=self.C,
            l1_ratio=self.l1_ratio,
            class_weight=weights,
            solver=solver,
            tol=self.tol,
            max_iter=self.max_iter,
            random_state=self.random_state,
            intercept_scaling=INTERCEPT_SCALING,
        )
        # L-BFGS calls BLAS on vectors so short that waking its threads takes longer than they do.
        with threadpool_limits(1, "blas"):
            model = estimator.fit(X, places)
        self.n_iter_ = int(np.max(model.n_iter_))
        return model.coef_, np.atleast_1d(model.intercept_)

    def _jax(self, X: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = self._class_weights(places)[places]
        strength = 1 / (self.C * weights.sum())
        found = proximal.solve(
            X,
            places,
            weights,
            len(self.classes_),
            self.l1_ratio * strength,
            (1 - self.l1_ratio) * strength,
            TIGHTER * self.tol,
            self.max_iter,
        )
        if not found.converged:
            warnings.warn(
                f"the probe has not converged in {found.steps} steps (max_iter)",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.n_iter_ = found.steps
        return found.coef, found.intercept

    def _class_weights(self, places: np.ndarray) -> np.ndarray:
        """(K,)"""
        return compute_class_weight(
            self.class_weight, classes=self.classes_, y=self.classes_[places]
        )

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """(N, K) in the order of `classes_`."""
        return probabilities(self.decision_function(X))


class Choice(NamedTuple):
    """The chosen probe, fitted on the train part, and what each C gave on the dev part."""

    probe: LogisticProbe
    C: float
    grid: tuple[float, ...]  # ascending
    accuracy: tuple[float, ...]  # on dev, for each of the grid


def choose_C(
    probe: LogisticProbe,
    train: tuple[np.ndarray, np.ndarray],
    dev: tuple[np.ndarray, np.ndarray],
    grid: Sequence[float] = RADFORD_GRID,
) -> Choice:
    """The C of the highest accuracy on dev, of equals the smallest. train, dev: (X, y)."""
    if not len(grid):
        raise InputError("the grid of C is empty; it needs at least one value above 0")
    ascending = tuple(sorted(grid))
    settings: Any = probe.get_params()
    fitted = [LogisticProbe(**settings | {"C": C}).fit(*train) for C in ascending]
    accuracy = tuple(float(each.score(*dev)) for each in fitted)
    best = int(np.argmax(accuracy))
    return Choice(fitted[best], ascending[best], ascending, accuracy)
