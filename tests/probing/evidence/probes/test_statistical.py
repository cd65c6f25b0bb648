import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB

from mlstm.errors import InputError
from probing.evidence.probes import FoldSums, GaussianProbe, LDAProbe, RidgeProbe
from probing.evidence.probes.sums import one_hot

FOLDS = 4


def states(classes, rows=600, units=12):
    rng = np.random.default_rng(classes)
    places = rng.integers(classes, size=rows)
    means = rng.normal(size=(classes, units))
    mixed = rng.normal(size=(rows, units)) @ (np.eye(units) + 0.3 * rng.normal(size=(units, units)))
    return (means[places] + mixed) * np.logspace(-1, 1, units) + 2, places


def sums(X, places, folds):
    return FoldSums.of(X, one_hot(places, int(places.max()) + 1), folds, FOLDS)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", [RidgeProbe(alphas=(3.0,)), LDAProbe(), GaussianProbe()])
def test_a_fold_left_out_by_subtraction_is_a_fit_on_the_others(kind, classes):
    X, places = states(classes)
    folds = np.random.default_rng(1).integers(FOLDS, size=len(X))
    whole = sums(X, places, folds)
    for fold in range(FOLDS):
        kept = folds != fold
        subtracted = type(kind)(**kind.get_params()).fit_sums(
            whole.without(fold), np.arange(classes)
        )
        refitted = type(kind)(**kind.get_params()).fit(X[kept], places[kept])
        np.testing.assert_allclose(
            subtracted.decision_function(X), refitted.decision_function(X), rtol=1e-8, atol=1e-8
        )


def test_parts_of_the_data_add():
    X, places = states(3)
    folds = np.arange(len(X)) % FOLDS
    joined = sums(X[:250], places[:250], folds[:250]) + sums(X[250:], places[250:], folds[250:])
    whole = sums(X, places, folds)
    for name in ("n", "x", "xx", "y", "yy", "xy", "xxy"):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), rtol=1e-10)


@pytest.mark.parametrize("classes", [2, 4])
def test_lda_is_that_of_scikit_learn(classes):
    X, y = states(classes)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(X, y)
    ours = LDAProbe(shrinkage=0.1).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_gaussian_is_that_of_scikit_learn(classes):
    X, y = states(classes)
    theirs, ours = GaussianNB().fit(X, y), GaussianProbe().fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-8)
    np.testing.assert_allclose(ours.variances_, theirs.var_, rtol=1e-8)


@pytest.mark.parametrize("classes", [2, 4])
def test_ridge_is_that_of_scikit_learn_on_standard_features(classes):
    X, y = states(classes)
    Z = (X - X.mean(0)) / X.std(0)
    targets = 2 * one_hot(y, classes) - 1
    theirs = Ridge(alpha=7.0).fit(Z, targets[:, 1:] if classes == 2 else targets)
    ours = RidgeProbe(alphas=(7.0,)).fit(X, y)
    np.testing.assert_allclose(
        ours.decision_function(X), theirs.predict(Z).reshape(ours.decision_function(X).shape)
    )


def test_ridge_alpha_has_the_least_error_over_folds_left_out():
    X, y = states(3, rows=60, units=40)
    folds = np.arange(len(X)) % FOLDS
    alphas = (0.01, 1.0, 30.0, 1e5)
    probe = RidgeProbe(alphas=alphas).fit_sums(sums(X, y, folds), [0, 1, 2])
    errors = []
    for alpha in alphas:
        error = 0.0
        for fold in range(FOLDS):
            kept = folds != fold
            mean, scale = X[kept].mean(0), X[kept].std(0)
            model = Ridge(alpha=alpha).fit((X[kept] - mean) / scale, 2 * one_hot(y, 3)[kept] - 1)
            told = model.predict((X[~kept] - mean) / scale)
            error += ((told - (2 * one_hot(y, 3)[~kept] - 1)) ** 2).sum()
        errors.append(error / len(X))
    np.testing.assert_allclose(probe.errors_, errors, rtol=1e-8)
    assert probe.alpha_ == alphas[int(np.argmin(errors))] == 1.0


def test_documents_are_whole_in_the_folds_that_alpha_is_chosen_on():
    """Copies of rows in several folds would make no penalty at all look best."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 30)), rng.integers(2, size=40)
    copies = np.repeat(np.arange(40), 6)
    apart = RidgeProbe().fit(X[copies], y[copies])
    together = RidgeProbe().fit(X[copies], y[copies], groups=copies)
    assert apart.alpha_ < 10 < 1000 < together.alpha_


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xx": None}, "no X'X"),
        ({"x": np.zeros((1, 5))}, "sums x have shape"),
        ({"n": np.array([5.0])}, "each row has one class"),
        ({"n": np.array([4])}, "not float64"),
    ],
)
def test_wrong_sums_are_named(change, message):
    X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    good = FoldSums.of(X, one_hot(y, 2), np.zeros(4, int), 1)
    with pytest.raises(InputError, match=message):
        LDAProbe().fit_sums(FoldSums(**(vars(good) | change)), [0, 1])


def test_one_fold_cannot_choose_between_alphas():
    X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    with pytest.raises(InputError, match="one fold"):
        RidgeProbe().fit_sums(FoldSums.of(X, one_hot(y, 2), np.zeros(4, int), 1), [0, 1])


def test_features_that_are_one_another_need_no_inverse():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 3))
    x = np.concatenate([x, x, np.ones((200, 1))], 1)
    y = x[:, 0] > 0
    for probe in (RidgeProbe(alphas=(1e-13,)), LDAProbe(shrinkage=0.0)):
        assert probe.fit(x, y).score(x, y) > 0.9
