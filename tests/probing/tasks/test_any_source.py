"""Text that is no whole program is labelled as far as it can be read."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probing.tasks.source_code import (
    CLASSES,
    NUMBERS,
    any_labels,
    c_labels,
    label,
    labels,
)

PIECES = ['f"{', "f'", '"', "'", "'''", '"""', "(", ")", "]", "{", "}", "\n", "\n    ", "\n  ", "é"]
PIECES += ["x", " ", "1", "#", "\\", "\r", "$", "if", ":", "\x00"]


def on(data: bytes, concept: str) -> str:
    """The bytes of a text that are in a class; others are spaces."""
    column = any_labels(data).classes[:, CLASSES.index(concept)]
    return "".join(chr(b) if is_on else " " for b, is_on in zip(data, column, strict=True))


def test_of_a_module_the_labels_are_the_tasks_own():
    for path in sorted(Path(sys.base_prefix).glob("lib/python3*/[a-c]*.py"))[:20]:
        data = path.read_bytes()
        for ours, theirs in zip(any_labels(data), labels(data), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_string_without_its_end_goes_to_the_end_of_its_line_or_of_the_text():
    assert on(b'a = "bc d\nb = 1\n', "string") == '    "bc d       '
    assert on(b"a = f'b{c} d\nb", "string") == "    f'b{c} d  "
    assert on(b'a = """bc\nd', "string") == '    """bc\nd'
    assert on(b'a = "bc d\nb = 1\n', "number") == " " * 14 + "1 "


def test_what_was_read_before_and_after_an_error_keeps_its_labels():
    data = b"if x) + $ 'y':\n        def\n   return\n"
    assert on(data, "string") == " " * 10 + "'y'" + " " * (len(data) - 13)
    assert on(data, "keyword").split() == ["if", "def", "return"]
    assert on(data, "operator").split() == [")", "+", ":"]


def test_brackets_that_are_never_closed_are_open_to_the_end():
    depth = any_labels(b"a(b[c\nd").numbers[:, NUMBERS.index("bracket depth")]
    assert depth.tolist() == [0, 1, 1, 2, 2, 2, 2]


def test_what_is_no_utf8_and_an_unknown_encoding_are_read_around():
    assert on(b"x = 'a\xff\xfeb' + 12", "string") == "    'a\xff\xfeb'     "
    assert on(b"# coding: nothing\r\nx = 'a'", "string") == " " * 23 + "'a'"
    assert any_labels(b"").classes.shape == (0, len(CLASSES))


@given(st.lists(st.sampled_from(PIECES)).map("".join))
@settings(deadline=None, max_examples=300)
def test_any_text_has_a_label_for_each_byte(text):
    data = text.encode()
    for part in any_labels(data):
        assert len(part) == len(data)


def test_many_strings_without_an_end_do_not_take_forever():
    assert on(b'f"{\n' * 60, "string").count('f"{') == 60


def test_the_task_judges_any_text_and_so_does_one_concept_of_it():
    data = label([("a.py", b"x = 'a'\n")], "here")
    assert data.judge is not None
    judged = data.judge(b"x = 'a")
    np.testing.assert_array_equal(judged.classes[:, CLASSES.index("string")], [0] * 4 + [1] * 2)
    alone = data.only("string")
    assert alone.judge is not None
    np.testing.assert_array_equal(alone.judge(b"x = 'a").classes, [[0]] * 4 + [[1]] * 2)
    depth = data.only("bracket depth").judge
    assert depth is not None
    np.testing.assert_array_equal(depth(b"(").numbers, [[1]])


def test_any_text_is_judged_as_c_where_the_task_is_c():
    data = label([("a.c", b"int x;\n")], "here")
    assert data.judge is not None
    text = b"int @ x = \"a\n y = 'b';"
    judged = data.judge(text)
    whole = c_labels(text.replace(b"@", b" ").replace(b'"', b" "))
    np.testing.assert_array_equal(judged.classes, whole.classes)


@pytest.mark.parametrize("text", [b"x = (", b"'", b"  x\n y"])
def test_a_document_that_is_no_program_is_still_left_out(text):
    data = label([("a.py", b"x = 1\n"), ("b.py", text)], "here")
    assert [name for name, _ in data.skipped] == ["b.py"]
