"""The classifier of the published protocols: logistic regression with an L1 penalty."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression


def fit_l1(X: np.ndarray, y: np.ndarray, C: float, seed: int) -> LogisticRegression:
    """By liblinear on features (N, H) as they are, the intercept penalised with the weights; where
    it stops after its number of iterations, so did the published programs."""
    probe = LogisticRegression(C=C, l1_ratio=1.0, solver="liblinear", random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return probe.fit(X, y)
