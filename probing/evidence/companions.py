"""What stands beside a neuron or a direction: probes of its site, control labels, other rankings,
another basis.

All from the same seeded sample of positions: fitted on train, penalties chosen on dev, scored on
test. A class is told with balanced accuracy (chance 1/2, both classes weighed equally), a number
with R² (chance 0).
"""

# N rows, H units

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score

from probing.evidence import intervals, ranking
from probing.evidence.controls import rotation
from probing.evidence.probes.linear import deviations
from probing.evidence.probes.logistic import LogisticProbe
from probing.evidence.probes.mdl import MDLProbe
from probing.evidence.probes.sparse import SparseProbe, sparse_curve
from probing.evidence.ranking import Ranking
from probing.evidence.subjects import OneNeuron, Subject
from probing.states.arrays import Arrays

CS = (0.001, 0.01, 0.1, 1.0)
ALPHAS = (1e5, 1e3, 10.0, 0.1)
UNJUDGED = (0, 0, 1, 0)  # which of them is taken where dev cannot choose
KS = (1, 2, 4, 8, 16, 32, 64)
HELD = 2000  # rows of dev, at most, that the greedy Gaussian is scored on
NAN = float("nan")

Parts = dict[str, Arrays]  # of train, dev and test
Figures = dict[str, float]


def beside(parts: Parts, subject: Subject, is_class: bool) -> dict[str, Figures]:
    """The full probe, the neuron (or the direction) alone, the best other neuron, and k neurons;
    for a class the online code. `share` is its gain over chance by the full probe's, NaN unless
    the full probe's 95% interval lies above chance. Empty where train or test has one value."""
    if not told(parts):
        return {}
    full = full_probe(parts, is_class)
    alone = one_value(parts, subject, is_class)
    order = np.argsort(-strength(parts["train"], is_class), kind="stable")
    other = int(next((u for u in order if u != subject.unit), order[0]))
    score, chance = ("balanced accuracy", 0.5) if is_class else ("R2", 0.0)
    gain = full[score] - chance
    share = (alone - chance) / gain if full["lower"] > chance and gain > 0 else NAN
    of_other = one_value(parts, OneNeuron(subject.site, other), is_class)
    found = {
        "all neurons": full,
        kind(subject): {score: alone, "share": share},
        "best neuron" if subject.unit is None else "other": {score: of_other, "unit": other},
        "k neurons": k_neurons(parts, is_class, order),
    }
    if is_class:
        found["code"] = code(parts, full["C"])
    return found


def kind(subject: Subject) -> str:
    return "direction" if subject.unit is None else "one neuron"


def told(parts: Parts) -> bool:
    """Whether train and test have more than one value of the label."""
    return all(len(np.unique(parts[split].y)) > 1 for split in ("train", "test"))


def full_probe(parts: Parts, is_class: bool) -> Figures:
    """A probe of all neurons: its score on test, the AUC (or r) of its value with the interval."""
    test = parts["test"]
    fit, strength_of, standard = _fit(parts, is_class)
    if is_class:
        values = fit.decision_function(test.x)
        auc = intervals.jackknife_auc(values, test.y, test.groups)
        score = {"balanced accuracy": balanced(values > 0, test.y), "C": strength_of}
        return score | {"AUC": auc.value, "lower": auc.lower, "upper": auc.upper}
    values = fit.predict(standard(test.x))
    r = intervals.jackknife_correlation(values, test.y, test.groups)
    score = {"R2": float(r2_score(test.y, values)), "alpha": strength_of, "r": r.value}
    return score | {"lower": r.lower, "upper": r.upper}


def probe_direction(parts: Parts, is_class: bool) -> np.ndarray | None:
    """(H,) weights of the full probe, for raw states, higher in the concept. None where train has
    one value of the label."""
    if len(np.unique(parts["train"].y)) < 2:
        return None
    fit, _, _ = _fit(parts, is_class)
    weights = fit.coef_[0] if is_class else fit.coef_ / deviations(parts["train"].x)[1]
    return weights if weights.any() else None


