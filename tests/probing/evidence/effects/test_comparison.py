"""Controls: adjusted for what makes any neuron's effect large, and matched sets."""

import numpy as np
import pytest

from mlstm.errors import InputError
from probing.evidence.effects import comparison


def test_an_effect_is_measured_by_the_line_through_all_the_others():
    draw = np.random.default_rng(0)
    effects, covariates = draw.normal(size=12), draw.normal(size=(12, 2))
    covariates[0] = 0  # within the others
    logs, expected = np.log(np.abs(effects)), []
    for j in range(12):
        others = np.arange(12) != j
        columns = np.column_stack([np.ones(12), covariates])
        penalty = np.sqrt(12) * comparison.RIDGE * np.eye(3)[1:]  # of the slopes alone
        design = np.concatenate([columns[others], penalty])
        line = np.linalg.lstsq(design, np.append(logs[others], [0, 0]), rcond=None)[0]
        expected.append(effects[j] / np.exp(columns[j] @ line))
    np.testing.assert_allclose(comparison.relative(effects, covariates), expected, rtol=1e-9)


def test_covariates_that_do_not_vary_adjust_nothing():
    effects = np.random.default_rng(0).normal(size=20)
    found = comparison.relative(effects, np.ones((20, 2)))
    np.testing.assert_array_equal(np.argsort(found), np.argsort(effects))


def test_no_slope_is_made_of_what_hardly_differs():
    """A neuron that lies apart from controls which are all alike is compared as it is."""
    draw = np.random.default_rng(0)
    covariates = np.concatenate([[[0.1, 0.0]], 1e-3 * draw.normal(size=(50, 2))])
    effects = np.append(3.0, np.exp(draw.normal(size=50) + 300 * covariates[1:, 0]))
    found = comparison.relative(effects, covariates)
    np.testing.assert_allclose(found[0], 3 / np.exp(np.log(effects[1:]).mean()), rtol=0.2)


def test_a_line_is_not_followed_far_beyond_the_others():
    draw = np.random.default_rng(1)
    covariates = draw.normal(size=(60, 2))
    effects = np.exp(2 * covariates[:, 0] + 0.1 * draw.normal(size=60))
    covariates[0] = [9.0, 0.0]
    there = covariates.copy()
    there[0, 0] = covariates[1:, 0].max() + covariates[1:, 0].std()
    found = comparison.relative(effects, covariates)
    np.testing.assert_allclose(found, comparison.relative(effects, there))


def test_too_few_effects_make_no_line():
    effects = np.array([2.0, 1.0, -3.0])
    for count in (1, 3):
        found = comparison.relative(effects[:count], np.zeros((count, 2)))
        np.testing.assert_array_equal(found, effects[:count])
    with pytest.raises(InputError, match="too few"):
        comparison.against_others(2.0, np.ones(4), np.zeros((5, 2)), 1)


def test_effects_of_nothing_are_nothing():
    np.testing.assert_array_equal(comparison.relative(np.zeros(9), np.eye(9)[:, :2]), 0)
    found = comparison.relative(np.append(0, np.ones(20)), np.zeros((21, 2)))
    assert found[0] == 0
    np.testing.assert_allclose(found[1:] > 0, True)


def test_a_large_effect_that_variance_explains_is_not_extreme_after_adjustment():
    draw = np.random.default_rng(1)
    size = np.sort(draw.normal(size=200))[::-1].copy()
    effects = np.exp(size + 0.3 * draw.normal(size=200))
    effects[0] = effects[1:].max() + 1e-6
    found = comparison.against_others(
        effects[0], effects[1:], np.column_stack([size, np.zeros(200)]), 1000
    )
    assert found.p == 1 / 200
    assert found.adjusted_p is not None
    assert found.adjusted_p > 0.05


@pytest.mark.parametrize("at", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize("drift", [0.0, 0.5])
def test_of_a_neuron_that_is_like_the_others_adjusted_p_is_uniform(at, drift):
    """Wherever its variance lies: effects scatter with variance and weight, about 0 or above it."""
    draw, found = np.random.default_rng(2), []
    for _ in range(500):
        covariates = draw.normal(size=(100, 2)) * [1.0, 0.5]
        covariates[0, 0] = at
        effects = np.exp(covariates @ [0.75, 1.0]) * (draw.normal(size=100) + drift)
        one = comparison.against_others(effects[0], effects[1:], covariates, 1)
        found.append(one.adjusted_p)
    assert 0.06 < np.mean(np.array(found) <= 0.1) < 0.145


def test_p_counts_controls_that_are_as_large_and_the_one_itself():
    others = np.array([0.0, 1.0, 2.0, 2.0])
    assert comparison.p_of(2.0, others) == 3 / 5
    assert comparison.p_of(3.0, others) == 1 / 5
    assert comparison.percentile_of(2.0, others) == 75.0


def test_matched_sets_are_near_and_hold_none_of_the_chosen():
    draw = np.random.default_rng(3)
    covariates = draw.normal(size=(300, 2)) * [2.0, 0.5]
    chosen = np.argsort(-covariates[:, 0])[5:11]
    found = comparison.matched_sets(covariates, chosen, 100, seed=4)
    assert found.sets.shape == (100, 6)
    assert len({tuple(row) for row in found.sets.tolist()}) == 100
    assert not np.isin(found.sets, chosen).any()
    assert all(len(set(row)) == 6 for row in found.sets.tolist())
    before, after = found.balance["log variance"]
    pool = np.delete(np.arange(300), chosen)
    expected = covariates[chosen, 0].mean() - covariates[pool, 0].mean()
    assert before == pytest.approx(expected / covariates[pool, 0].std())
    assert before > 1.5
    assert abs(after) < 0.25


def test_matched_sets_are_the_same_for_the_same_seed_and_keep_to_the_allowed():
    covariates = np.random.default_rng(5).normal(size=(64, 2))
    chosen, allowed = np.array([3, 9]), np.arange(64) < 40
    one, same, other = (
        comparison.matched_sets(covariates, chosen, 100, seed, allowed).sets for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.max() < 40


def test_a_set_without_enough_others_is_refused():
    with pytest.raises(InputError, match="too few to draw matched sets"):
        comparison.matched_sets(np.zeros((10, 2)), np.arange(5), 100, 0)


def test_sets_that_nothing_is_like_are_said_not_to_be_matched():
    covariates = np.concatenate(
        [np.full((2, 2), 9.0), np.random.default_rng(0).normal(size=(50, 2))]
    )
    found = comparison.matched_sets(covariates, np.array([0, 1]), 20, 0)
    said = str(comparison.against_sets(1.0, np.zeros(20), found.balance, 10))
    assert "not matched" in said
    near = str(comparison.against_sets(1.0, np.zeros(20), {"log variance": (1.0, 0.1)}, 10))
    assert "not matched" not in near
