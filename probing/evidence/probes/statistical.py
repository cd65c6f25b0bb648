"""Probes in closed form: ridge, linear discriminant, diagonal Gaussian. From data or from sums."""

# N rows, F folds, H features, K classes

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Self

import numpy as np
import scipy.linalg
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from mlstm.errors import InputError
from probing.evidence.probes.linear import (
    LinearProbe,
    Probe,
    check_training,
    positive_scale,
    probabilities,
)
from probing.evidence.probes.sums import FoldSums, one_hot


class RidgeProbe(LinearProbe):
    """Least squares on +1 and -1 with an L2 penalty: minimises |t - Xw - b|² + alpha |w|².

    w is in standard deviations of each feature, b is free. alpha has the smallest squared error
    over folds left out one after another; of equals the largest.
    """

    def __init__(
        self,
        alphas: Sequence[float] = tuple(10.0**power for power in range(-2, 7)),
        folds: int = 5,
        random_state: int | None = 0,
    ):
        self.alphas = alphas
        self.folds = folds
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """X: (N, H), y: (N,) classes, groups: (N,) documents, which folds keep whole."""
        X, classes, places = check_training(self, X, y)
        units = np.arange(len(X)) if groups is None else np.unique(groups, return_inverse=True)[1]
        check_consistent_length(X, units)
        count = min(self.folds, int(units.max()) + 1)
        shuffled = check_random_state(self.random_state).permutation(int(units.max()) + 1)
        folds = shuffled[units] % count
        # Squares about the mean lose less to rounding than those about 0.
        origin = X.mean(0, dtype=np.float64)
        sums = FoldSums.of(X - origin, one_hot(places, len(classes)), folds, count)
        self.fit_sums(sums, classes)
        self.intercept_ = self.intercept_ - self.coef_ @ origin
        return self

    def fit_sums(self, sums: FoldSums, classes: Sequence | np.ndarray) -> Self:
        """As `fit` from sums of the same rows, whose targets are the classes, one-hot (F, ..., K).

        InputError where there is one fold and several alphas to choose from.
        """
        alphas = np.sort(np.asarray(self.alphas, float))
        if not len(alphas) or alphas[0] <= 0:
            raise InputError(f"alphas are {list(alphas)}; they are one or more numbers above 0")
        classes = check_classes(sums, classes)
        if sums.folds < 2 and len(alphas) > 1:
            raise InputError(
                "alpha is chosen over folds; the sums have one fold, at least 2 needed"
            )
        if len(alphas) > 1:
            errors = np.zeros(len(alphas))
            for fold in range(sums.folds):
                weights, intercept, _ = _ridge(sums.without(fold), alphas)
                errors += _squared_error(sums.only(fold), weights, intercept)
            self.errors_ = errors / sums.n.sum()  # (alphas,): mean squared error, ascending alphas
            alphas = alphas[[len(alphas) - 1 - int(np.argmin(errors[::-1]))]]
        weights, intercept, self.scale_ = _ridge(sums.all(), alphas)
        first = 1 if len(classes) == 2 else 0
        self.alpha_ = float(alphas[0])
        self.coef_, self.intercept_ = weights[0].T[first:], intercept[0][first:]
        self.classes_ = classes
        self.n_features_in_ = self.coef_.shape[1]
        return self


class LDAProbe(LinearProbe):
    """Linear discriminant: Gaussians with the classes' means and one covariance S of all.

    S is (1 - shrinkage) S + shrinkage mean(diag S) I (Ledoit & Wolf 2004), classes have their
    frequencies as priors; as scikit-learn's LinearDiscriminantAnalysis with solver="lsqr".
    """

    def __init__(self, shrinkage: float = 1e-3):
        self.shrinkage = shrinkage

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """X: (N, H), y: (N,) classes."""
        X, classes, places = check_training(self, X, y)
        origin, zeros = X.mean(0, dtype=np.float64), np.zeros(len(X), int)
        sums = FoldSums.of(X - origin, one_hot(places, len(classes)), zeros, 1)
        self.fit_sums(sums, classes)
        self.intercept_ = self.intercept_ - self.coef_ @ origin
        return self

    def fit_sums(self, sums: FoldSums, classes: Sequence | np.ndarray) -> Self:
        """As `fit` from sums over the same rows, whose targets are the classes, one-hot."""
        if not 0 <= self.shrinkage <= 1:
            raise InputError(f"shrinkage is {self.shrinkage}; it is from 0 to 1")
        classes = check_classes(sums, classes)
        total = sums.all()
        n, count = total.n[0], total.y[0]
        means_HK = total.xy[0] / count
        within = (_gram(total) - (means_HK * count) @ means_HK.T) / n
        H = len(within)
        spread = within.trace() / H
        within *= 1 - self.shrinkage
        within[np.diag_indices(H)] += self.shrinkage * spread
        self.scale_ = _deviations(total)
        solved = _solved(within, means_HK)
        coef = (np.linalg.lstsq(within, means_HK)[0] if solved is None else solved).T
        intercept = np.log(count / n) - 0.5 * (coef * means_HK.T).sum(1)
        if len(classes) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        else:  # What is the same for all classes depends on where the features' zero is.
            coef, intercept = coef - coef.mean(0), intercept - intercept.mean()
        self.coef_, self.intercept_, self.classes_ = coef, intercept, classes
        self.n_features_in_ = H
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """(N, K) in the order of `classes_`."""
        return probabilities(self.decision_function(X))


