import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from probing.tasks.text_position import CLASSES, NUMBERS, labels, text_position


def marks(data: bytes, name: str) -> str:
    column = labels(data).classes[:, CLASSES.index(name)]
    return "".join("x" if on else "." for on in column)


def numbers(data: bytes, name: str) -> list[int]:
    return labels(data).numbers[:, NUMBERS.index(name)].astype(int).tolist()


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ('a "b" c', "inside quotes", "..xxx.."),
        ('5" a "b"', "inside quotes", ".xxxxx.."),
        ('"a\nb"', "inside quotes", "xxxxx"),
        ('"a\n \n"b"', "inside quotes", ".....xxx"),
        ("a (b(c)) d", "inside parentheses", "..xxxxxx.."),
        (":( (a) :)", "inside parentheses", ".xxxxxxxx"),  # a smiley closes a smiley
        (")(a)(", "inside parentheses", ".xxx."),
        ("(a\n\nb)", "inside parentheses", "......"),
        ("a /* ( */ b // c\nd", "comment", "..xxxxxxx...xxxx.."),
        ("http://a /*", "comment", ".........xx"),
        ("aBÉc\tZ", "capital", ".x....x"),
        ("a\n\tb\n\t\tc", "indentation >= 2", ".....xxx"),
    ],
)
def test_a_construct_is_marked_where_a_reader_would_mark_it(text, name, expected):
    assert marks(text.encode(), name) == expected


def test_indentation_counts_tabs_or_the_usual_step_of_spaces_and_blank_lines_have_none():
    two = b"a\n  b\n    c\n \n  d\n"
    assert numbers(two, "indentation depth") == [0] * 2 + [1] * 4 + [2] * 6 + [0] * 2 + [1] * 4
    four = b"a\n    b\n      c\n    d\ne\n    f\n"
    assert numbers(four, "indentation depth")[-6:] == [1] * 6
    assert numbers(b"\t x", "indentation depth") == [1] * 3


def test_distances_are_from_the_last_newline_space_and_sentence_end():
    data = b'Ab. "C d?" e.f\ng'
    assert numbers(data, "since newline") == [*range(1, 15), 0, 1]
    assert numbers(data, "position in line") == [*range(15), 0]
    assert numbers(data, "since space") == [1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert numbers(data, "since sentence end") == [1, 2, 0, *range(1, 6), 0, *range(1, 8)]


def by_stack(text: str) -> list[int]:
    """Depth of matched parentheses, a paragraph at a time, one character after another."""
    depth = [0] * (len(text) + 1)
    start = 0
    for end in [m.start() for m in re.finditer(r"\n[ \t\r]*(?=\n)", text)] + [len(text)]:
        stack = []
        for i in range(start, end):
            if text[i] == "(":
                stack.append(i)
            elif text[i] == ")" and stack:
                for k in range(stack.pop(), i + 1):
                    depth[k] += 1
        start = end
    return depth[: len(text)]


@settings(max_examples=400, deadline=None)
@given(st.text("(()) a\n", max_size=40))
def test_parenthesis_depth_is_that_of_a_stack(text):
    assert numbers(text.encode(), "parenthesis depth") == by_stack(text)


@settings(max_examples=200, deadline=None)
@given(st.text("\t  ab\n\r", max_size=40))
def test_indentation_is_that_of_reading_line_by_line(text):
    lines = text.split("\n")
    widths = [len(x) - len(x.lstrip(" \t")) for x in lines]
    plain = [w for x, w in zip(lines, widths, strict=True) if x.strip() and "\t" not in x[:w]]
    growth = [b - a for a, b in zip([0, *plain], plain, strict=False) if b - a > 1]
    step = min(set(growth), key=lambda g: (-growth.count(g), g)) if growth else 4
    expected = []
    for line, width in zip(lines, widths, strict=True):
        tabs = line[:width].count("\t")
        depth = tabs + (width - tabs) // step if line.strip() else 0
        expected += [depth] * (len(line) + 1)
    assert numbers(text.encode(), "indentation depth") == expected[: len(text)]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_labelled_each_once_and_quotes_in_pairs(data):
    found = labels(data)
    assert found.positions.tolist() == list(range(len(data)))
    assert (found.numbers >= 0).all()
    inside = found.classes[:, CLASSES.index("inside quotes")]
    assert sum(data[i] == ord('"') for i in np.flatnonzero(inside)) % 2 == 0


def test_the_task_judges_any_text_as_it_labels_its_documents(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f'{name} ("q") /* c */\n')
    data = text_position(tmp_path)
    assert [d.name for d in data.documents] == ["a.txt", "b.txt", "c.txt"]
    assert set(data.meaning) == set(data.concepts)
    for i, document in enumerate(data.documents):
        for ours, theirs in zip(data.labels(i), data.judge(document.data), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    data.check_labels()


def test_text_without_a_byte_is_one_clear_error(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match="no text to label") as caught:
        text_position(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_the_kernels_comments_are_those_that_its_lexer_finds(mlstm_data):
    from probing.tasks.c_lexer import KINDS
    from probing.tasks.source_code import c_labels

    data = (mlstm_data / "text" / "linux_kernel_2mb.c.txt").read_bytes()[:300_000]
    ours = labels(data).classes[:, CLASSES.index("comment")]
    exact = c_labels(data).classes[:, KINDS.index("comment")]
    assert (ours == exact).mean() > 0.9999
