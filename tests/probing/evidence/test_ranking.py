import itertools

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, multivariate_normal
from sklearn.metrics import jaccard_score

from mlstm.errors import InputError
from probing.evidence import ranking

N, H = 400, 6


@pytest.fixture
def rows():
    """Neuron 2 is high in the class, neuron 4 low in it and of tiny range; the others are noise."""
    draw = np.random.default_rng(0)
    on = draw.random(N) < 0.3
    values = draw.normal(0, 1, (N, H))
    values[:, 2] += 3 * on
    values[:, 4] = (values[:, 4] - 4 * on) / 100
    return values, on


def all_rankings(values, on):
    means = np.stack([values[on].mean(0), values[~on].mean(0)])
    half, document = len(on) // 2, np.zeros(len(on), int)
    return [
        ranking.probe_weights(means, values.std(0)),
        ranking.probeless(means, values.std(0)),
        ranking.auc(values, on),
        ranking.iou(values, on),
        ranking.relevance(values, on, document),
        ranking.spectral_peak(values, 0.1, 0.5),
        ranking.gaussian(values[:half], on[:half], values[half:], on[half:], 2),
    ]


def test_no_ranking_changes_the_arrays_that_it_is_given(rows):
    values, on = rows
    values.flags.writeable = on.flags.writeable = False
    before = values.copy()
    for found in all_rankings(values, on):
        assert sorted(found.order) == list(range(H)), found.name
    np.testing.assert_array_equal(values, before)


def test_a_neuron_that_is_low_in_the_class_ranks_as_its_mirror_image(rows):
    values, on = rows
    mirrored = values * [1, -1, -1, 1, -1, -1]
    for a, b in zip(all_rankings(values, on), all_rankings(mirrored, on), strict=True):
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-9, atol=1e-12, err_msg=a.name)


def test_a_neuron_of_tiny_range_leads_where_the_measure_has_no_scale(rows):
    values, on = rows
    by_name = {found.name: found for found in all_rankings(values, on)}
    for name in ("AUC", "IoU", "probeless, standardised", "Gaussian, greedy"):
        assert by_name[name].order[0] == 4, name
    assert by_name["relevance"].order[0] == 2


def test_equal_scores_keep_the_order_of_neurons_and_undefined_ones_are_last():
    assert ranking.Ranking.of("x", np.array([1, np.nan, 2, 1.0])).order.tolist() == [2, 0, 3, 1]


def test_probeless_is_the_sum_over_all_pairs_of_classes():
    means = np.random.default_rng(0).normal(size=(5, H))
    pairs = itertools.combinations(means, 2)
    expected = np.sum([np.abs(a - b) for a, b in pairs], axis=0)
    np.testing.assert_allclose(ranking.probeless(means).scores, expected)
    deviation = np.array([1, 2, 3, 4, 5, 0.0])
    found = ranking.probeless(means, deviation).scores
    np.testing.assert_allclose(found, np.append(expected[:5] / deviation[:5], 0))


def test_weights_are_shares_of_each_classs_weight_in_deviations_of_the_inputs():
    coef = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 3.0]])
    scale = np.array([2.0, 1.0, 4.0])
    found = ranking.probe_weights(coef, scale).scores
    np.testing.assert_allclose(
        found, [(2 / 6 + 0) / 2, (2 / 6 + 3 / 15) / 2, (2 / 6 + 12 / 15) / 2]
    )
    assert ranking.probe_weights(np.zeros(3), scale).scores.tolist() == [0, 0, 0]


def test_auc_equals_mann_whitneys_with_ties(rows):
    values, on = rows
    values = values.round(1)
    found = ranking.auc(values, on).scores
    for j in range(H):
        u = mannwhitneyu(values[on, j], values[~on, j]).statistic
        assert found[j] == pytest.approx(abs(u / (on.sum() * (~on).sum()) - 0.5))


def test_iou_is_the_larger_jaccard_score_of_the_highest_and_the_lowest_values(rows):
    values, on = rows
    found, taken = ranking.iou(values, on).scores, on.sum()
    for j in range(H):
        order = np.argsort(values[:, j])
        scores = [jaccard_score(on, np.isin(np.arange(N), part))
                  for part in (order[-taken:], order[:taken])]  # fmt: skip
        assert found[j] == pytest.approx(max(scores))


def test_a_neuron_that_never_moves_has_the_iou_of_chance():
    on = np.arange(N) < 100
    assert ranking.iou(np.zeros((N, 1)), on).scores[0] == pytest.approx(0.25 / 1.75)


