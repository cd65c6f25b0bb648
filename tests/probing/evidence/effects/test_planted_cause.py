"""Of two neurons that follow the same, ablation finds the one that is read."""

import numpy as np
import pytest

from probing.evidence.effects.necessity import necessity
from probing.evidence.effects.units import units
from probing.states.arrays import arrays


@pytest.fixture(scope="module")
def found(cause):
    options = {"bytes": 1500, "compared_bytes": 1500, "controls": 120}
    return {
        name: necessity(cause.model, f"0.c[{unit}]", cause.data, **options)
        for name, unit in (("used", cause.used), ("copy", cause.copy))
    }


def test_the_planted_neurons_hold_the_same_and_distractors_are_matched(cause):
    part = arrays(cause.model, cause.data, "0.c", "test", "inside quotes")
    used, copy = part.x[:, cause.used], part.x[:, cause.copy]
    np.testing.assert_array_equal(used, copy)
    np.testing.assert_array_equal(used > 0.5, part.y)
    known = units(cause.model, cause.data, "0.c")
    planted, others = known.covariates[cause.used], known.covariates[list(cause.distractors)]
    np.testing.assert_allclose(known.covariates[cause.copy], planted)
    np.testing.assert_allclose(others, np.broadcast_to(planted, others.shape), atol=0.5)


def test_ablation_finds_the_used_neuron_and_not_its_copy(found):
    assert found["used"].p < 0.01
    assert found["used"].rise.lower > 0
    assert found["used"].held()
    assert found["copy"].p > 0.05
    assert abs(found["copy"].rise.value) < 1e-5
    assert not found["copy"].held()
