import numpy as np
import pytest
from sklearn import metrics

from mlstm.errors import InputError
from probing.evidence.probes import Metrics


@pytest.mark.parametrize("classes", [2, 5])
def test_measures_are_those_of_scikit_learn(classes):
    rng = np.random.default_rng(0)
    y = rng.integers(classes, size=500)
    told = np.where(rng.random(500) < 0.6, y, rng.integers(classes, size=500))
    of = Metrics.of(y, told)
    assert of.accuracy == pytest.approx(metrics.accuracy_score(y, told))
    assert of.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(y, told))
    assert of.macro_f1 == pytest.approx(metrics.f1_score(y, told, average="macro"))
    assert of.mcc == pytest.approx(metrics.matthews_corrcoef(y, told))
    assert of.majority == pytest.approx(np.bincount(y).max() / 500)
    for score in of.classes:
        assert score.rows == (y == int(score.name)).sum()
        assert score.recall == pytest.approx((told == y)[y == int(score.name)].mean())


def test_the_most_frequent_class_alone_is_no_better_than_chance():
    of = Metrics.of(np.array(["a"] * 99 + ["b"]), np.array(["a"] * 100))
    assert (of.accuracy, of.majority) == (0.99, 0.99)
    assert (of.balanced_accuracy, of.mcc) == (0.5, 0.0)
    assert of.macro_f1 < 0.5
    assert of.classes[1] == ("b", 1, 0.0, 0.0, 0.0)


def test_a_class_predicted_that_no_row_has_is_in_the_table_and_not_in_the_mean_recall():
    of = Metrics.of(np.array([0, 0, 1]), np.array([0, 2, 1]))
    assert [score.name for score in of.classes] == ["0", "1", "2"]
    assert of.balanced_accuracy == 0.75


def test_the_table_names_each_class():
    text = str(Metrics.of(np.array(["noun", "verb"]), np.array(["noun", "noun"])))
    assert text.splitlines()[0] == (
        "accuracy 0.500 (most frequent class 0.500), balanced 0.500, macro F1 0.333, MCC 0.000; "
        "2 rows"
    )
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["class", "noun", "verb"]


def test_no_rows_are_refused():
    with pytest.raises(InputError, match="no rows"):
        Metrics.of(np.array([]), np.array([]))
