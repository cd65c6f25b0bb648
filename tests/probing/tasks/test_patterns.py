import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from probing.tasks.patterns import patterns

TEXTS = {"a.txt": "in 1984, or 2001", "b.txt": "é 1999 é", "c.txt": "none"}
CODE = """
import numpy as np
from dataclasses import dataclass

@dataclass
class Ratio:
    value: "float"

def vowel(data):
    return np.isin(np.frombuffer(data, np.uint8), list(b"aeiou"))

def place(data):
    return list(range(len(data)))

def both(data):
    return {"first": np.arange(len(data)) == 0, "place": np.arange(len(data)) / 2}

def short(data):
    return [True]

def text(data):
    return "x"

def nan(data):
    return np.full(len(data), np.nan)

def ragged(data):
    return [[1], [1, 2]]

def nothing(data):
    return {}

def unsteady(data):
    return place(data) if b"none" in data else vowel(data)

def fails(data):
    if data:
        raise KeyError("no such\\nthing")

def deep(data):
    return deeper()

def deeper():
    import re
    return re.compile("(")

NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, text in TEXTS.items():
        (texts / name).write_text(text, "utf-8")
    (tmp_path / "marks.py").write_text(CODE)
    return tmp_path


def marked(data, concept: str, document: int) -> str:
    target = data.target(data.labels(document), concept)
    return "".join("x" if on else "." for on in target)


def test_a_regular_expression_marks_the_bytes_inside_its_matches(folder):
    data = patterns(folder / "texts", patterns=["year=[12][0-9]{3}", "é", "(?i)IN|"])
    assert data.classes == ("year", "é", "(?i)IN|")
    assert marked(data, "year", 0) == "...xxxx.....xxxx"
    assert marked(data, "é", 1) == "xx......xx"
    assert marked(data, "(?i)IN|", 0) == "xx.............."
    assert data.meaning["year"] == "year=[12][0-9]{3}"
    data.check_labels()


def test_functions_mark_classes_and_numbers_by_name(folder):
    file = folder / "marks.py"
    data = patterns(
        folder / "texts",
        patterns=[f"{file}:both", f"{file}:vowel", f"i={file}:place", f"my={file}:both", "n"],
    )
    assert data.classes == ("first", "vowel", "my first", "n")
    assert data.numbers == ("place", "i", "my place")
    assert marked(data, "vowel", 0) == "x........x......"
    labels = data.labels(2)
    np.testing.assert_array_equal(data.target(labels, "i"), [0, 1, 2, 3])
    np.testing.assert_array_equal(data.target(labels, "my place"), [0, 0.5, 1, 1.5])
    assert data.judge(b"").classes.shape == (0, 4)
    judged = data.judge(b"an").classes
    np.testing.assert_array_equal(judged, [[1, 1, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("bad=(", r"pattern '\(' is no regular expression: missing \).* at its byte 0"),
        ("a{9999999999999999999999}", "is no regular expression"),
        ("", "empty pattern"),
        ("FILE:none", "marks.py: no function none .*vowel"),
        ("FILE:NUMBER", "no function NUMBER"),
        ("gone.py:f", "gone.py: no such file"),
        ("FILE:short", r"short\(\) returned 1 values for the 16 bytes of document a.txt"),
        ("FILE:text", r"text\(\) returned str of shape \(\)"),
        ("FILE:nan", "returned nan for byte 0 of document a.txt"),
        ("FILE:ragged", "returned list"),
        ("FILE:nothing", "an empty dictionary"),
        ("FILE:fails", r"marks.py:LINE: fails\(\) raised KeyError: .*document a.txt"),
        ("FILE:deep", r"marks.py:LINE: deep\(\) raised .*missing \)"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_one_line_that_says_where(folder, pattern, says):
    text = pattern.replace("FILE", str(folder / "marks.py"))
    culprit = "raise KeyError" if "fails" in pattern else "return re.compile"
    line = next(i for i, code in enumerate(CODE.split("\n"), 1) if culprit in code)
    says = says.replace("LINE", str(line))
    with pytest.raises(InputError, match=says) as caught:
        patterns(folder / "texts", patterns=[text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "says"),
    [("x = 1\ndef f(:\n", "bad.py:2: SyntaxError"), ("x = 1\ny = 1 / 0\n", "bad.py:2: ZeroDiv")],
)
def test_a_file_that_does_not_run_is_named_with_the_line(folder, code, says):
    (folder / "bad.py").write_text(code)
    with pytest.raises(InputError, match=says):
        patterns(folder / "texts", patterns=[f"{folder / 'bad.py'}:f"])


def test_a_function_that_marks_another_type_later_is_refused_then(folder):
    data = patterns(folder / "texts", patterns=[f"{folder / 'marks.py'}:unsteady"])
    data.labels(0)
    with pytest.raises(InputError, match=r"c.txt: marked as unsteady \(number\)"):
        data.labels(2)


def test_two_patterns_of_one_name_and_none_at_all_are_refused(folder):
    with pytest.raises(InputError, match="both named 'x'"):
        patterns(folder / "texts", patterns=["x=a", "x=b"])
    with pytest.raises(InputError, match="no pattern given"):
        patterns(folder / "texts", patterns=[])


def test_a_pattern_that_matches_nothing_is_found_by_the_check(folder):
    data = patterns(folder / "texts", patterns=["never=zzz"])
    with pytest.raises(InputError, match="one class only") as caught:
        data.check_labels()
    assert "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(
    st.text("ab1é\n ", min_size=1, max_size=30), st.sampled_from(["a+b", "[0-9]", "é.", "^a", ""])
)
def test_the_marked_bytes_are_those_of_the_characters_that_match(text, expression):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "a.txt").write_bytes(text.encode())
        data = patterns(name, patterns=[f"it={expression}|zz"])
        expected = np.zeros(len(text), bool)
        for match in re.finditer(expression.replace("é.", "é[^\n]") + "|zz", text):
            expected[match.start() : match.end()] = True
        widths = [len(c.encode()) for c in text]
        found = data.labels(0).classes[:, 0]
    if "é." in expression:  # a dot is one byte, the first of what follows
        starts = np.cumsum([0, *widths[:-1]])
        assert (found[starts] == expected).all()
    else:
        np.testing.assert_array_equal(found, np.repeat(expected, widths))
