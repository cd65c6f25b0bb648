import json
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlstm.corpus.vocabulary import (
    Bytes,
    Table,
    amino_acids,
    from_json,
    offset_bytes,
    printable,
    untold,
)
from mlstm.errors import InputError

BYTE = st.binary(min_size=1, max_size=1)
SYMBOLS = st.lists(st.none() | st.binary(min_size=1, max_size=3), min_size=1, max_size=300)


@st.composite
def tables(draw) -> Table:
    symbols = draw(SYMBOLS)
    ids = st.integers(0, len(symbols) - 1)
    aliases = draw(st.lists(st.tuples(BYTE, ids), max_size=4))
    return Table(tuple(symbols), draw(st.none() | ids), tuple(aliases), draw(st.text(max_size=9)))


@given(st.binary(max_size=300))
def test_decode_gives_back_what_encode_was_given(data):
    ids = Bytes().encode(data)
    assert ids.dtype == np.uint8
    assert Bytes().decode(ids.astype(np.int32)) == data


def test_ids_that_are_no_bytes_are_refused_rather_than_wrapped():
    with pytest.raises(InputError, match="256"):
        Bytes().decode([3, 256])


@given(tables())
def test_a_saved_vocabulary_is_read_back(table):
    saved = json.loads(json.dumps(table.to_json()))
    assert from_json(saved) == table
    assert from_json(saved).to_json() == saved
    assert from_json(Bytes().to_json()) == Bytes()


@pytest.mark.parametrize("description", [{"kind": "runes"}, {}, None, 3, []])
def test_an_unknown_vocabulary_is_named(description):
    with pytest.raises(InputError, match="unknown"):
        from_json(description)


@pytest.mark.parametrize(
    "changes",
    [
        {"symbols": None},
        {"symbols": []},
        {"symbols": ["a", 3]},
        {"symbols": ["a", ""]},
        {"symbols": ["a", "\u20ac"]},
        {"unknown": 1},
        {"unknown": "0"},
        {"aliases": [["b", 1]]},
        {"aliases": [["bc", 0]]},
        {"aliases": ["b"]},
    ],
)
def test_a_damaged_table_is_refused(changes):
    with pytest.raises(InputError, match="vocabulary"):
        from_json(Table((b"a",)).to_json() | changes)
    with pytest.raises(InputError, match="damaged"):
        from_json({"kind": "table"})


@given(st.lists(st.none() | BYTE, min_size=1, max_size=400), st.binary(max_size=60), st.data())
def test_a_table_has_one_id_for_each_byte_and_refuses_the_others(symbols, text, data):
    table = Table(tuple(symbols))
    known = {symbol for symbol in symbols if symbol is not None}
    if not known:
        return
    here = b"".join(data.draw(st.lists(st.sampled_from(sorted(known)), max_size=60)))
    ids = table.encode(here)
    assert (ids.shape, ids.dtype) == ((len(here),), table.dtype)
    assert table.decode(ids) == here
    stranger = next(
        (place for place in range(len(text)) if text[place : place + 1] not in known), -1
    )
    if stranger < 0:
        assert table.decode(table.encode(text)) == text
    else:
        with pytest.raises(InputError, match=f"at byte {stranger} is no symbol"):
            table.encode(text)


def test_a_byte_that_is_no_symbol_is_read_as_the_unknown_one():
    table = Table((b"a", b"b", b"?"), unknown=2, aliases=((b"A", 0),))
    assert table.encode(b"abAx").tolist() == [0, 1, 0, 2]
    assert table.decode([0, 1, 2]) == b"ab?"


def test_symbols_without_text_are_decoded_to_none():
    assert Table((None, b"a")).decode([0, 1, 0, 1]) == b"aa"
    assert Table((None, b"the ", b"cat")).decode(np.array([1, 0, 2])) == b"the cat"
    assert untold(5).decode([0, 4]) == b""
    for ids in ([5], [-1]):
        with pytest.raises(InputError, match="not all symbols"):
            untold(5).decode(ids)


def test_a_vocabulary_without_bytes_asks_for_ids():
    with pytest.raises(InputError, match=r"its symbols are not told.*: give ids"):
        untold(5).encode(b"a")
    with pytest.raises(InputError, match="its symbols are longer than a byte, as b'the '"):
        Table((b"a", b"the ")).encode(b"a")
    assert (untold(5).encodes, printable().encodes) == (False, True)


@pytest.mark.parametrize(
    ("size", "dtype"), [(256, np.uint8), (257, np.uint16), (65536, np.uint16), (65537, np.uint32)]
)
def test_ids_take_the_least_memory(size, dtype):
    assert untold(size).dtype is dtype


def test_what_is_read_before_a_text_is_a_line_end_or_the_first_symbol():
    assert Bytes().beginning.tolist() == [10]
    assert amino_acids().beginning.tolist() == [24]
    assert Table((None, b"a", b"b")).beginning.tolist() == [1]
    assert untold(3).beginning.tolist() == [0]


def test_published_vocabularies_have_their_published_ids():
    shifted = offset_bytes()
    assert shifted.symbols[:2] == (None, b"\x00")
    assert shifted.size == 257
    assert shifted.encode(b"\x00a\xff").tolist() == [1, 98, 256]
    assert offset_bytes(2, pad=6).size == 264
    assert printable().size == 100
    assert printable().encode(b"0aZ\xc3").tolist() == [0, 10, 61, 0]
    assert printable().decode(range(100)).decode() == string.printable
    proteins = amino_acids()
    assert proteins.size == 26
    assert proteins.encode(b"\nMRXZBJLO*").tolist() == [24, 1, 2, 23, 23, 23, 23, 21, 22, 25]
    with pytest.raises(InputError, match="'m' at byte 1"):
        proteins.encode(b"Mm")
    with pytest.raises(InputError, match="'-' at byte 1"):
        proteins.encode(b"M-")  # UniRep reads it as padding, which it never puts out


def test_equal_symbols_make_equal_vocabularies_whatever_their_names():
    assert Table((b"a",), name="one") == Table((b"a",), name="other") != Table((b"b",))
