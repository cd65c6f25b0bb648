import numpy as np
import pytest
from scipy.stats import false_discovery_control, pearsonr

from probing.evidence.null import null_labels
from probing.evidence.significance import NullSums, benjamini_hochberg, max_statistic_p
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored

DRAWS = 40


def documents(unit: str, each: list[tuple[bytes, Labels]], classes=("on",)) -> LabelledData:
    return LabelledData(
        "task",
        "drawn",
        unit,
        classes,
        (),
        tuple(
            LabelledDocument(f"document {k}", text, stored(labels))
            for k, (text, labels) in enumerate(each)
        ),
    )


@pytest.fixture(scope="module")
def runs() -> LabelledData:
    draw = np.random.default_rng(0)
    each = []
    for size in (50, 1, 333):
        on = np.repeat(draw.random(size) < 0.3, 5)[:size, None]
        each.append((b"x" * size, every_byte(on, np.zeros((size, 0)))))
    return documents("byte", each)


def test_labels_of_bytes_are_those_of_the_document_begun_elsewhere(runs):
    drawn = null_labels(runs, np.arange(3), DRAWS, seed=0).of(2)[:, :, 0]
    own = runs.labels(2).classes[:, 0]
    turned = {np.roll(own, k).tobytes() for k in range(len(own))}
    assert all((row > 0).tobytes() in turned for row in drawn)
    assert len({row.tobytes() for row in drawn}) > DRAWS / 2


def test_draws_depend_on_the_seed_and_on_nothing_that_was_asked_before(runs):
    first = null_labels(runs, np.arange(3), DRAWS, seed=0)
    first.of(0)
    again = null_labels(runs, np.array([2]), DRAWS, seed=0)
    np.testing.assert_array_equal(first.of(2), again.of(2))
    assert (null_labels(runs, np.arange(3), DRAWS, seed=1).of(2) != again.of(2)).any()


def test_labels_of_documents_are_permuted_among_those_of_like_length():
    each = []
    for k in range(80):
        size = 10 + k
        end = np.array([size], np.int32)
        labels = Labels(end - 1, end * 0, end, np.array([[k % 2 == 0]]), np.zeros((1, 0)))
        each.append((b"x" * size, labels))
    data = documents("document", each)
    drawn = null_labels(data, np.arange(80), DRAWS, seed=0)
    rows = np.concatenate([drawn.of(k) for k in range(80)], 1)[:, :, 0]
    own = np.array([k % 2 == 0 for k in range(80)])
    for stratum in np.split(np.arange(80), 4):
        assert (rows[:, stratum].sum(1) == own[stratum].sum()).all()
    assert len({row.tobytes() for row in rows}) == DRAWS


def words(label_of, size: int = 40) -> LabelledData:
    draw = np.random.default_rng(0)
    each = []
    for _ in range(size):
        chosen = draw.zipf(1.3, 30).clip(max=400)
        pieces = [b"w%d" % word for word in chosen]
        ends = np.cumsum([len(piece) + 1 for piece in pieces]).astype(np.int32) - 1
        starts = (ends - [len(piece) for piece in pieces]).astype(np.int32)
        classes = np.array([[label_of(word)] for word in chosen])
        each.append((b" ".join(pieces), Labels(ends - 1, starts, ends, classes, np.zeros((30, 0)))))
    return documents("token", each)


def test_labels_that_depend_on_the_word_alone_still_do_in_every_draw():
    data = words(lambda word: word % 3 == 0)
    drawn = null_labels(data, np.arange(40), DRAWS, seed=0)
    seen: dict[bytes, np.ndarray] = {}
    changed = 0
    for i in range(40):
        labels, rows = data.labels(i), drawn.of(i)[:, :, 0]
        for n in range(30):
            word = data.documents[i].data[labels.starts[n] : labels.ends[n]]
            assert (seen.setdefault(word, rows[:, n]) == rows[:, n]).all()
        changed += (rows != labels.classes[:, 0]).mean()
    assert changed / 40 > 0.2


