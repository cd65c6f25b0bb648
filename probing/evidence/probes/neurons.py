"""A logistic probe for every neuron and concept, all at once: Newton's method in two unknowns."""

# N rows, H neurons, K concepts

from __future__ import annotations

import warnings
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from mlstm.errors import InputError
from probing.evidence.probes.linear import deviations, validated

BLOCK = 1 << 21
"""Rows x neurons worked on together: 8 MB of float32."""


class SingleNeuronProbes(BaseEstimator):
    """For each neuron and concept the minimum of C sum(log loss) + a²/2 over a and b.

    The log odds are a x + b, x the neuron in standard deviations about its mean: scikit-learn's
    LogisticRegression on that one feature. The weak penalty keeps a separable concept finite.
    `coef_` and `intercept_` (K, H) are in the units of X, `coef_standard_` in those of x.
    """

    def __init__(self, C: float = 1.0, tol: float = 1e-5, max_iter: int = 100):
        self.C = C
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """X: (N, H). y: (N, K) bool, a column for each concept; or (N,) classes, of which each
        is a concept (of two the second). InputError for a concept that all or no rows have."""
        if not self.C > 0:
            raise InputError(f"C is {self.C}; it is above 0")
        X, y = validated(self, X, y, multi_output=True)
        if y.ndim == 1:
            check_classification_targets(y)
            self.concepts_ = np.unique(y)
            if len(self.concepts_) < 2:
                raise InputError(
                    f"the labels have one class, {y.tolist()[0]!r}; at least 2 are needed"
                )
            self.concepts_ = self.concepts_[1 if len(self.concepts_) == 2 else 0 :]
        else:
            self.concepts_ = np.arange(y.shape[1])
        y = self._targets(y)
        same = (y == y[:1]).all(0)
        if same.any():
            concept = self.concepts_[same.argmax()]
            raise InputError(f"concept {concept}: all rows have it or none; a probe needs both")
        mean, self.scale_ = deviations(X)
        width = max(1, BLOCK // len(X))
        parts = []
        for start in range(0, X.shape[1], width):
            here = slice(start, start + width)
            x_HN = ((X[:, here] - mean[here]) / self.scale_[here]).T.astype(np.float32)
            parts.append(_fit(x_HN, y.T.astype(np.float32), self.C, self.tol, self.max_iter))
        slope, offset = (
            np.concatenate([np.asarray(part[i], np.float64) for part in parts], 1) for i in (0, 1)
        )
        self.n_iter_ = max(int(part[2]) for part in parts)
        if not all(bool(part[3]) for part in parts):
            warnings.warn(
                f"a probe of a neuron has not converged in {self.n_iter_} steps (max_iter)",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_standard_ = slope
        self.coef_ = slope / self.scale_
        self.intercept_ = offset - self.coef_ * mean
        return self

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """(N, K) bool"""
        return y[:, None] == self.concepts_ if y.ndim == 1 else y > 0

    def balanced_accuracy(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(K, H): of each probe, mean of the shares of rows with and without the concept that it
        tells rightly; NaN where `y`, as given to `fit`, lacks one of them."""
        check_is_fitted(self)
        X, y = validated(self, X, y, multi_output=True, reset=False)
        target = self._targets(y)
        told = np.empty(self.coef_.shape)
        for k, (coef, intercept) in enumerate(zip(self.coef_, self.intercept_, strict=True)):
            positive = X * coef + intercept > 0
            parts = (positive[target[:, k]], ~positive[~target[:, k]])
            shares = [part.mean(0) if len(part) else np.full(len(coef), np.nan) for part in parts]
            told[k] = (shares[0] + shares[1]) / 2
        return told


class _State(NamedTuple):
    w: jax.Array  # (2, H): slope and offset
    d: jax.Array  # (2, H): Newton's direction at w
    descent: jax.Array  # (H,): slope of the objective along d at w, negative
    t: jax.Array  # (H,): how far along d is tried next
    step: jax.Array


@jax.jit
def _fit(x_HN, y_KN, C, tol, max_iter):
    """Slope and offset (K, H), the most steps of any concept, and whether all converged."""

    def derivatives(w, y_N):
        p_HN = jax.nn.sigmoid(w[0][:, None] * x_HN + w[1][:, None])
        r_HN, v_HN = p_HN - y_N, p_HN * (1 - p_HN)
        vx_HN = v_HN * x_HN
        g = jnp.stack([C * (r_HN * x_HN).sum(1) + w[0], C * r_HN.sum(1)])
        aa, ab, bb = C * (vx_HN * x_HN).sum(1) + 1, C * vx_HN.sum(1), C * v_HN.sum(1)
        # Both are positive, but for what rounding leaves where all rows are told with certainty.
        bb = jnp.maximum(bb, 1e-6)
        determinant = jnp.maximum(aa * bb - ab * ab, 1e-6 * bb)
        d = -jnp.stack([bb * g[0] - ab * g[1], aa * g[1] - ab * g[0]]) / determinant
        return g, d

    def one(y_N):
        def advance(s: _State) -> _State:
            w = s.w + s.t * s.d
            g, d = derivatives(w, y_N)
            # Convex: as long as the objective is not steeper behind the new point than it was
            # before the old one, halved, Newton's step was not too long.
            good = (g * s.d).sum(0) <= -0.5 * s.descent
            return _State(
                jnp.where(good, w, s.w),
                jnp.where(good, d, s.d),
                jnp.where(good, (g * d).sum(0), s.descent),
                jnp.where(good, 1.0, s.t / 2),
                s.step + 1,
            )

        def near(s: _State):
            return jnp.abs(s.t * s.d).max(0) <= tol * (1 + jnp.abs(s.w).max(0))

        def going(s: _State):
            return (s.step < max_iter) & ~near(s).all()

        share = y_N.mean()
        w = jnp.zeros((2, len(x_HN))).at[1].set(jnp.log(share / (1 - share)))
        g, d = derivatives(w, y_N)
        start = _State(w, d, (g * d).sum(0), jnp.ones(len(x_HN)), jnp.int32(0))
        end = jax.lax.while_loop(going, advance, start)
        return end.w[0], end.w[1], end.step, near(end).all()

    slope, offset, steps, converged = jax.lax.map(one, y_KN)
    return slope, offset, steps.max(), converged.all()
