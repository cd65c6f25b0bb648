"""Which bytes' costs count as on the concept, and of which bytes."""

import numpy as np
import pytest

from mlstm.errors import InputError
from probing.evidence.effects.marked import excerpt, mark, prefix
from probing.tasks import LabelledData, LabelledDocument, Labels, stored


def test_a_cost_is_on_where_the_predicted_byte_is_labelled(planted, digits):
    marked = mark(planted, digits, "digit", bytes=600)
    for text, on in zip(marked.texts, marked.on, strict=True):
        np.testing.assert_array_equal(on, (text >= ord("0")) & (text <= ord("9")))
    text = np.array([[0, 1], [0, -1]])
    last = marked.lengths[1] - 1
    position = np.array([[3, last], [4, 0]])
    expected = [[int(marked.on[0][4]), -1], [int(marked.on[0][5]), -1]]
    np.testing.assert_array_equal(marked.predicted(text, position), expected)
    read = [[int(marked.on[0][3]), 2 + int(marked.on[1][last])], [int(marked.on[0][4]), -1]]
    np.testing.assert_array_equal(marked.read(text, position), read)
    counts = marked.counts()
    np.testing.assert_array_equal(counts.sum(1), np.array(marked.lengths) - 1)
    np.testing.assert_array_equal(counts[:, 1], [on[1:].sum() for on in marked.on])


def test_of_a_word_every_byte_is_on_and_of_a_number_what_is_above_the_median(planted):
    def document(k: int, split: str) -> LabelledDocument:
        labels = Labels(
            np.array([2, 6], np.int32),
            np.array([0, 4], np.int32),
            np.array([3, 7], np.int32),
            np.array([[True], [False]]),
            np.array([[1.0], [5.0]], np.float32),
        )
        return LabelledDocument(f"{k}", b"abc def", stored(labels), split=split)

    documents = tuple(document(k, s) for k, s in enumerate(("train", "dev", "test")))
    data = LabelledData("words", "here", "token", ("first",), ("size",), documents)
    np.testing.assert_array_equal(mark(planted, data, "first").on[0], [1, 1, 1, 0, 0, 0, 0])
    sized = mark(planted, data, "size")
    assert sized.level == 3.0
    np.testing.assert_array_equal(sized.on[0], [0, 0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(sized.labels[0], [-1, -1, 0, -1, -1, -1, 1])


def test_documents_are_read_from_their_start_to_one_length():
    assert prefix([10, 20, 30], 1000) == 30
    assert prefix([10, 20, 30], 45) == 17
    assert prefix([10, 20, 30], 30) == 10
    assert prefix([10, 20, 30], 1) == 2


def test_a_concept_on_no_byte_is_refused(planted, digits):
    with pytest.raises(InputError, match="no byte of the first"):
        mark(planted, digits, "never")
    with pytest.raises(InputError, match="name one"):
        mark(planted, digits)


def test_of_many_short_documents_some_are_read_whole():
    def data(count: int, size: int, unit) -> LabelledData:
        labels = Labels(*(np.zeros(0, np.int32),) * 3, np.zeros((0, 1), bool), np.zeros((0, 0)))
        documents = tuple(
            LabelledDocument(f"{unit} {k}", bytes(size), stored(labels)) for k in range(count)
        )
        return LabelledData("t", "here", unit, ("a",), (), documents, fractions=(0.2, 0.2, 0.6))

    many = data(200, 50, "byte")
    documents, length = excerpt(many, "test", 2000)
    assert (len(documents), length) == (40, 50)
    fewer, _ = excerpt(many, "test", 1600)
    assert len(fewer) == 32
    assert set(fewer) < set(documents)
    documents, length = excerpt(many, "test", 400)
    assert (len(documents), length) == (32, 12)
    long = data(30, 1000, "document")
    assert [len(excerpt(long, "test", size)[0]) for size in (12_000, 100)] == [12, 8]
    documents, length = excerpt(data(30, 1000, "token"), "test", 9000)
    assert (len(documents), length) == (18, 500)
