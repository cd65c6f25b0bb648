"""Labels that are none are named; those that are keep their values."""

import warnings

import numpy as np
import pytest

from mlstm.classifier import BINARY, EXCLUSIVE, SEVERAL, Labelling
from mlstm.errors import InputError
from mlstm.training.finetuning import Examples

LABELLINGS = {
    BINARY: Labelling(BINARY, ("no", "yes")),
    EXCLUSIVE: Labelling(EXCLUSIVE, ("a", "b", "c")),
    SEVERAL: Labelling(SEVERAL, ("x", "y")),
}
WHOLE = "whole numbers from 0 to 1"
PARTS = "1, 0, or NaN where there is none"


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        (BINARY, ["a", "b"], WHOLE),
        (BINARY, [None, 1], WHOLE),
        (BINARY, [0, float("nan")], WHOLE),
        (BINARY, [0, float("inf")], WHOLE),
        (BINARY, [0, 0.5], WHOLE),
        (BINARY, [0, 1e300], WHOLE),
        (BINARY, [-1, 0], WHOLE),
        (EXCLUSIVE, [0, 3], "whole numbers from 0 to 2"),
        (BINARY, [[0], [1, 0]], WHOLE),
        (BINARY, [[0], [1]], r"labels of shape \(2, 1\); 2 texts need \(2,\)"),
        (SEVERAL, [["a", "b"], ["c", "d"]], PARTS),
        (SEVERAL, [[None, 1], [0, 1]], PARTS),
        (SEVERAL, [[2, 1], [0, 1]], PARTS),
        (SEVERAL, [0, 1], r"labels of shape \(2,\); 2 texts of 2 labels need \(2, 2\)"),
    ],
)
def test_labels_that_are_none_are_one_line(kind, labels, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=f"^dev: .*{message}"):
            Examples(["one", "two"], labels).check(LABELLINGS[kind], "dev")


@pytest.mark.parametrize("texts", ["ab", b"ab", 3, None, iter(["a", "b"])])
def test_texts_that_are_no_list_are_one_line(texts):
    with pytest.raises(InputError, match=r"^train: texts is a .*; a list of them is needed"):
        Examples(texts, np.array([0, 1])).check(LABELLINGS[BINARY], "train")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_labels_of_any_number_type_are_the_same(dtype):
    of = Examples(["one", "two"], np.array([1, 0], dtype)).check(LABELLINGS[BINARY], "train")
    assert of.labels.dtype == np.int64
    assert of.labels.tolist() == [1, 0]
    rows = np.array([[1, 0], [0, 1]], dtype)
    of = Examples(["one", "two"], rows).check(LABELLINGS[SEVERAL], "train")
    assert of.labels.dtype == np.float64
    assert of.labels.tolist() == rows.astype(float).tolist()


def test_of_several_labels_one_may_be_missing():
    rows = np.array([[1, np.nan], [0, 1]])
    of = Examples(["one", "two"], rows).check(LABELLINGS[SEVERAL], "train")
    np.testing.assert_array_equal(of.labels, rows)
