import ast
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.corpus import literals, objects
from mlstm.errors import InputError

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(VALUES)
def test_what_python_writes_is_read(value):
    assert literals.read(repr(value)) == value


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), ATOMS, max_size=5), st.sampled_from(["", " ", "\t "]))
def test_a_flat_dict_is_read_with_any_space(fields, space):
    inside = f",{space}".join(f"{key!r}{space}:{space}{value!r}" for key, value in fields.items())
    assert literals.read(f"{{{space}{inside}{space}}}{space}") == fields


@settings(deadline=None)
@given(st.text(alphabet="'\"\\ntxuUN{}0aA41\n,:[](). -+eTrueNone", max_size=25))
def test_what_is_read_is_what_python_reads_and_nothing_else_is_raised(text):
    try:
        found = literals.read(text)
    except ValueError:
        return
    try:
        expected = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError):
        pytest.fail(f"Python does not read {text!r}") if "\f" not in text else None
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("__import__('os').system('x')", "is no value"),
        ("{'a': open}", "is no value"),
        ("{'a': 1", "a comma or }"),
        ("{'a' 1}", "a colon is missing"),
        ("'abc", "a string without an end"),
        ("[" * 100_000, "nested deeper than 32"),
        ("{'a': " * 100_000, "nested deeper than 32"),
        ("1" * 5000, "a number of 5000 digits"),
        ("[1 2]", "a comma or ]"),
        ("1 1", "behind the end"),
        ("", "breaks off"),
        ("'\\U00110000'", "is no character"),
        ("'\\N{BULLET}'", "no escape"),
        ("{[]: 1}", "a key that is a list"),
    ],
)
def test_what_is_wrong_is_said(text, why):
    with pytest.raises(ValueError, match=why.replace("(", r"\(")):
        literals.read(text)


OLD = (
    "{'reviewerID': 'A1', 'helpful': [2, 3], 'reviewText': \"It's \\\"old\\\"\\n\", 'overall': 5.0}"
)


def test_an_old_review_is_read_like_a_new_one():
    found = objects.read_object(OLD.encode())
    assert found == ast.literal_eval(OLD)
    assert objects.text_of(found) == 'It\'s "old"\n'
    assert objects.read_object(json.dumps(found).encode()) == found


def test_text_goes_before_review_text_and_a_named_field_is_the_only_one():
    assert objects.text_of({"reviewText": "a", "text": "b"}) == "b"
    assert objects.text_of({"reviewText": "a", "summary": "c"}, "summary") == "c"
    with pytest.raises(InputError, match=r'no field "body" \(fields: reviewText\)'):
        objects.text_of({"reviewText": "a"}, "body")


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_line_is_an_object_or_one_line_of_error(line):
    try:
        found = objects.read_object(line)
    except InputError as error:
        found = {"why": str(error)}
    assert isinstance(found, dict)
    assert "\n" not in found.get("why", "")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"a": 1', "no JSON: "),
        (b"{'a': 1", "neither JSON nor a Python literal: a comma or }"),
        (b"{'a': \xff}", "no JSON: 'utf-8' codec"),
        (b"text", "no JSON: "),
        (b"[1]", "no object"),
    ],
)
def test_a_broken_line_says_what_it_should_have_been(line, why):
    with pytest.raises(InputError, match=why):
        objects.read_object(line)


def test_nan_is_read_as_before():
    assert objects.read_object(b'{"text": "a", "score": NaN}')["text"] == "a"


@pytest.mark.parametrize(
    "line",
    [
        b"{'text': {(1, 2): 'x'}}",
        b"{'text': [{(1, 2): 'x'}]}",
        b'{"text": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_what_is_no_text_is_told_whatever_it_is(line):
    with pytest.raises(InputError, match=r'field "text" is [{[].{1,40}, no text'):
        objects.text_of(objects.read_object(line))


def test_of_many_long_names_of_fields_some_are_told_in_one_line():
    found = {f"line\nend {n} {'x' * 100}": n for n in range(1000)} | {("a", 1): 2}
    with pytest.raises(InputError) as caught:
        objects.text_of(found)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 600
    assert said.startswith('no field "text" (fields: \'line\\nend 0 xxx')
    assert said.endswith("... and 991 more). Name it with --text_field")
