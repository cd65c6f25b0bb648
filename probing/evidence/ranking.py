"""Orders of neurons by how much they tell of a concept, each from plain arrays.

A ranking is not a probe: one that is good for the other's choice need not be good for itself
(Antverg and Belinkov 2022), so several are compared by `overlap`. Every score is two-sided: a
neuron that is low in the concept tells as much as one that is high. No array given is changed.
"""

# N positions in the order of the text (M held out), H neurons, K classes

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata

from mlstm.errors import InputError

CELLS = 1 << 24  # of held-out rows x neurons x classes at a time: 128 MiB


@dataclass(frozen=True)
class Ranking:
    """Neurons from the one that tells most to the one that tells least."""

    name: str
    order: np.ndarray  # (H,) places of neurons; equal ones by place, undefined ones last
    scores: np.ndarray  # (H,) of each neuron by its place, higher tells more

    @staticmethod
    def of(name: str, scores: np.ndarray) -> Ranking:
        scores = np.asarray(scores, np.float64)
        return Ranking(name, np.argsort(-scores, kind="stable"), scores)  # NaN sorts last


def overlap(a: Ranking, b: Ranking, k: int) -> float:
    """The share of the first k neurons of one that are among the first k of the other.

    By chance it is k / H. InputError unless both are of the same neurons and have k.
    """
    if len(a.order) != len(b.order) or not 1 <= k <= len(a.order):
        raise InputError(
            f"overlap of the first {k} of {len(a.order)} and of {len(b.order)} neurons; both "
            "rankings are of the same neurons, and k is from 1 to their number"
        )
    return len(np.intersect1d(a.order[:k], b.order[:k])) / k


def probe_weights(coef: np.ndarray, scale: np.ndarray) -> Ranking:
    """By the weights (K, H) or (H,) of a linear probe, times the deviations (H,) of its inputs.

    The mean over classes of a neuron's share of the absolute weight. `scale` is 1 for a probe of
    standardised inputs; without it a neuron of small range would lead by its large weight.
    """
    weights = np.abs(np.atleast_2d(coef) * scale)
    total = weights.sum(1, keepdims=True)
    return Ranking.of("probe weights", (weights / np.where(total > 0, total, 1)).mean(0))


def probeless(means: np.ndarray, deviation: np.ndarray | None = None) -> Ranking:
    """By the sum over pairs of classes of |difference of means| (Antverg and Belinkov 2022).

    means: (K, H), the mean of each class. deviation: (H,), of each neuron, to divide by: without
    it, as published, neurons of large range lead.
    """
    K = len(means)
    if K < 2:
        raise InputError(f"probeless ranks by differences of classes' means; {K} given, not 2")
    # Sorted, the i-th of K means is the larger of i pairs and the smaller of K - 1 - i.
    sides = 2 * np.arange(K) - (K - 1)
    scores = sides @ np.sort(np.asarray(means, np.float64), axis=0)
    if deviation is None:
        return Ranking.of("probeless", scores)
    return Ranking.of(
        "probeless, standardised",
        np.where(deviation > 0, scores, 0) / np.where(deviation > 0, deviation, 1),
    )


def auc(values: np.ndarray, on: np.ndarray) -> Ranking:
    """By |AUC - 1/2| of the values (N, H) for a class (N,) bool; ties count half."""
    on = _both(values, on)
    n_on = np.count_nonzero(on)
    ranks = rankdata(values, axis=0)[on].sum(0)
    area = (ranks - n_on * (n_on + 1) / 2) / (n_on * (len(on) - n_on))
    return Ranking.of("AUC", np.abs(area - 0.5))


