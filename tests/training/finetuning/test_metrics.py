"""Figures beside scikit-learn's, thresholds beside a search through all."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from mlstm.classifier import BINARY, EXCLUSIVE, SEVERAL, Labelling
from mlstm.training.finetuning import metrics
from mlstm.training.finetuning.metrics import best_threshold, measured


def one_hot(places, K):
    return places[:, None] == np.arange(K)


@pytest.mark.parametrize("K", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_scikit_learns(K, seed):
    draw = np.random.default_rng(seed)
    true = draw.integers(0, K, 80)
    told = np.where(draw.random(80) < 0.5, true, draw.integers(0, K, 80))
    labelling = Labelling(BINARY if K == 2 else EXCLUSIVE, tuple("abcdef"[:K]))
    found = measured(labelling, true, one_hot(told, K))
    assert found.accuracy.value == pytest.approx(accuracy_score(true, told))
    average = "binary" if K == 2 else "macro"
    assert found.f1.value == pytest.approx(f1_score(true, told, average=average))
    assert found.mcc.value == pytest.approx(matthews_corrcoef(true, told))


@pytest.mark.parametrize(
    ("true", "told"), [([0, 0, 0], [0, 0, 0]), ([0, 1, 1], [0, 0, 0]), ([0, 0], [1, 1])]
)
def test_figures_of_one_class_alone_are_finite(true, told):
    true, told = np.array(true), np.array(told)
    found = measured(Labelling(BINARY, ("a", "b")), true, one_hot(told, 2))
    assert found.f1.value == f1_score(true, told, zero_division=0)
    assert found.mcc.value == matthews_corrcoef(true, told)


def test_of_several_labels_those_that_are_not_known_do_not_count():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, (60, 2)).astype(float)
    told = draw.random((60, 2)) < 0.4
    labels[:20, 1] = np.nan
    found = measured(Labelling(SEVERAL, ("happy", "angry")), labels, told)
    happy = f1_score(labels[:, 0], told[:, 0])
    angry = f1_score(labels[20:, 1], told[20:, 1])
    assert found.labels is not None
    assert found.labels["happy"].f1.value == pytest.approx(happy)
    assert found.labels["angry"].f1.value == pytest.approx(angry)
    assert found.labels["angry"].texts == 40
    assert found.f1.value == pytest.approx((happy + angry) / 2)
    assert found.texts == 60


def test_the_interval_is_that_of_texts_drawn_again():
    draw = np.random.default_rng(0)
    true = draw.integers(0, 2, 150)
    told = np.where(draw.random(150) < 0.7, true, 1 - true)
    found = measured(Labelling(BINARY, ("a", "b")), true, one_hot(told, 2), draws=4000)
    drawn = draw.integers(0, 150, (4000, 150))
    for name, function in (("accuracy", accuracy_score), ("f1", f1_score)):
        values = [function(true[i], told[i]) for i in drawn[:1500]]
        low, high = np.quantile(values, [0.025, 0.975])
        figure = getattr(found, name)
        assert figure.lower == pytest.approx(low, abs=0.02)
        assert figure.upper == pytest.approx(high, abs=0.02)
        assert figure.lower < figure.value < figure.upper


@pytest.mark.parametrize("name", ["accuracy", "f1", "mcc"])
@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better_than_the_one_that_is_chosen(name, seed):
    draw = np.random.default_rng(seed)
    on = draw.random(40) < 0.3
    values = np.round(np.clip(0.3 * on + 0.6 * draw.random(40), 0, 1), 2)  # with ties
    function = {"accuracy": accuracy_score, "f1": f1_score, "mcc": matthews_corrcoef}[name]
    at = best_threshold(values, on, metrics.MEASURES[name])
    best = max(function(on, values >= t) for t in np.linspace(0, 1, 401))
    assert function(on, values >= at) == pytest.approx(best)


def test_a_threshold_that_changes_nothing_is_a_half():
    assert best_threshold(np.array([0.1, 0.9]), np.array([False, True]), metrics.accuracy) == 0.5
    nothing = np.zeros(0)
    assert best_threshold(nothing, nothing.astype(bool), metrics.f1) == 0.5
