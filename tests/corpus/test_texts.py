import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.corpus.texts import read_texts
from mlstm.errors import InputError

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


def test_a_line_of_plain_text_is_a_text_and_an_empty_one_too(folder):
    (folder / "a.txt").write_bytes(b"one\n\ntwo \xff\r\nthree")
    assert read_texts(folder / "a.txt") == [b"one", b"", b"two \xff", b"three"]
    (folder / "a.txt.gz").write_bytes(gzip.compress(b"one\n\n"))
    assert read_texts(folder / "a.txt.gz") == [b"one", b""]


@settings(deadline=None)
@given(TEXTS)
def test_what_the_csv_module_wrote_is_read(folder, texts):
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows([["id", "review"], *enumerate(texts)])
    (folder / "a.csv").write_bytes(out.getvalue().encode())
    if not any("\0" in text for text in texts):
        assert read_texts(folder / "a.csv", "review") == [text.encode() for text in texts]


@given(TEXTS)
def test_what_the_json_module_wrote_is_read(folder, texts):
    lines = [json.dumps({"id": 1, "text": text}) for text in texts]
    (folder / "a.jsonl").write_text("\n\n".join(lines))
    assert read_texts(folder / "a.jsonl") == [text.encode() for text in texts]


def test_a_long_field_and_a_byte_order_mark_are_read(folder):
    (folder / "a.csv").write_bytes(b"\xef\xbb\xbftext\n" + b"x" * 300_000 + b"\n\xff\n")
    assert read_texts(folder / "a.csv") == [b"x" * 300_000, b"\xff"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"id,review\n1,good\n", r'a.csv:1: no field "text" \(fields: id, review\)'),
        ("a.csv", b"id,text\n1,good,bad\n", "a.csv:2: 3 fields; the header names 2"),
        ("a.csv", b'text\n"good', "a.csv:2: no CSV: unexpected end of data"),
        ("a.csv", b"", "is empty"),
        ("a.jsonl", b'{"text": "a"}\n{"review": "b"}\n', r'a.jsonl:2: no field "text" \(fields: r'),
        ("a.jsonl", b'\n{"text"', "a.jsonl:2: no JSON"),
        ("a.jsonl", b"[]", "a.jsonl:1: no object"),
        ("a.jsonl", b'{"text": null}', 'a.jsonl:1: field "text" is null, no text'),
        ("a.jsonl", b'{"text": "\\ud800"}', "a.jsonl:1: .* half of a surrogate pair"),
        ("nosuch/a.txt", None, "a.txt: cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(folder, name, data, words):
    if data is not None:
        (folder / name).write_bytes(data)
    with pytest.raises(InputError, match=words) as raised:
        read_texts(folder / name)
    assert "\n" not in str(raised.value)
