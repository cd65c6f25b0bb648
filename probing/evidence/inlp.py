"""INLP (Ravfogel et al. 2020): a probe is fitted, its weights projected away, and so again.

What is left of the states has no direction that one of the probes used. It takes more of them away
than LEACE does for the same end, and is beside it because it is what was published first.
"""

# N rows, H units, K rank of what is erased

from __future__ import annotations

import dataclasses

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score

from mlstm.errors import InputError, check_one
from mlstm.model import sites
from mlstm.trained import Model
from probing.evidence.erasure import Eraser, columns_of
from probing.evidence.probes.linear import deviations
from probing.evidence.probes.logistic import LogisticProbe
from probing.states import rows as sampled_rows
from probing.tasks.cleaned import for_model
from probing.tasks.keeping import keeping
from probing.tasks.labelled import LabelledData

MARGIN = 0.01  # over chance: where it ends
ROWS = 10_000  # of each split, at most


def inlp(
    x: np.ndarray,
    y: np.ndarray,
    *,
    held: tuple[np.ndarray, np.ndarray] | None = None,
    iterations: int | None = None,
    margin: float = MARGIN,
    C: float = 1.0,
) -> Eraser:
    """Project away the weights of one probe after the other.

    Args:
      x, y: (N, H) states and (N,) labels: bool, names of classes, or numbers.
      held: other rows, on which a probe is judged; x and y themselves if None, where a probe of
        few rows never falls to chance.
      iterations: how many probes; None goes on until one tells less than `margin` over chance, or
        nothing is left of the states.
      C: of the probes of classes, the inverse strength of the penalty.

    InputError for a concept that has one value, or iterations below 1.
    """
    if iterations is not None and iterations < 1:
        raise InputError(f"{iterations} iterations of INLP; it takes 1 or more")
    y = np.asarray(y)
    x, columns = columns_of(x, y)
    is_class = y.dtype.kind != "f"
    if y.ndim != 1:
        raise InputError("INLP erases one concept at a time: its labels are (N,)")
    if not np.ptp(columns, 0).any():
        raise InputError("the concept has one value at all positions: there is nothing to erase")
    test, labels = (x, y) if held is None else (np.asarray(held[0], float), np.asarray(held[1]))
    chance = 1 / len(np.unique(y)) if is_class else 0.0
    mean, hidden = x.mean(0), x.shape[1]
    basis, told = np.zeros((hidden, 0)), []
    while basis.shape[1] < hidden and (iterations is None or len(told) < iterations):
        left, left_of_test = (part - (part - mean) @ basis @ basis.T for part in (x, test))
        score, weights = _told(left, y, left_of_test, labels, is_class, C)
        told.append(score)
        if iterations is None and score < chance + margin:
            break
        more = _orthonormal(np.concatenate([basis, weights.T], 1), basis.shape[1])
        if more.shape[1] == basis.shape[1]:
            break
        basis = more
    return Eraser("INLP", mean, basis, -basis.T, rows=len(x), told=tuple(told))


def fit_inlp(
    model: Model,
    data: LabelledData,
    site: str | None = None,
    concept: str | None = None,
    *,
    iterations: int | None = None,
    rows: int = ROWS,
    seed: int = 0,
) -> Eraser:
    """INLP of a concept of the data: probes of train positions, judged on those of dev.

    rows: positions of each split, at most, drawn by the seed. site: the primary one if None.
    InputError for an unknown site or concept, or one that has one value there.
    """
    check_one(model)
    data = for_model(model, data)
    name = str(sites.check_site(model.config, site or sites.primary(model.config)))
    data = keeping(data.one(concept))
    parts = sampled_rows.states(model, data, name, sampled_rows.choose(data, rows, seed))
    train, dev = parts["train"], parts["dev"]
    held = (dev.x, dev.y) if len(np.unique(dev.y)) > 1 else None
    found = inlp(train.x, train.y, held=held, iterations=iterations)
    return dataclasses.replace(found, site=name, concepts=data.concepts)


def _told(x, y, test, labels, is_class: bool, C: float) -> tuple[float, np.ndarray]:
    """What it tells of the held rows, and its weights (rows, H) for raw states."""
    if is_class:
        probe = LogisticProbe(C, class_weight="balanced").fit(x, y)
        return float(balanced_accuracy_score(labels, probe.predict(test))), probe.coef_
    mean, scale = deviations(x)
    fit = Ridge(1.0).fit((x - mean) / scale, y)
    return float(r2_score(labels, fit.predict((test - mean) / scale))), fit.coef_[None] / scale


def _orthonormal(columns: np.ndarray, first: int) -> np.ndarray:
    """The first columns, which are orthonormal, and what the others add to them."""
    basis = columns[:, :first]
    for column in columns[:, first:].T:
        size = np.linalg.norm(column)
        for _ in range(2):  # once more, for what the first leaves of rounding
            column = column - basis @ (basis.T @ column)
        rest = np.linalg.norm(column)
        if rest > 1e-9 * size:
            basis = np.concatenate([basis, column[:, None] / rest], 1)
    return basis
