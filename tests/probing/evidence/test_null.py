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
        assert sums.statistics(True)[column, unit] == pytest.approx(expected, rel=1e-4)
        r = pearsonr(x[counted, unit], y[counted, column]).statistic
        assert sums.statistics(False)[column, unit] == pytest.approx(abs(r), rel=1e-4)


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
