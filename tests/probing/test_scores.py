import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm, pearsonr
from scipy.stats import t as student
from sklearn.metrics import mutual_info_score

import probing
from mlstm.errors import InputError
from probing.evidence import measures
from probing.evidence.figures import Scores
from probing.states import activations
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored


def test_auc_from_bins_equals_mann_whitney_within_its_bound_and_is_exact_on_ranks():
    draw = np.random.default_rng(0)
    for scale in (0.0, 0.3, 3.0):
        on, off = draw.normal(scale, 1, 400), draw.normal(0, 1, 900)
        exact = mannwhitneyu(on, off).statistic / (400 * 900)
        edges = np.quantile(off, np.arange(1, 32) / 32)
        counts = [np.bincount(np.searchsorted(edges, part), minlength=32) for part in (on, off)]
        area, bound = measures.auc(*counts)
        assert abs(area - exact) <= bound < 0.03
        every = np.sort(np.concatenate([on, off]))
        ranks = [np.bincount(np.searchsorted(every, part), minlength=1300) for part in (on, off)]
        assert measures.auc(*ranks) == (pytest.approx(exact, abs=1e-12), 0)


def test_ties_count_half_as_in_mann_whitney():
    on, off = np.array([3, 1, 1, 2]), np.array([1, 1, 2, 3, 0])
    exact = mannwhitneyu(on, off).statistic / 20
    counts = [np.bincount(part, minlength=4) for part in (on, off)]
    assert measures.auc(*counts)[0] == pytest.approx(exact)


