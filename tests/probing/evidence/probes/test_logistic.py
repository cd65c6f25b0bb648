import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mlstm.errors import InputError
from probing.evidence.probes import LogisticProbe, choose_C, logistic


def states(classes, rows=1500, units=60):
    """Correlated features of unlike scales, as states are, and labels that a few of them tell."""
    rng = np.random.default_rng(classes)
    mixed = rng.normal(size=(rows, 12)) @ rng.normal(size=(12, units)) * 0.3
    X = np.tanh(mixed + 0.5 * rng.normal(size=(rows, units)))
    logits = X[:, :4] @ rng.normal(size=(4, classes)) * 2 + rng.gumbel(size=(rows, classes))
    X = X * np.logspace(-2, 2, units) + 3
    return X, np.array(["a", "b", "c", "d"])[logits.argmax(1)]


def objective(probe, X, y, weights=None):
    """C sum(log loss) + l1_ratio |w| + (1 - l1_ratio)/2 |w|², from the probe's own chances."""
    place = np.searchsorted(probe.classes_, y)
    loss = -np.log(probe.predict_proba(X)[np.arange(len(y)), place])
    w = probe.coef_standard_ if probe.standardize else probe.coef_
    penalty = probe.l1_ratio * np.abs(w).sum() + (1 - probe.l1_ratio) / 2 * (w**2).sum()
    return probe.C * (loss if weights is None else loss * weights).sum() + penalty


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("C", [0.01, 1.0])
def test_both_solvers_reach_the_optimum_that_scikit_learn_reaches_with_patience(
    classes, l1_ratio, C
):
    X, y = states(classes)
    Z = (X - X.mean(0)) / X.std(0)
    exact = LogisticRegression(
        C=C,
        l1_ratio=l1_ratio,
        solver="lbfgs" if l1_ratio == 0 else "saga",
        tol=1e-7,
        max_iter=20000,
        random_state=0,
    ).fit(Z, y)
    best = LogisticProbe(C=C, l1_ratio=l1_ratio).fit(X, y)
    best.coef_ = exact.coef_ / best.scale_
    best.intercept_ = exact.intercept_ - best.coef_ @ X.mean(0)
    for solver in ("sklearn", "jax"):
        probe = LogisticProbe(C=C, l1_ratio=l1_ratio, solver=solver).fit(X, y)
        assert objective(probe, X, y) == pytest.approx(objective(best, X, y), rel=1e-4), solver
        if l1_ratio == 1 and C == 0.01:
            # Zeros are exact, and where the optimum has them.
            assert 0 < probe.n_nonzero_ < 40
            clear = np.abs(exact.coef_) > 0.01
            assert (probe.coef_[clear] != 0).all()
            assert (probe.coef_[exact.coef_ == 0] == 0).mean() > 0.95


@pytest.mark.parametrize("solver", ["sklearn", "jax"])
def test_class_weights_count_as_repeated_rows(solver):
    X, y = states(2, rows=400, units=10)
    weighted = LogisticProbe(class_weight={"a": 3, "b": 1}, solver=solver, standardize=False)
    X = (X - X.mean(0)) / X.std(0)
    repeated = np.concatenate([np.arange(len(y)), *[np.flatnonzero(y == "a")] * 2])
    plain = LogisticProbe(solver=solver, standardize=False).fit(X[repeated], y[repeated])
    np.testing.assert_allclose(weighted.fit(X, y).coef_, plain.coef_, atol=5e-3)


def test_coefficients_in_raw_units_and_standard_ones_are_one_probe():
    X, y = states(2)
    probe = LogisticProbe().fit(X, y)
    Z = (X - X.mean(0)) / X.std(0)
    offset = probe.intercept_ + probe.coef_ @ X.mean(0)
    np.testing.assert_allclose(
        probe.decision_function(X), (Z @ probe.coef_standard_.T + offset)[:, 0], rtol=1e-8
    )


def test_a_change_of_units_changes_no_prediction():
    X, y = states(4)
    a = LogisticProbe(C=0.1).fit(X, y)
    b = LogisticProbe(C=0.1).fit(X * 1000 - 5, y)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X * 1000 - 5), atol=1e-3)


def test_large_data_go_to_jax(monkeypatch):
    X, y = states(2, rows=200, units=5)
    monkeypatch.setattr(LogisticProbe, "_sklearn", None)
    monkeypatch.setattr(logistic, "LARGE", X.size * 2 - 1)
    LogisticProbe().fit(X, y)
    monkeypatch.setattr(logistic, "LARGE", X.size * 2)
    with pytest.raises(TypeError):
        LogisticProbe().fit(X, y)


@pytest.mark.parametrize("solver", ["sklearn", "jax"])
def test_too_few_steps_are_said(solver):
    X, y = states(2)
    with pytest.warns(ConvergenceWarning):
        LogisticProbe(solver=solver, max_iter=2).fit(X, y)


def test_C_is_the_best_on_dev_and_of_equals_the_smaller():
    rng = np.random.default_rng(0)
    X, y = states(2)
    # On a class that one feature tells wholly, every C is as good.
    easy = rng.normal(size=(200, 1))
    choice = choose_C(
        LogisticProbe(), (easy, easy[:, 0] > 0), (np.array([[-3.0], [3.0]]), [False, True])
    )
    assert choice.C == 2**-8
    assert choice.accuracy == (1.0,) * 9
    grid = (1.0, 1e-6, 0.1)
    choice = choose_C(LogisticProbe(l1_ratio=1.0), (X[:900], y[:900]), (X[900:], y[900:]), grid)
    assert choice.grid == (1e-6, 0.1, 1.0)
    assert choice.C > 1e-6  # where all coefficients are 0
    assert choice.probe.score(X[900:], y[900:]) == max(choice.accuracy)


@pytest.mark.parametrize("wrong", [{"solver": "adam"}, {"C": 0}, {"l1_ratio": 2}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(InputError):
        LogisticProbe(**wrong).fit(*states(2, rows=50, units=5))


def test_one_class_is_refused():
    with pytest.raises(InputError, match="one class, 'a'"):
        LogisticProbe().fit(np.ones((3, 2)), ["a"] * 3)
