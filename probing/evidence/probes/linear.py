"""What every linear probe does once its coefficients are known."""

# N rows, H features (neurons), K classes; a probe of 2 classes has 1 row of coefficients

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from mlstm.errors import InputError


def linear_scores(X: np.ndarray, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """(N,) for two classes, else (N, K): how far each row lies on the side of each class."""
    scores = X @ coef.T + intercept
    return scores[:, 0] if len(coef) == 1 else scores


def probabilities(scores: np.ndarray) -> np.ndarray:
    """(N, K) from log odds (N,) of two classes or logits (N, K)."""
    if scores.ndim == 1:
        return np.stack([expit(-scores), expit(scores)], 1)
    return softmax(scores, 1)


def most_likely(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(N,) of the classes; for two the second where the score is above 0."""
    return classes[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]


def validated(estimator: BaseEstimator, X: Any, *y: Any, **settings: Any) -> Any:
    """X, or X and y, as scikit-learn checks them, X in float32 or float64."""
    return validate_data(estimator, X, *y, dtype=[np.float64, np.float32], **settings)


def check_training(
    estimator: BaseEstimator, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X as floats, the classes in order, and y as places (N,) in them. InputError for one class."""
    X, y = validated(estimator, X, y)
    check_classification_targets(y)
    classes, places = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"{type(estimator).__name__}: the labels have one class, {classes.tolist()[0]!r}; a "
            "probe needs at least 2 classes"
        )
    return X, classes, places


class Probe(ClassifierMixin, BaseEstimator):
    """A classifier whose log odds (N,) or logits (N, K) come from `_scores`."""

    classes_: np.ndarray

    def _scores(self, X: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """(N,) for two classes, positive for the second; else (N, K)."""
        check_is_fitted(self, "classes_")
        return self._scores(validated(self, X, reset=False))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(N,) of `classes_`."""
        return most_likely(self.decision_function(X), self.classes_)


class LinearProbe(Probe):
    """A probe with `coef_` (1 or K, H) and `intercept_` (1 or K,) in the units of X."""

    coef_: np.ndarray
    intercept_: np.ndarray
    scale_: np.ndarray  # (H,): standard deviation of each feature where the probe was fitted

    @property
    def coef_standard_(self) -> np.ndarray:
        """The coefficients of features in standard deviations: comparable between neurons."""
        return self.coef_ * self.scale_

    @property
    def n_nonzero_(self) -> int:
        """Features with a coefficient other than 0 for any class."""
        return int((self.coef_ != 0).any(0).sum())

    def _scores(self, X: np.ndarray) -> np.ndarray:
        return linear_scores(X, self.coef_, self.intercept_)


def deviations(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (H,) in float64; 1 for a feature that is constant to rounding."""
    mean = X.mean(0, dtype=np.float64)
    variance = X.var(0, dtype=np.float64)
    return mean, positive_scale(variance, variance + mean * mean)


def positive_scale(variance: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Standard deviations (H,); 1 where the variance is rounding beside the mean square (H,)."""
    constant = variance <= 1e-12 * square
    return np.sqrt(np.where(constant, 1.0, variance))