class GaussianProbe(Probe):
    """A Gaussian for each class and feature, features independent (naive Bayes).

    `smoothing` times the largest variance is added to all, as scikit-learn's GaussianNB does.
    """

    def __init__(self, smoothing: float = 1e-9):
        self.smoothing = smoothing

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """X: (N, H), y: (N,) classes."""
        X, classes, places = check_training(self, X, y)
        origin, zeros = X.mean(0, dtype=np.float64), np.zeros(len(X), int)
        hot = one_hot(places, len(classes))
        self.fit_sums(FoldSums.of(X - origin, hot, zeros, 1, gram=False), classes)
        self.means_ = self.means_ + origin
        return self

    def fit_sums(self, sums: FoldSums, classes: Sequence | np.ndarray) -> Self:
        """As `fit` from sums over the same rows, whose targets are the classes, one-hot."""
        classes = check_classes(sums, classes)
        total = sums.all()
        n, count = total.n[0], total.y[0]
        self.means_ = (total.xy[0] / count).T  # (K, H)
        variances = np.maximum((total.xxy[0] / count).T - self.means_**2, 0)
        largest = (_deviations(total, constant=0.0) ** 2).max()
        self.variances_ = variances + self.smoothing * largest  # (K, H)
        if (self.variances_ <= 0).any():
            self.variances_ = np.maximum(self.variances_, np.finfo(float).tiny)
        self.priors_ = count / n  # (K,)
        self.classes_ = classes
        self.n_features_in_ = self.means_.shape[1]
        return self

    def _scores(self, X: np.ndarray) -> np.ndarray:
        logits = np.stack(
            [
                np.log(prior) - 0.5 * (np.log(2 * np.pi * v) + (X - mean) ** 2 / v).sum(1)
                for prior, mean, v in zip(self.priors_, self.means_, self.variances_, strict=True)
            ],
            1,
        )
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """(N, K) in the order of `classes_`."""
        return probabilities(self.decision_function(X))


def check_classes(sums: FoldSums, classes: Sequence | np.ndarray) -> np.ndarray:
    """The names of the sums' targets. InputError unless there is one, and a row, for each."""
    classes = np.asarray(classes)
    if len(classes) != sums.y.shape[1] or len(classes) < 2:
        raise InputError(
            f"{len(classes)} classes for sums over {sums.y.shape[1]}; the same number, at least 2"
        )
    counts = sums.y.sum(0)
    if (counts < 0.5).any() or abs(counts.sum() - sums.n.sum()) > 0.5:
        raise InputError(
            f"the sums have {[round(c) for c in counts]} rows of the classes and "
            f"{round(sums.n.sum())} in all; each row has one class, each class a row"
        )
    return classes


def _deviations(total: FoldSums, constant: float = 1.0) -> np.ndarray:
    """(H,) of sums over one fold; `constant` where a feature does not vary."""
    mean, square = total.x[0] / total.n[0], total.xxy[0].sum(1) / total.n[0]
    variance = square - mean**2
    return np.where(variance <= 1e-12 * square, constant, positive_scale(variance, square))


def _gram(total: FoldSums) -> np.ndarray:
    """(H, H) of sums over one fold. InputError where they were taken without it."""
    if total.xx is None:
        raise InputError("these sums have no X'X; ridge and LDA need it")
    return total.xx[0]


def _solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """By Cholesky, several times as fast as by eigenvalues; None where that cannot be trusted."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", scipy.linalg.LinAlgWarning)
        try:
            return scipy.linalg.solve(matrix, right, assume_a="pos")
        except (scipy.linalg.LinAlgError, scipy.linalg.LinAlgWarning):
            return None


def _ridge(total: FoldSums, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """w (A, H, K), b (A, K) for targets +1 and -1, in units of X, and the deviations (H,)."""
    n, mean = total.n[0], total.x[0] / total.n[0]
    targets = 2 * total.y[0] / n - 1  # their means
    scale = _deviations(total)
    gram = (_gram(total) - n * np.outer(mean, mean)) / np.outer(scale, scale)
    moment = 2 * (total.xy[0] - np.outer(mean, total.y[0])) / scale[:, None]
    if len(alphas) == 1:
        solved = _solved(gram + alphas[0] * np.eye(len(gram)), moment)
        if solved is not None:
            weights = (solved / scale[:, None])[None]
            return weights, targets - mean @ weights, scale
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ moment
    shrunk = rotated / (np.maximum(values, 0)[:, None] + alphas[:, None, None])
    weights = (vectors @ shrunk) / scale[:, None]
    return weights, targets - mean @ weights, scale


def _squared_error(fold: FoldSums, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """(A,): sum over the fold's rows and targets of (t - xw - b)², t = 2y - 1."""
    n, x, xx = fold.n[0], fold.x[0], _gram(fold)
    t, tt = 2 * fold.y[0] - n, 4 * fold.yy[0] - 4 * fold.y[0] + n
    xt = 2 * fold.xy[0] - x[:, None]
    quadratic = (weights * (xx @ weights)).sum(1)
    cross = (weights * xt).sum(1)
    return (
        tt
        - 2 * cross
        - 2 * intercept * t
        + quadratic
        + 2 * intercept * (x @ weights)
        + n * intercept**2
    ).sum(1)