def iou(values: np.ndarray, on: np.ndarray) -> Ranking:
    """By the intersection over union of a class (N,) bool and the extreme values (N, H).

    As many values as there are positions of the class are taken, the highest or the lowest of the
    neuron, whichever agree more (Na et al. 2019 take the highest alone, of a fixed share). Of
    values equal at the threshold each counts by the chance that it is among those taken.
    """
    on = _both(values, on)
    high, low = _iou_of_highest(values, on), _iou_of_highest(-np.asarray(values, float), on)
    return Ranking.of("IoU", np.maximum(high, low))


def _iou_of_highest(values: np.ndarray, on: np.ndarray) -> np.ndarray:
    taken = np.count_nonzero(on)
    threshold = np.partition(values, len(on) - taken, axis=0)[len(on) - taken]
    above, tied = values > threshold, values == threshold
    chance = (taken - above.sum(0)) / tied.sum(0)
    shared = above[on].sum(0) + chance * tied[on].sum(0)
    return shared / (2 * taken - shared)


def relevance(values: np.ndarray, on: np.ndarray, document: np.ndarray) -> Ranking:
    """By how neurons stand out at a feature: prominence plus difference of means, over the largest.

    r_j = mean_on |2 a_t - a_(t-1) - a_(t+1)| + |mean_on a - mean_off a|, r / max r, of values
    (N, H) at every byte, a class (N,) bool, and the document (N,) of each byte: the first and last
    byte of a document have no prominence. After johndah/Visualization-of-Recurrent-Neural-Networks
    (KTH, 2019), which adds the two terms of different neurons.
    """
    on = _both(values, on)
    values = np.asarray(values, np.float64)
    inner = (document[1:-1] == document[:-2]) & (document[1:-1] == document[2:]) & on[1:-1]
    bend = np.abs(2 * values[1:-1] - values[:-2] - values[2:])
    prominence = bend[inner].mean(0) if inner.any() else np.zeros(values.shape[1])
    scores = prominence + np.abs(values[on].mean(0) - values[~on].mean(0))
    return Ranking.of("relevance", scores / (scores.max() or 1.0))


def spectral_peak(values: np.ndarray, low: float, high: float) -> Ranking:
    """By the largest amplitude of values (N, H) at frequencies from low to high, in cycles a step.

    The single-sided spectrum 2 |FFT| / N: a sine in it has its amplitude. 0 and 1/2 have no
    negative twin and are not doubled. InputError where no k / N is in the band.
    """
    N = len(values)
    frequency = np.fft.rfftfreq(N)
    band = (frequency >= low) & (frequency <= high)
    if not band.any():
        raise InputError(
            f"no frequency of {N} steps is from {low} to {high}; they are multiples of 1/{N} up to "
            "1/2"
        )
    amplitude = np.abs(np.fft.rfft(values, axis=0)[band]) / N
    doubled = (frequency[band] > 0) & (frequency[band] < 0.5)
    return Ranking.of("spectral peak", (amplitude * np.where(doubled, 2, 1)[:, None]).max(0))


def _both(values: np.ndarray, on: np.ndarray) -> np.ndarray:
    on = np.asarray(on, bool)
    if len(on) != len(values) or on.all() or not on.any():
        raise InputError(
            f"{np.count_nonzero(on)} of {len(on)} positions are of the class, values of "
            f"{len(values)}; one for each, and some that are of the class and some that are not"
        )
    return on


