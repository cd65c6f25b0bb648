import html

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlstm.corpus.cleaning import RECIPES, clean
from mlstm.corpus.vocabulary import amino_acids
from mlstm.errors import InputError

# Texts in which references, line ends and characters of several bytes meet.
CHARACTERS = ["a", "word ", "é", "漢", "😀", "\n", " ", "\t", "\u3000", "&", ";", "#"]
REFERENCES = ["&amp;", "&amp", "&#39;", "&#x41;", "&notit;", "&NotEqualTilde;", "&lt;b&gt;"]
EDGES = ["&#10;", "&#0;", "&#59;", "&#xFFFE;", "&nbsp;"]
PIECES = st.sampled_from(CHARACTERS + REFERENCES + EDGES)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)


@given(TEXTS)
@example("&notit; &amp;lt; &#59;")
def test_openai_is_the_recipe_of_the_paper(text):
    plain = html.unescape(text).replace("\n", " ").strip()
    assert clean(text, "openai").data == ("\n " + plain + " ").encode()


@given(
    st.lists(st.sampled_from(["a", "é", "漢", "😀", "\n", " ", "\u3000", "&", ";"])).map("".join)
)
def test_kept_characters_map_to_themselves_and_removed_ones_to_the_next_kept_place(text):
    data, offsets = clean(text, "openai")
    raw = text.encode()
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    at = 0
    for index, character in enumerate(text):
        size = len(character.encode())
        if first <= index < last:
            found = data[offsets[at] : offsets[at + size]]
            assert found == character.replace("\n", " ").encode()
            assert (np.diff(offsets[at : at + size]) == 1).all()
        else:
            assert offsets[at] == offsets[at + size] == (2 if index < first else len(data) - 1)
        at += size
    assert len(offsets) == len(raw) + 1


@given(TEXTS)
def test_offsets_rise_within_the_cleaned_text(text):
    for recipe in RECIPES:
        data, offsets = clean(text, recipe)
        assert len(offsets) == len(text.encode()) + 1
        assert (np.diff(offsets) >= 0).all()
        assert offsets[0] >= 0
        assert offsets[-1] <= len(data)


def test_places_around_a_reference_of_many_digits_are_kept():
    raw = b"ab &#" + b"5" * 5000 + b"; cd"
    data, offsets = clean(raw, "openai")
    assert data == "\n ab \ufffd cd ".encode()
    assert data[offsets[3] : offsets[len(raw) - 3]] == "\ufffd".encode()
    assert data[offsets[len(raw) - 2] : offsets[len(raw)]] == b"cd"


def test_a_span_goes_through_the_map_end_by_end():
    raw = b"  fish &amp; &quot;chips&quot;\n"
    data, offsets = clean(raw, "openai")
    assert data == b'\n fish & "chips" '
    for found, word in [(b"fish", b"fish"), (b"&amp;", b"&"), (b"&quot;chips&quot;", b'"chips"')]:
        start = raw.index(found)
        assert data[offsets[start] : offsets[start + len(found)]] == word
    whole = data[offsets[0] : offsets[len(raw)]]
    assert whole == b'fish & "chips"'
    for i in range(raw.index(b"&amp;"), raw.index(b"&amp;") + 5):
        assert data[offsets[i + 1] - 1 : offsets[i + 1]] == b"&"


def test_letters_behind_a_name_without_a_semicolon_keep_their_places():
    data, offsets = clean("&notit;", "openai")
    assert data == "\n ¬it; ".encode()
    assert data[offsets[4] : offsets[7]] == b"it;"


@given(st.binary(max_size=30))
def test_bytes_that_are_no_text_are_kept(raw):
    assert clean(raw, "none").data == raw
    clean(b"x" + raw + b"x", "openai")
    marked = b"x" + raw.replace(b"&", b"").replace(b"\n", b"") + b"x"
    assert clean(marked, "openai").data == b"\n " + marked + b" "


def test_an_unknown_recipe_and_half_a_surrogate_pair_are_named():
    with pytest.raises(InputError, match='no cleaning "opneai"; there are none, openai'):
        clean("a", "opneai")
    with pytest.raises(InputError, match=r"'\\ud800' at character 1"):
        clean("a\ud800", "none")


@given(st.text(alphabet="ACDx \t\n\r-.", max_size=20))
@example("")
@example(" M K\n")
@example("M--K.R-")
def test_unirep_is_a_start_and_the_letters_in_capitals(text):
    data, offsets = clean(text, "unirep")
    dropped = " \t\n\r-."
    assert data == b"\n" + "".join(c for c in text if c not in dropped).upper().encode()
    assert len(offsets) == len(text) + 1
    after = 1
    for place, letter in enumerate(text):
        assert offsets[place] == after
        after += letter not in dropped
        assert data[offsets[place] : after] == letter.strip(dropped).upper().encode()
    assert offsets[-1] == after == len(data)


def test_what_unirep_makes_of_a_protein_are_ids_of_amino_acids():
    ids = amino_acids().encode(clean("mzK\nw", "unirep").data)
    assert ids.tolist() == [24, 1, 23, 4, 20]