def _fit(parts: Parts, is_class: bool) -> tuple[Any, float, Callable[[np.ndarray], np.ndarray]]:
    """A probe fitted on train, its strength (C, or alpha) chosen on dev, and what states are made
    into before it reads them."""
    train, dev = parts["train"], parts["dev"]
    use_dev = len(np.unique(dev.y)) > 1
    mean, scale = (0.0, 1.0) if is_class else deviations(train.x)

    def standard(x: np.ndarray) -> np.ndarray:
        return (x - mean) / scale

    if is_class:
        fits = [LogisticProbe(C, class_weight="balanced").fit(train.x, train.y) for C in CS]
        judged = [balanced(f.predict(dev.x), dev.y) for f in fits] if use_dev else UNJUDGED
    else:
        fits = [Ridge(alpha).fit(standard(train.x), train.y) for alpha in ALPHAS]
        judged = (
            [r2_score(dev.y, f.predict(standard(dev.x))) for f in fits] if use_dev else UNJUDGED
        )
    best = int(np.argmax(judged))
    return fits[best], (CS if is_class else ALPHAS)[best], standard


def one_value(parts: Parts, subject: Subject, is_class: bool) -> float:
    """The test score of a threshold on one value, or of a line through it, chosen on train."""
    train, test = parts["train"], parts["test"]
    x, held = subject.of(train.x).astype(float), subject.of(test.x).astype(float)
    if is_class:
        threshold, direction = best_threshold(x, train.y)
        return balanced(direction * (held - threshold) > 0, test.y)
    if not x.std() > 0:
        return float(r2_score(test.y, np.full(len(held), train.y.mean())))
    slope, offset = np.polyfit(x, train.y, 1)
    return float(r2_score(test.y, slope * held + offset))


def best_threshold(values: np.ndarray, on: np.ndarray) -> tuple[float, int]:
    """The threshold and direction of the highest balanced accuracy; it parts no equal values."""
    order = np.argsort(values, kind="stable")
    x, y = values[order], on[order]
    lead = np.cumsum(~y) / np.count_nonzero(~y) - np.cumsum(y) / np.count_nonzero(y)
    cuts = np.flatnonzero(np.append(x[1:] != x[:-1], True))
    best = cuts[np.argmax(np.abs(lead[cuts]))]
    above = x[min(best + 1, len(x) - 1)]
    return float((x[best] + above) / 2), 1 if lead[best] >= 0 else -1


def balanced(predicted: np.ndarray, y: np.ndarray) -> float:
    return float(balanced_accuracy_score(y, predicted))


def k_neurons(parts: Parts, is_class: bool, order: np.ndarray) -> Figures:
    """The test score of k neurons, chosen and fitted on train, by k."""
    train, test = parts["train"], parts["test"]
    if is_class:
        probe = SparseProbe(class_weight="balanced")
        curve = sparse_curve(probe, (train.x, train.y), (test.x, test.y), KS)
        return {str(point.k): point.balanced_accuracy for point in curve}
    found = {}
    for k in sorted({min(k, len(order)) for k in KS}):
        fit = Ridge(1.0).fit(train.x[:, order[:k]], train.y)
        found[str(k)] = float(r2_score(test.y, fit.predict(test.x[:, order[:k]])))
    return found


def code(parts: Parts, C: float) -> Figures:
    """The online code of the train labels (Voita and Titov 2020), documents kept whole."""
    train = parts["train"]
    fitted = MDLProbe(LogisticProbe(C)).fit(train.x, train.y, train.groups)
    return {"bits per label": fitted.bits_per_label_, "compression": fitted.compression_}


def strength(train: Arrays, is_class: bool) -> np.ndarray:
    """(H,) how much each neuron tells, two-sided: |AUC - 1/2| or |r|; 0 of one that is constant."""
    if is_class:
        return ranking.auc(train.x, train.y).scores
    return np.abs(_correlations(train.x, train.y))


def _correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    mean, scale = deviations(x)
    standard = (y - y.mean()) / (y.std() or 1.0)
    return ((x - mean) / scale).T @ standard / len(y)