def test_random_labels_of_words_are_no_more_often_significant_than_alpha():
    draw, draws, trials, found = np.random.default_rng(0), 39, 60, 0
    values = draw.normal(size=(400, 5)).astype(np.float32)  # of each word, units that know words
    for trial in range(trials):
        label = np.random.default_rng(trial + 1).random(500) < 0.4
        data = words(lambda word, label=label: label[word], 15)
        permuted = null_labels(data, np.arange(15), draws, seed=trial)
        sums = NullSums.init(draws, 5)
        for i in range(15):
            labels, text = data.labels(i), data.documents[i].data
            spans = zip(labels.starts, labels.ends, strict=True)
            x = values[[int(text[a + 1 : b]) - 1 for a, b in spans]]
            y = np.concatenate([labels.classes[None, :, 0], permuted.of(i)[:, :, 0]]).T
            sums = sums.update(x, y.astype(np.float32), np.ones(len(x), bool))
        statistics = sums.statistics(True).max(1)
        found += max_statistic_p(statistics[0], statistics[1:]) <= 0.1
    assert found / trials <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / trials)


def test_labels_of_a_draw_are_labels_of_words_of_like_frequency():
    data = words(lambda word: word == 1)  # the most frequent word alone
    drawn = null_labels(data, np.arange(40), DRAWS, seed=0)
    share = np.concatenate([drawn.of(i) for i in range(40)], 1).mean((1, 2))
    own = np.mean([data.labels(i).classes.mean() for i in range(40)])
    assert own > 0.2
    assert share.max() <= own
    assert share.min() > own / 60


def test_sums_of_chunks_give_the_statistics_of_all_rows():
    draw = np.random.default_rng(0)
    x = draw.normal(3, 2, (500, 6)).astype(np.float32)
    y = (draw.random((500, 1 + DRAWS)) < 0.3).astype(np.float32)
    counted = draw.random(500) < 0.9
    y[~counted] = 0
    parts = [
        NullSums.init(DRAWS, 6).update(x[rows], y[rows], counted[rows])
        for rows in (slice(0, 200), slice(200, 500))
    ]
    sums = parts[0].merge(parts[1])
    for unit, column in ((0, 0), (3, 7), (5, 40)):
        on = y[counted, column] > 0
        a, b = x[counted, unit][on], x[counted, unit][~on]
        expected = abs(a.mean() - b.mean()) / x[counted, unit].std()
        found = sums.statistics(True)[column, unit]
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)  # sums are float32
        r = pearsonr(x[counted, unit], y[counted, column]).statistic
        assert sums.statistics(False)[column, unit] == pytest.approx(abs(r), rel=1e-4, abs=1e-6)


def test_several_concepts_at_once_have_the_statistics_that_each_has_alone():
    draw = np.random.default_rng(0)
    x = draw.normal(3, 2, (300, 6)).astype(np.float32)
    y = draw.integers(0, 2, (300, 1 + DRAWS, 3)).astype(np.float32)
    counted = np.ones(300, bool)
    kinds = np.array([True, False, True])
    found = NullSums.init(DRAWS, 6, 3).update(x, y, counted).statistics(kinds)
    assert found.shape == (1 + DRAWS, 3, 6)
    for k, is_class in enumerate(kinds.tolist()):
        alone = NullSums.init(DRAWS, 6).update(x, y[:, :, k], counted).statistics(is_class)
        np.testing.assert_allclose(found[:, k], alone, rtol=1e-5, atol=1e-7)


def test_p_of_each_concept_is_against_its_own_draws():
    observed = np.array([[0.05, 3.0], [0.2, 1.0], [0.4, np.nan]])
    largest = np.array([[0.1, 1.0], [0.2, 2.0], [0.3, np.nan]])
    np.testing.assert_array_equal(
        max_statistic_p(observed, largest), [[1, 0.5], [0.75, 1], [0.25, np.nan]]
    )
    assert np.isnan(max_statistic_p(np.nan, largest[:, 0]))


def test_p_counts_the_observed_labels_as_one_draw_and_ties_as_extreme():
    largest = np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(
        max_statistic_p(np.array([0.05, 0.2, 0.4]), largest), [1, 0.75, 0.25]
    )


def test_q_equals_scipys():
    p = np.random.default_rng(0).random(50) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
    with_nothing = benjamini_hochberg(np.append(p, np.nan))
    np.testing.assert_allclose(with_nothing[:-1], false_discovery_control(p))
    assert np.isnan(with_nothing[-1])
