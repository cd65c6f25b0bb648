import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from mlstm.errors import InputError
from probing.evidence.probes import SingleNeuronProbes, neurons


def states(rows=2000):
    """Neurons that say nothing, a little, much, all; concepts common, rare and of one neuron."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 6)) * [1, 50, 0.02, 1, 1, 1] + [0, 7, 1, 0, 0, 0]
    X[:, 5] = rng.standard_t(2, size=rows)  # far outliers
    loud = X[:, 1] / 50
    Y = np.stack(
        [
            X[:, 0] + rng.logistic(size=rows) > 0,
            loud + 0.2 * rng.logistic(size=rows) > 2,
            X[:, 4] > 0.3,
            X[:, 5] + rng.logistic(size=rows) > 1,
            np.arange(rows) == 17,
        ],
        1,
    )
    return X, Y


@pytest.mark.parametrize("C", [1.0, 100.0])
def test_all_probes_are_scikit_learns_on_one_standard_feature(C, monkeypatch):
    monkeypatch.setattr(neurons, "BLOCK", 2000 * 4)  # in two parts, of 4 and 2 neurons
    X, Y = states()
    ours = SingleNeuronProbes(C=C).fit(X, Y)
    Z = (X - X.mean(0)) / X.std(0)
    for k in range(Y.shape[1]):
        for h in range(X.shape[1]):
            theirs = LogisticRegression(C=C, tol=1e-10, solver="newton-cholesky", max_iter=500)
            theirs.fit(Z[:, [h]], Y[:, k])
            assert ours.coef_standard_[k, h] == pytest.approx(
                theirs.coef_[0, 0], rel=1e-3, abs=1e-3
            )
            offset = ours.intercept_[k, h] + ours.coef_[k, h] * X[:, h].mean()
            assert offset == pytest.approx(theirs.intercept_[0], rel=1e-3, abs=1e-3)


def test_a_separable_concept_and_a_constant_neuron_stay_finite():
    X = np.stack([np.r_[np.full(50, -1.0), np.full(50, 1.0)], np.full(100, 0.1)], 1)
    probes = SingleNeuronProbes(C=1e4).fit(X, X[:, 0] > 0)
    assert np.isfinite(probes.coef_).all()
    assert probes.coef_[0, 0] > 5
    assert probes.coef_[0, 1] == pytest.approx(0, abs=1e-6)


def test_classes_are_concepts_and_of_two_the_second():
    X, Y = states(300)
    two = np.where(Y[:, 0], "yes", "no")
    probes = SingleNeuronProbes().fit(X, two)
    assert list(probes.concepts_) == ["yes"]
    np.testing.assert_array_equal(probes.coef_, SingleNeuronProbes().fit(X, Y[:, :1]).coef_)
    three = np.where(Y[:, 2], "c", two)
    probes = SingleNeuronProbes().fit(X, three)
    assert list(probes.concepts_) == ["c", "no", "yes"]
    np.testing.assert_array_equal(
        probes.coef_[0], SingleNeuronProbes().fit(X, (three == "c")[:, None]).coef_[0]
    )


def test_balanced_accuracy_is_scikit_learns_for_each_probe():
    X, Y = states()
    train, test = slice(0, 1000), slice(1000, 2000)
    probes = SingleNeuronProbes().fit(X[train], Y[train])
    told = probes.balanced_accuracy(X[test], Y[test])
    assert np.isnan(told[4]).all()  # no row of the test part has this one
    for k in range(4):
        for h in range(X.shape[1]):
            positive = X[test, h] * probes.coef_[k, h] + probes.intercept_[k, h] > 0
            assert told[k, h] == pytest.approx(balanced_accuracy_score(Y[test, k], positive))
    assert told[2].argmax() == 4
    assert told[2, 4] > 0.95


def test_a_concept_that_every_row_has_is_refused():
    X, Y = states(100)
    Y[:, 1] = True
    with pytest.raises(InputError, match="concept 1: all rows have it or none"):
        SingleNeuronProbes().fit(X, Y)
