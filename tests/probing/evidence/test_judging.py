import dataclasses
import math

import numpy as np
import pytest

from mlstm.errors import InputError
from probing.evidence.judging import judge_of
from probing.tasks import LabelledData, LabelledDocument, Labels, stored
from probing.tasks.patterns import patterns
from probing.tasks.source_code import label


@pytest.fixture(scope="module")
def code() -> LabelledData:
    """One line many times: what is judged is not what was labelled."""
    return label([(f"{k}.py", b"x = 'a'\n") for k in range(4)], "here")


def of_words(seed: int = 0) -> LabelledData:
    """Sentences whose words are labelled: those that end in s are in the class."""
    draw = np.random.default_rng(seed)
    documents = []
    for k in range(60):
        words = draw.choice([b"cat", b"cats", b"dog", b"dogs", b"and", b"bird", b"birds"], 12)
        ends = np.cumsum([len(word) + 1 for word in words]).astype(np.int32) - 1
        starts = ends - np.array([len(word) for word in words], np.int32)
        on = np.array([word.endswith(b"s") for word in words])[:, None]
        labels = Labels(ends - 1, starts, ends, on, np.zeros((12, 0), np.float32))
        documents.append(LabelledDocument(f"{seed} {k}", b" ".join(words), stored(labels)))
    return LabelledData("words", "drawn", "token", ("plural",), (), tuple(documents))


def of_documents() -> LabelledData:
    """Reviews that are good or bad, and how many words they have."""
    draw = np.random.default_rng(0)
    documents = []
    for k in range(90):
        words = [
            "good" if k % 2 else "bad",
            *draw.choice(["a", "film", "plot", "scene"], 3 + k % 5),
        ]
        data = " ".join(draw.permutation(words)).encode()
        end = np.array([len(data)], np.int32)
        number = np.array([[len(words)]], np.float32)
        labels = Labels(end - 1, end * 0, end, np.array([[k % 2 == 1]]), number)
        documents.append(LabelledDocument(f"review {k}", data, stored(labels)))
    return LabelledData("reviews", "drawn", "document", ("good",), ("words",), tuple(documents))


def test_the_labelling_function_counts_bytes_of_the_continuation_alone(code):
    judge = judge_of(code, "string")
    assert (judge.kind, judge.tested) == ("labelling function", {})
    text = b"x = 'ab'\ny = 'c' \n"
    assert judge.scores([text, text], [9, 0]).tolist() == [3 / 9, 7 / 18]
    # What was begun in the prompt goes on after it.
    assert judge.scores([b"x = 'ab' + 1\n"], [6]).tolist() == [2 / 7]
    assert judge.scores([b"x = 'abc"], [6]).tolist() == [1.0]


def test_a_number_is_judged_by_its_mean(code):
    assert judge_of(code, "bracket depth").scores([b"x((1"], [1]).tolist() == [5 / 3]


def test_patterns_judge_what_was_written(tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.txt").write_text("no digits but 7")
    judge = judge_of(patterns(tmp_path, patterns="digit=[0-9]"))
    assert judge.scores([b"a1", b"11", b"aa"], [0, 1, 1]).tolist() == [0.5, 1.0, 0.0]


def test_a_classifier_judges_documents_by_their_continuation_and_says_how_well():
    judge = judge_of(of_documents(), "good")
    assert judge.kind == "classifier"
    assert judge.tested["balanced accuracy"] > 0.95
    assert judge.tested["AUC"] > 0.95
    assert 0.5 <= judge.tested["majority"] < 0.7
    good, bad, continued = judge.scores(
        [b"a good film", b"a bad film", b"bad bad a good film"], [0, 0, 8]
    )
    assert 1 > good > 0.5 > bad > 0
    assert continued == good
    assert "balanced accuracy" in str(judge)
    assert math.isnan(judge.scores([b"a good film"], [11])[0])


def test_a_classifier_tells_a_number_of_documents():
    judge = judge_of(of_documents(), "words")
    assert judge.tested["r"] > 0.5
    few, many = judge.scores([b"good film", b"good film a plot a scene a plot"], [0, 0])
    assert many > few


def test_a_classifier_judges_words():
    judge = judge_of(of_words(), "plural")
    assert judge.tested["balanced accuracy"] > 0.95
    none, half, all_of_it, late = judge.scores(
        [b"cat and dog", b"cats dog", b"dogs cats", b"cats dogs cat"], [0, 0, 0, 10]
    )
    assert (none, half, all_of_it, late) == (0, 0.5, 1, 0)
    assert math.isnan(judge.scores([b"cats "], [2])[0])


def test_a_classifier_judges_bytes_where_the_task_cannot(digits):
    judge = judge_of(digits, "digit")
    assert judge.kind == "classifier"
    none, all_of_it, late = judge.scores([b"abc", b"0123", b"00aa"], [0, 0, 2])
    assert (none, all_of_it, late) == (0, 1, 0)


def test_what_has_one_value_and_what_is_not_named_are_refused(digits):
    with pytest.raises(InputError, match="one value"):
        judge_of(digits, "never")
    with pytest.raises(InputError, match="name one"):
        judge_of(digits)
    with pytest.raises(InputError, match="no concept"):
        judge_of(digits, "nothing")


def test_the_same_seed_trains_the_same_classifier():
    data = of_words()
    texts, starts = [document.data for document in of_words(1).documents[:5]], [0] * 5
    first, second = (judge_of(data, "plural", rows=200).scores(texts, starts) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert judge_of(dataclasses.replace(data), "plural").plain()["concept"] == "plural"
