import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, pearsonr

from probing.evidence.intervals import (
    jackknife_auc,
    jackknife_correlation,
    jackknife_lead,
    jackknife_mean,
)

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 4)), min_size=2)


def brute(values, on, keep):
    a, b = values[keep & on], values[keep & ~on]
    if not len(a) or not len(b):
        return np.nan
    return mannwhitneyu(a, b).statistic / (len(a) * len(b))


@given(ROWS)
def test_every_auc_without_a_document_equals_mann_whitney_without_it(rows):
    values, on, groups = (np.array(part) for part in zip(*rows, strict=True))
    found = jackknife_auc(values.astype(float), on, groups)
    np.testing.assert_allclose(found.value, brute(values, on, np.ones(len(on), bool)))
    expected = [brute(values, on, groups != group) for group in np.unique(groups)]
    np.testing.assert_allclose(found.left_out, expected, atol=1e-12)


def test_correlations_without_a_document_equal_scipys():
    draw = np.random.default_rng(0)
    x, groups = draw.normal(5, 1, 200), draw.integers(0, 9, 200)
    y = x + draw.normal(0, 2, 200)
    found = jackknife_correlation(x, y, groups)
    assert found.value == pytest.approx(pearsonr(x, y).statistic)
    for place, group in enumerate(np.unique(groups)):
        keep = groups != group
        assert found.left_out[place] == pytest.approx(pearsonr(x[keep], y[keep]).statistic)


def test_means_without_a_document_are_means_of_the_other_documents():
    draw = np.random.default_rng(2)
    values, groups = draw.normal(0, 1, 50), draw.integers(3, 9, 50)
    found = jackknife_mean(values, groups)
    assert found.value == pytest.approx(values.mean())
    expected = [values[groups != group].mean() for group in np.unique(groups)]
    np.testing.assert_allclose(found.left_out, expected)
    # of documents of one position each it is the interval of a mean
    alone = jackknife_mean(values, np.arange(50))
    reach = 2.0096 * values.std(ddof=1) / np.sqrt(50)
    assert alone.upper - alone.value == pytest.approx(reach, rel=1e-4)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    draw, held = np.random.default_rng(0), 0
    for _ in range(300):
        groups = np.repeat(np.arange(30), 8)
        on = draw.random(240) < 0.5
        values = on * 1.0 + draw.normal(0, 1, 240) + np.repeat(draw.normal(0, 0.7, 30), 8)
        found = jackknife_auc(values, on, groups)
        held += found.lower < 0.7183 < found.upper  # Phi(1 / sqrt(2 (1 + 0.49)))
    assert 0.9 < held / 300 < 0.985


def test_a_lead_is_over_the_larger_of_others_chosen_anew_in_each_leave_out():
    draw = np.random.default_rng(1)
    groups, on = np.repeat(np.arange(20), 10), draw.random(200) < 0.4
    parts = [jackknife_auc(on * s + draw.normal(0, 1, 200), on, groups) for s in (2, 0.5, 0.5)]
    lead = jackknife_lead(*parts)
    others = np.maximum(parts[1].left_out, parts[2].left_out)
    assert lead.value == parts[0].value - max(parts[1].value, parts[2].value)
    np.testing.assert_allclose(lead.left_out, parts[0].left_out - others)
    assert lead.lower > 0
    assert jackknife_lead(parts[1], parts[0]).upper < 0


def test_an_other_that_is_not_a_number_does_not_lead_and_nothing_leads_none():
    draw = np.random.default_rng(2)
    groups, x = np.repeat(np.arange(9), 20), draw.normal(size=180)
    own, other = (jackknife_correlation(x + draw.normal(size=180), x, groups) for _ in range(2))
    constant = jackknife_correlation(np.ones(180), x, groups)
    assert np.isnan(constant.value)
    assert jackknife_lead(own, other, constant).value == own.value - other.value
    assert jackknife_lead(own, other, constant).upper == jackknife_lead(own, other).upper
    alone = jackknife_lead(own, constant)
    assert np.isnan([alone.value, alone.lower, alone.upper]).all()


def test_one_document_has_no_interval():
    found = jackknife_auc(np.arange(4.0), np.array([0, 1, 0, 1], bool), np.zeros(4))
    assert np.isnan([found.lower, found.upper]).all()