def folded(draw, folds: int, bins: int, lift: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts (folds, bins) of a class and of the rest, each fold with a shift of its own."""
    shifts = draw.normal(0, 0.3, folds)
    edges = np.linspace(-3, 3, bins - 1)

    def counts(mean: float) -> np.ndarray:
        return np.bincount(np.searchsorted(edges, draw.normal(mean, 1, 60)), minlength=bins)

    on, off = ([counts(s + up) for s in shifts] for up in (lift, 0))
    return np.array(on), np.array(off)


def test_the_interval_is_the_jackknife_over_folds_with_students_t():
    on, off = folded(np.random.default_rng(5), 6, 32, 0.7)
    low, high = measures.auc_interval(on, off)
    without = [measures.auc(on.sum(0) - a, off.sum(0) - b)[0] for a, b in zip(on, off, strict=True)]
    error = np.sqrt(5 / 6 * sum((x - np.mean(without)) ** 2 for x in without))
    centre = measures.auc(on.sum(0), off.sum(0))[0]
    reach = student.ppf(0.975, 5) * error
    assert (low, high) == (pytest.approx(centre - reach), pytest.approx(centre + reach))


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(6)
    truth = norm.cdf(0.7 / np.sqrt(2 + 2 * 0.3**2))
    hits = 0
    for _ in range(300):
        low, high = measures.auc_interval(*folded(draw, 8, 64, 0.7))
        hits += low <= truth <= high
    assert 0.9 < hits / 300 < 0.99


def test_an_interval_needs_the_class_in_two_folds_and_empty_folds_are_none():
    on, off = folded(np.random.default_rng(5), 4, 32, 0.7)
    padded = [np.concatenate([part, np.zeros_like(part)]) for part in (on, off)]
    assert measures.auc_interval(*padded) == measures.auc_interval(on, off)
    on[1:] = 0
    assert np.isnan(measures.auc_interval(on, off)).all()
    assert np.isnan(measures.auc_interval(on[:1], off[:1])).all()


def test_mutual_information_is_that_of_scikit_learn_less_its_bias():
    draw = np.random.default_rng(7)
    for lift in (0.0, 0.5, 2.0):
        y = draw.random(20000) < 0.3
        bins = np.clip(draw.normal(8 + 4 * lift * y, 4).astype(int), 0, 15)
        counts = [np.bincount(bins[side] * 16, minlength=256) for side in (y, ~y)]
        found = measures.mutual_information(*counts)
        exact = mutual_info_score(y, bins) / np.log(2)
        filled = len(set(bins[y])) + len(set(bins[~y])) - len(set(bins)) - 1
        bias = filled / (2 * np.log(2) * 20000)
        assert found == pytest.approx(max(exact - bias, 0), abs=1e-9)
    assert np.isnan(measures.mutual_information(np.zeros(256), counts[1]))


@pytest.mark.filterwarnings("error")
def test_a_neuron_that_never_moves_has_no_figure_and_no_warning(planted, digits):
    parameters = jax.tree.map(np.array, planted.parameters)
    for name in ("wx", "wh"):
        parameters["layers"]["0"][name][..., 3] = 0
    parameters["layers"]["0"]["b"][:, 3] = [0, -30, 0, 0]  # u is 0: c is always 0
    still = dataclasses.replace(planted, parameters=parameters)
    table = probing.score_neurons(still, digits, "0.c", twin_seed=None, draws=0, controls=False)
    assert np.isnan(table.scores.correlation[:, 3]).all()
    assert np.isnan(table.scores.cohen_d[:, 3]).all()
    assert (table.scores.auc[:, 3, :2] == 0.5).all()
    assert (table.scores.information[:, 3, :2] == 0).all()


@pytest.fixture(scope="module")
def table(planted, digits):
    return probing.score_neurons(planted, digits, "0.c,0.h", draws=0, controls=False)


@pytest.fixture(scope="module")
def states(planted, digits):
    """All states, labels and folds of each split, gathered: what the table is checked against."""
    out = [], [], []
    for window in activations.stream(planted, digits, ("0.c", "0.h")):
        both = np.concatenate([np.asarray(s) for s in window.states.values()], -1)
        for split in (0, 1, 2):
            here = window.split == split
            labels = [window.classes[here], window.numbers[here], window.fold[here, None]]
            out[split].append(np.concatenate([both[here], *labels], -1))
    return [np.concatenate(part) for part in out]


def test_the_planted_neuron_is_found_first_and_scores_one(table):
    row = table.best("digit")
    assert row.neuron == "0.c[5]"
    assert row.direction == 1
    assert row.test > 0.999
    assert row.test > row.twin_test + 0.01


def test_a_neuron_that_is_lower_in_the_concept_scores_the_same(planted, digits):
    def flip(labels: Labels) -> Labels:
        return labels._replace(classes=labels.classes ^ np.array([True, False, False]))

    flipped = tuple(dataclasses.replace(d, read=stored(flip(d.read()))) for d in digits.documents)
    data = dataclasses.replace(digits, documents=flipped)
    row = probing.score_neurons(planted, data, "0.c", twin_seed=None, draws=0, controls=False).best(
        "digit"
    )
    assert (row.neuron, row.direction) == ("0.c[5]", -1)
    assert row.test > 0.999


def test_labels_of_a_coin_give_a_test_auc_near_chance(table):
    row = table.best("coin")
    error = np.sqrt((row.n_on + row.n_off + 1) / (12 * row.n_on * row.n_off))
    assert abs(row.test - 0.5) < 4 * error


def test_every_figure_equals_scipy_on_the_gathered_states(table, states):
    for split in (0, 1, 2):
        rows = states[split]
        for neuron in range(1, 32, 3):
            x = rows[:, neuron]
            for k in (0, 1):
                on = rows[:, 32 + k] == 1
                exact = mannwhitneyu(x[on], x[~on]).statistic / (on.sum() * (~on).sum())
                area = table.scores.auc[split, neuron, k]
                assert abs(area - exact) <= table.scores.auc_bound[split, neuron, k] + 1e-9
                pooled = ((x[on] - x[on].mean()) ** 2).sum() + ((x[~on] - x[~on].mean()) ** 2).sum()
                scale = np.sqrt(pooled / (len(x) - 2))
                d = (x[on].mean() - x[~on].mean()) / scale
                assert table.scores.cohen_d[split, neuron, k] == pytest.approx(
                    d, rel=1e-3, abs=1e-4
                )
            r = pearsonr(x, rows[:, 35]).statistic
            assert table.scores.correlation[split, neuron, 3] == pytest.approx(r, abs=1e-6)


def with_other_test_split(part: Scores) -> Scores:
    """Figures of the test split drawn at random, the others kept."""
    draw, changed = np.random.default_rng(0), {}
    for name in ("auc", "correlation"):
        changed[name] = getattr(part, name).copy()
        changed[name][2] = draw.random(changed[name][2].shape)
    return dataclasses.replace(part, **changed)


def test_selection_looks_at_train_alone(table):
    other = dataclasses.replace(
        table, scores=with_other_test_split(table.scores), twin=with_other_test_split(table.twin)
    )
    for row, moved in zip(table.rows(), other.rows(), strict=True):
        for name in ("neuron", "direction", "train", "twin_neuron", "twin_train"):
            np.testing.assert_equal(getattr(moved, name), getattr(row, name))
        if row.neuron:
            assert moved.test != row.test
            assert moved.twin_test != row.twin_test


def test_the_twins_figures_stand_beside_those_of_train_and_test(table):
    row = table.best("digit")
    neuron = table.sites.index("0.c") * 16 + int(row.twin_neuron.removeprefix("0.c[")[:-1])
    for split, figure in ((0, row.twin_train), (2, row.twin_test)):
        area = table.twin.auc[split, neuron, 0]
        assert figure == pytest.approx(max(area, 1 - area))
    interval = f"{row.low:.3f}-{row.high:.3f}"
    assert f"{row.train:6.3f}{row.test:6.3f}{interval:>12}{row.twin_test:6.3f}" in str(table)
    saved = json.loads(table.to_json())["best"][0]
    assert saved["twin_train"] == pytest.approx(row.twin_train, abs=1e-6)


def test_every_byte_is_counted_once(table, digits):
    assert table.scores.n_on[:, 3].sum() == digits.bytes
    labelled = sum(d.read().classes[:, 0].sum() for d in digits.documents)
    assert table.scores.n_on[:, 0].sum() == labelled


def test_a_concept_that_never_appears_has_no_neuron(table):
    row = table.best("never")
    assert row.neuron == ""
    assert np.isnan(row.test)
    assert "none in the train split" in str(table)


def test_the_twin_has_other_parameters_of_the_same_shapes(planted):
    twin = probing.random_twin(planted, 3)
    ours, its = planted.parameters["layers"]["0"]["wx"], twin.parameters["layers"]["0"]["wx"]
    assert ours.shape == its.shape
    assert not np.allclose(ours, its)
    again = probing.random_twin(planted, 3).parameters["layers"]["0"]["wx"]
    assert (np.asarray(its) == np.asarray(again)).all()


def test_the_json_is_strict_versioned_and_has_every_figure(table, tmp_path):
    table.save(tmp_path / "deep" / "results.json")

    def refuse(constant):
        raise AssertionError(constant)

    saved = json.loads((tmp_path / "deep" / "results.json").read_text(), parse_constant=refuse)
    assert saved["format_version"] == 3
    assert saved["best"][0]["neuron"] == "0.c[5]"
    assert np.shape(saved["neurons"]["auc"]) == (3, 32, 4)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["results.json"]


def test_the_interval_of_a_row_is_in_its_direction_and_leaves_out_documents(table, states):
    row = table.best("digit")
    rows = states[2]
    x, on, fold = rows[:, 5], rows[:, 32] == 1, rows[:, -1]
    assert row.neuron == "0.c[5]"
    without = []
    for f in np.unique(fold):
        keep = fold != f
        a, b = x[keep & on], x[keep & ~on]
        without.append(mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    n = len(without)
    error = np.sqrt((n - 1) / n * np.sum((without - np.mean(without)) ** 2))
    expected = min(1, row.test + student.ppf(0.975, n - 1) * error)
    assert row.high == pytest.approx(expected, abs=2 * row.bound + 1e-6)
    for row in table.rows():
        assert np.isnan(row.low) or row.low <= row.test <= row.high


def test_records_of_the_table_have_a_column_for_each_figure(table):
    records = table.to_frame()
    assert [record["concept"] for record in records] == list(table.concepts)
    assert records[0]["test"] == table.best("digit").test


def test_an_unknown_site_is_refused_with_those_there_are(planted, digits):
    with pytest.raises(InputError, match=r"0\.c"):
        probing.score_neurons(planted, digits, "0.q")


def test_a_list_of_models_is_refused(planted, digits):
    with pytest.raises(InputError, match="one model is needed, not a list of 1"):
        probing.score_neurons([planted], digits)


def test_data_without_a_label_or_with_too_few_documents_is_refused(planted):
    def data(count: int, on: bool) -> LabelledData:
        read = stored(every_byte(np.array([[on], [False], [False]]), np.zeros((3, 0))))
        documents = [LabelledDocument(str(k), b"abc", read) for k in range(count)]
        return LabelledData("t", "here", "byte", ("x",), (), tuple(documents))

    with pytest.raises(InputError, match="one class only"):
        probing.score_neurons(planted, data(3, False))
    with pytest.raises(InputError, match="at least 3"):
        probing.score_neurons(planted, data(2, True))