def control(
    parts: Parts, labels: dict[str, np.ndarray], is_class: bool, real: Figures | None = None
) -> Figures:
    """The same probes on control labels (Hewitt and Liang 2019) of the same rows; `selectivity` is
    the real score less the control's. Empty where either cannot be told.

    real: what `full_probe` gives of these parts, where it is at hand."""
    random = {split: part._replace(y=labels[split]) for split, part in parts.items()}
    if not (told(parts) and told(random)):
        return {}
    score = "balanced accuracy" if is_class else "R2"
    real, full = real or full_probe(parts, is_class), full_probe(random, is_class)
    one, other = (
        one_value(p, OneNeuron("", int(np.argmax(strength(p["train"], is_class)))), is_class)
        for p in (parts, random)
    )
    found = {
        "all neurons": full[score],
        "selectivity": real[score] - full[score],
        "best neuron": other,
        "its selectivity": one - other,
    }
    return found | (code(random, full["C"]) if is_class else {})


def ranks(parts: Parts, unit: int | None, is_class: bool) -> dict[str, Figures]:
    """Where the neuron stands in several rankings of train (1 is first), and the share of the first
    k that each pair has in common (by chance k / H). A direction has no place among neurons."""
    train, dev = parts["train"], parts["dev"]
    if not told(parts):
        return {}
    H = train.x.shape[1]
    k = min(10, H)
    mean, scale = deviations(train.x)
    if is_class:
        probe = LogisticProbe(class_weight="balanced").fit(train.x, train.y)
        means = np.stack([train.x[train.y == side].mean(0) for side in (False, True)])
        found = [
            ranking.probe_weights(probe.coef_, probe.scale_),
            ranking.probeless(means, scale),
            ranking.auc(train.x, train.y),
        ]
        enough = min(np.count_nonzero(train.y), np.count_nonzero(~train.y)) > 1
        if len(dev.y) and enough:
            held = slice(None, None, -(-len(dev.y) // HELD))  # evenly, of all documents
            found.append(ranking.gaussian(train.x, train.y, dev.x[held], dev.y[held], k))
    else:
        standard = (train.x - mean) / scale
        rank = rankdata(train.x, axis=0)
        found = [
            ranking.probe_weights(Ridge(10.0).fit(standard, train.y).coef_, np.ones(H)),
            Ranking.of("Pearson", np.abs(_correlations(train.x, train.y))),
            Ranking.of("Spearman", np.abs(_correlations(rank, rankdata(train.y)))),
        ]
    shared = {f"{a.name} / {b.name}": ranking.overlap(a, b, k) for a, b in combinations(found, 2)}
    in_common = {f"first {k} shared": shared | {"chance": k / H}}
    if unit is None:
        return in_common
    places: Figures = {r.name: int(np.flatnonzero(r.order == unit)[0]) + 1 for r in found}
    return {"place": places} | in_common


def rotated(parts: Parts, subject: Subject, is_class: bool, seed: int) -> Figures:
    """The best unit of a random rotation, chosen on train, beside the neuron (or the direction),
    both on test; `lead` is its score less the rotated unit's, with the paired interval."""
    if not told(parts):
        return {}
    turn = rotation(parts["train"].x.shape[1], seed)
    score = intervals.jackknife_auc if is_class else intervals.jackknife_correlation
    train, test = parts["train"], parts["test"]
    turned = train._replace(x=train.x @ turn)
    best = int(np.argmax(strength(turned, is_class)))

    def scored(x: np.ndarray, held: np.ndarray) -> intervals.Jackknife:
        sign = 1 if score(x, train.y, train.groups).value >= (0.5 if is_class else 0) else -1
        return score(sign * held, test.y, test.groups)

    own = scored(subject.of(train.x), subject.of(test.x))
    other = scored(turned.x[:, best], test.x @ turn[:, best])
    lead = intervals.jackknife_lead(own, other)
    name = "direction" if subject.unit is None else "neuron"
    return {name: own.value, "rotated": other.value, "lead": lead.value} | {
        "lower": lead.lower,
        "upper": lead.upper,
    }
