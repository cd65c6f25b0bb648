"""All probes keep scikit-learn's conventions, by scikit-learn's own tests."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from probing.evidence.probes import (
    GaussianProbe,
    LDAProbe,
    LogisticProbe,
    MDLProbe,
    RidgeProbe,
    SingleNeuronProbes,
    SparseProbe,
)

QUICK = [LogisticProbe(), RidgeProbe(), LDAProbe(), GaussianProbe()]
SLOW = [
    LogisticProbe(solver="jax"),
    LogisticProbe(l1_ratio=1.0),
    SparseProbe(k=2),
    MDLProbe(),
    SingleNeuronProbes(),
]


@parametrize_with_checks(QUICK)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_a_probe_keeps_the_conventions_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(SLOW)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_a_slower_probe_keeps_them_too(estimator, check):
    check(estimator)