def test_relevance_is_prominence_within_documents_plus_difference_of_means(rows):
    values, on = rows
    document = np.repeat([0, 1, 2], [150, 1, 249])
    bends = [
        np.abs(2 * values[t] - values[t - 1] - values[t + 1])
        for t in range(1, N - 1)
        if on[t] and document[t - 1] == document[t] == document[t + 1]
    ]
    expected = np.mean(bends, 0) + np.abs(values[on].mean(0) - values[~on].mean(0))
    found = ranking.relevance(values, on, document).scores
    np.testing.assert_allclose(found, expected / expected.max())


def test_both_terms_of_relevance_are_of_the_same_neuron():
    on = np.arange(40) % 4 == 1
    values = np.zeros((40, 3))
    values[:, 0] = on
    assert ranking.relevance(values, on, np.zeros(40)).scores.tolist() == [1, 0, 0]


def test_the_spectral_peak_of_a_sine_is_its_amplitude():
    t = np.arange(200)
    values = np.stack(
        [
            3 * np.sin(2 * np.pi * 0.1 * t),
            5 * np.cos(np.pi * t),  # at 1/2
            7 + np.sin(2 * np.pi * 0.2 * t),  # 7 is at 0
        ],
        1,
    )
    np.testing.assert_allclose(ranking.spectral_peak(values, 0, 0.5).scores, [3, 5, 7])
    found = ranking.spectral_peak(values, 0.05, 0.3)
    np.testing.assert_allclose(found.scores, [3, 0, 1], atol=1e-12)
    with pytest.raises(InputError, match="multiples of 1/200"):
        ranking.spectral_peak(values, 0.101, 0.104)


def test_the_gain_of_selected_neurons_is_that_of_gaussians_with_their_covariance(rows):
    values, _ = rows
    draw = np.random.default_rng(1)
    classes = draw.integers(0, 3, N)
    values = values @ draw.normal(size=(H, H)) + np.eye(3)[classes] @ draw.normal(size=(3, H))
    fit, held, count = slice(0, 250), slice(250, N), 4
    found = ranking.gaussian(values[fit], classes[fit], values[held], classes[held], count)

    def bits(chosen):
        joint = []
        for k in range(3):
            x = values[fit][classes[fit] == k]
            covariance = np.cov(x[:, chosen].T, bias=True).reshape(len(chosen), len(chosen))
            n = len(x)
            shrunk = covariance * n / (n + count)
            np.fill_diagonal(shrunk, np.diag(covariance))
            normal = multivariate_normal(x[:, chosen].mean(0), shrunk)
            joint.append(normal.pdf(values[held][:, chosen]).ravel() * n / 250)
        joint = np.array(joint)
        return np.log2(joint[classes[held], np.arange(N - 250)] / joint.sum(0)).mean()

    prior = np.bincount(classes[fit]) / 250
    before = np.log2(prior[classes[held]]).mean()
    for step in range(count):
        chosen = found.order[: step + 1].tolist()
        assert found.scores[chosen[-1]] == pytest.approx(bits(chosen) - before)
        others = [bits([*chosen[:-1], j]) for j in range(H) if j not in chosen]
        before = bits(chosen)
        assert all(other <= before for other in others)


def test_greedy_selection_does_not_take_what_fits_its_own_rows_by_chance():
    draw = np.random.default_rng(0)
    classes = np.repeat([0, 1], 6)
    fit = draw.normal(size=(12, 200))
    fit[:, 7] = classes + draw.normal(0, 0.5, 12)
    held_classes = draw.integers(0, 2, 500)
    held = draw.normal(size=(500, 200))
    held[:, 7] = held_classes + draw.normal(0, 0.5, 500)
    own = ranking.gaussian(fit, classes, fit, classes, 1)
    found = ranking.gaussian(fit, classes, held, held_classes, 1)
    assert own.order[0] != 7
    assert found.order[0] == 7


def test_a_neuron_that_never_moves_is_no_gain_to_the_greedy_selection(rows):
    values, on = rows
    values[:, 0] = 3
    found = ranking.gaussian(values[:200], on[:200], values[200:], on[200:], 3)
    assert np.isfinite(found.scores).all()
    assert 0 not in found.order[:2]


def test_overlap_is_the_share_of_the_first_k():
    a = ranking.Ranking.of("a", np.array([4, 3, 2, 1]))
    b = ranking.Ranking.of("b", np.array([4, 1, 2, 3]))
    assert [ranking.overlap(a, b, k) for k in (1, 2, 4)] == [1, 0.5, 1]
    with pytest.raises(InputError, match="first 5 of 4"):
        ranking.overlap(a, b, 5)


def test_a_class_that_all_or_no_positions_have_is_refused():
    for on in (np.ones(3, bool), np.zeros(3, bool), np.array([True, False])):
        with pytest.raises(InputError, match="positions are of the class"):
            ranking.auc(np.zeros((3, 2)), on)