def gaussian(
    values: np.ndarray,
    classes: np.ndarray,
    held_values: np.ndarray,
    held_classes: np.ndarray,
    count: int,
) -> Ranking:
    """Greedy selection by a Gaussian for each class (Torroba Hennigen et al. 2020): added is the
    neuron that raises most the log likelihood of held-out classes. On the rows fitted to, any does.

    values (N, H), classes (N,) to fit; held_values (M, H), held_classes (M,) to score. A Gaussian
    has its class's means and covariance, off-diagonals times n / (n + count) for its n rows; class
    priors are frequencies. Scores are gains in bits a held-out row, each in the step that decided
    on the neuron: `order` has the `count` selected as they came, then the rest by their scores.

    InputError where a class has fewer than two rows to fit, or a held-out row another class.
    """
    names, places, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    held_places = np.searchsorted(names, held_classes).clip(max=len(names) - 1)
    H = values.shape[1]
    if len(names) < 2 or sizes.min() < 2 or not len(held_classes) or not 1 <= count <= H:
        raise InputError(
            f"{count} of {H} neurons for {len(names)} classes of {sizes.min()} or more rows, "
            f"{len(held_classes)} held out; at least 2 classes of 2 rows, and 1 row held out"
        )
    if (unknown := names[held_places] != held_classes).any():
        raise InputError(f"held-out class {held_classes[unknown][0]!r} has no row to fit")
    parts = [_Class(values[places == k], held_values, count) for k in range(len(names))]
    joint = np.log(sizes / sizes.sum()) * np.ones((len(held_values), 1))  # (M, K)
    before = _likelihood(joint[:, None], held_places)[0]
    order: list[int] = []
    scores = np.full(H, np.nan)
    for _ in range(count):
        after = np.concatenate(
            [
                _likelihood(
                    joint[:, None] + np.stack([part.log_density(cut) for part in parts], -1),
                    held_places,
                )
                for cut in _cuts(H, max(1, CELLS // joint.size))
            ]
        )
        gain = after - before
        gain[order] = -np.inf
        best = int(np.argmax(gain))
        scores = np.where(np.isin(np.arange(H), order), scores, gain)
        joint = joint + np.stack(
            [part.log_density(slice(best, best + 1))[:, 0] for part in parts], -1
        )
        before = after[best]
        order.append(best)
        for part in parts:
            part.add(best)
    rest = np.argsort(np.where(np.isin(np.arange(H), order), np.inf, -scores), kind="stable")
    return Ranking("Gaussian, greedy", np.append(order, rest[: H - count]).astype(int), scores)


class _Class:
    """One class's Gaussian: of every neuron given those selected, by Gram-Schmidt.

    Both the covariances and the held-out rows have what the selected neurons tell taken away, so
    that a step is one row of the covariance and no matrix is inverted.
    """

    def __init__(self, values: np.ndarray, held: np.ndarray, count: int):
        mean = values.mean(0, dtype=np.float64)
        self.values, self.mean = values - mean, mean
        self.shrunk = len(values) / (len(values) + count)
        variance = self.values.var(0)
        self.floor = 1e-6 * variance + max(1e-9 * variance.max(), np.finfo(float).tiny)
        self.variance = np.maximum(variance, self.floor)
        self.residual = held - mean  # (M, H)
        self.rows: list[np.ndarray] = []  # (H,) each: of a Cholesky factor, for the selected

    def log_density(self, cut: slice) -> np.ndarray:
        """(M, neurons of the cut): of each neuron given those selected."""
        variance = self.variance[cut]
        return -0.5 * (self.residual[:, cut] ** 2 / variance + np.log(2 * np.pi * variance))

    def add(self, neuron: int) -> None:
        covariance = self.shrunk * (self.values[:, neuron] @ self.values) / len(self.values)
        covariance[neuron] = self.values[:, neuron].var()
        covariance -= sum(row[neuron] * row for row in self.rows)
        row = covariance / np.sqrt(self.variance[neuron])
        step = self.residual[:, neuron] / np.sqrt(self.variance[neuron])
        self.residual = self.residual - np.outer(step, row)
        self.variance = np.maximum(self.variance - row**2, self.floor)
        self.rows.append(row)


def _likelihood(joint: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Mean log2 p(class | values), of log joint densities (M, neurons, K): (neurons,)."""
    own = np.take_along_axis(joint, places[:, None, None], -1)[..., 0]
    return (own - logsumexp(joint, axis=-1)).mean(0) / np.log(2)


def _cuts(size: int, each: int) -> list[slice]:
    return [slice(start, min(size, start + each)) for start in range(0, size, each)]
