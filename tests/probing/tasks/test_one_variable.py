import dataclasses

import numpy as np
import pytest

from mlstm.errors import InputError
from probing.tasks import LabelledData, LabelledDocument, every_byte, stored
from probing.tasks.one_variable import NO_CLASS, one_variable


def lettered(otherwise: str = "", text: bytes = b"abxba", **fields) -> LabelledData:
    """Bytes: class a, class b, or neither."""
    ids = np.frombuffer(text, np.uint8)
    labels = every_byte(np.stack([ids == ord("a"), ids == ord("b")], 1), ids[:, None])
    document = LabelledDocument("it", text, stored(labels))
    data = LabelledData("letters", "typed", "byte", ("a", "b"), ("code",), (document,), True)
    return dataclasses.replace(data, otherwise=otherwise, **fields)


def names(data: LabelledData) -> list[str]:
    labels = data.labels(0)
    assert (labels.classes.sum(1) <= 1).all()
    return data.target(labels).tolist()


def test_positions_without_a_class_are_a_class():
    data = one_variable(lettered())
    assert data.classes == data.concepts == ("a", "b", NO_CLASS)
    assert names(data) == ["a", "b", NO_CLASS, "b", "a"]
    assert one_variable(lettered("neither")).classes == ("a", "b", "neither")


def test_where_each_has_a_class_there_is_no_other_class():
    data = one_variable(lettered("neither", b"abba"))
    assert data.concepts == ("a", "b")
    assert names(data) == ["a", "b", "b", "a"]


def test_one_of_several_classes_is_told_from_its_absence_also_where_they_overlap():
    for exclusive in (True, False):
        data = one_variable(lettered("neither", exclusive=exclusive), "b")
        assert names(data) == ["not b", "b", "not b", "b", "not b"]
        assert data.concepts == ("b",)


def test_a_single_class_has_the_opposite_that_its_task_names():
    only = one_variable(lettered().only("a"))
    assert names(only) == ["a", "not a", "not a", "not a", "a"]
    named = dataclasses.replace(lettered().only("a"), otherwise="other", exclusive=False)
    assert names(one_variable(named)) == ["a", "other", "other", "other", "a"]


@pytest.mark.parametrize(
    ("data", "concept", "words"),
    [
        (lettered().only("code"), None, "code: numbers and no class"),
        (lettered(), "code", "code is a number"),
        (lettered(), "c", "no concept 'c'"),
        (lettered(exclusive=False), None, "name the concept: a, b"),
    ],
)
def test_what_has_no_class_is_refused(data, concept, words):
    with pytest.raises(InputError, match=words):
        one_variable(data, concept)
