import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlstm.errors import InputError
from probing.evidence.probes import SparseProbe, sparse_curve


def planted(rows=1200, units=40):
    """Neurons 7 and 21 tell the label together, 7 more; 30 is loud and says nothing."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, units))
    y = np.where(2 * X[:, 7] + 1.2 * X[:, 21] + 0.3 * rng.logistic(size=rows) > 0, "yes", "no")
    X[:, 30] *= 1000
    X[:, 7] *= 0.01
    return X, y


@pytest.mark.parametrize("choose", ["mean_difference", "l1"])
def test_the_neurons_that_know_are_chosen_whatever_their_scale(choose):
    X, y = planted()
    assert list(SparseProbe(k=2, choose=choose).fit(X, y).neurons_) == [7, 21]


def test_a_probe_of_k_neurons_is_logistic_regression_on_them():
    X, y = planted()
    probe = SparseProbe(k=2, C=0.5).fit(X, y)
    assert probe.n_nonzero_ == 2
    Z = (X - X.mean(0)) / X.std(0)
    theirs = LogisticRegression(C=0.5, tol=1e-8).fit(Z[:, [7, 21]], y)
    np.testing.assert_allclose(probe.coef_standard_[0, [7, 21]], theirs.coef_[0], rtol=5e-3)
    np.testing.assert_allclose(
        probe.predict_proba(X), theirs.predict_proba(Z[:, [7, 21]]), atol=2e-3
    )


def test_of_several_classes_each_finds_its_neuron():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=900)
    X = rng.normal(size=(900, 20))
    for place, neuron in enumerate((4, 9, 15)):
        X[:, neuron] += 2 * (y == place)
    assert set(SparseProbe(k=3).fit(X, y).neurons_) == {4, 9, 15}


def test_the_curve_rises_to_what_the_planted_neurons_know():
    X, y = planted()
    points = sparse_curve(SparseProbe(), (X[:800], y[:800]), (X[800:], y[800:]), (1, 2, 40, 99))
    assert [point.k for point in points] == [1, 2, 40]
    assert points[0].neurons == (7,)
    assert points[0].accuracy < points[1].accuracy - 0.05
    assert points[1].balanced_accuracy > 0.9
    assert points[2].accuracy == pytest.approx(points[1].accuracy, abs=0.03)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"choose": "best"}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(InputError):
        SparseProbe(**wrong).fit(*planted(50))
