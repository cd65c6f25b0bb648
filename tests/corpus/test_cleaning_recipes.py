"""The recipes of other systems, each against what its system does, and the path without a map."""

import html
import re
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlstm.corpus.cleaning import RECIPES, clean, clean_whole
from mlstm.corpus.folding import _SIGNS, ascii_of

LETTERS = ["a", "word ", "é", "漢", "😀", "ﬁ", "“", "—", "\n", "\r\n", " ", "\t", "\u3000", "\xa0"]
MARKS = ["&amp;", "&#39;", "&eacute;", "&notit;", "&lt;b&gt;", "&#10;", "&", ";"]
LONG = ["&#" + "9" * 5000 + ";", "&#" + "0" * 5000 + "65", "&#x" + "f" * 5000 + ";"]
TAGS = ["<", ">", "<br />", "<a\nb>"]
PIECES = st.sampled_from([*LETTERS, *MARKS, *TAGS, *LONG])
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=14).map("".join)


def unescaped(text):
    """As html does where numbers may have any length."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return html.unescape(text)
    finally:
        sys.set_int_max_str_digits(limit)


def as_nvidia(text):
    """The steps of its process_str, one after another, with our folding."""
    text = ascii_of(re.sub("<.*?>", " ", text))
    return "\n " + " ".join(unescaped(text).split()) + " "


EXAMPLES = [
    ("nvidia", "<b>Caf\u00e9</b>  &amp;\n bar ", "\n Cafe & bar "),
    ("nvidia", "\u201cIt\u2019s fine\u201d\u2014she said\u2026", '\n "It\'s fine"--she said... '),
    ("nvidia", "1 < 2 and\n3 > 2", "\n 1 < 2 and 3 > 2 "),
    ("nvidia", "na\u00efve \u0395\u03bb \u6f22 &eacute;", "\n naive \u00e9 "),
    ("nvidia", "", "\n  "),
    ("concept_neurons", " Great\nalbum &amp; more. \n", "\n Great album &amp; more.\n"),
    ("concept_neurons", "", "\n \n"),
    ("openai_reproduction", " Great\nalbum &amp; more. ", " Great\nalbum & more. \n"),
    ("openai", " Great\nalbum &amp; more. ", "\n Great album & more. "),
    ("openai", f"a &#{'1' * 5000}; b", "\n a \ufffd b "),
    ("nvidia", f"a &#{'0' * 5000}65 b", "\n a A b "),
    ("openai_reproduction", f"a &#{'7' * 5000}b", "a \ufffdb\n"),
    ("unirep", " MK-v\n", "\nMKV"),
    ("none", " as it <b>is</b> &amp; ", " as it <b>is</b> &amp; "),
]


@pytest.mark.parametrize(("recipe", "raw", "made"), EXAMPLES)
def test_worked_examples(recipe, raw, made):
    assert clean(raw, recipe).data == clean_whole(raw, recipe) == made.encode()


@settings(deadline=None)
@given(TEXTS)
@example("<<a>b>")
@example("<" * 50 + "\n>")
def test_nvidia_is_its_steps_one_after_another(text):
    assert clean(text, "nvidia").data == as_nvidia(text).encode()


@settings(deadline=None)
@given(TEXTS)
def test_concept_neurons_and_openai_reproduction_are_their_one_line(text):
    reviews = "\n " + text.replace("\n", " ").strip() + "\n"
    assert clean(text, "concept_neurons").data == reviews.encode()
    assert clean(text, "openai_reproduction").data == (unescaped(text) + "\n").encode()


@settings(deadline=None)
@given(TEXTS.map(str.encode) | st.binary(max_size=40))
def test_the_path_without_a_map_makes_the_same_bytes(raw):
    for recipe in RECIPES:
        assert clean_whole(raw, recipe) == clean(raw, recipe).data


@settings(deadline=None)
@given(TEXTS.map(str.encode) | st.binary(max_size=40))
def test_offsets_rise_from_the_front_to_the_end_of_what_is_kept(raw):
    for recipe in RECIPES:
        data, offsets = clean(raw, recipe)
        assert len(offsets) == len(raw) + 1
        assert (np.diff(offsets) >= 0).all()
        front = {"none": 0, "openai_reproduction": 0, "unirep": 1}.get(recipe, 2)
        back = {"none": 0, "unirep": 0}.get(recipe, 1)
        assert (offsets[0], offsets[-1]) == (front, len(data) - back)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["ab", "c", " ", "\n", "é", "<i>", "&amp;"]), max_size=12))
def test_a_word_that_stays_is_where_the_map_says(pieces):
    raw = "".join([*pieces, "WORD", *pieces]).encode()
    start = raw.index(b"WORD")
    for recipe in ("nvidia", "concept_neurons", "openai", "openai_reproduction"):
        data, offsets = clean(raw, recipe)
        assert data[offsets[start] : offsets[start + 4]] == b"WORD"


@settings(deadline=None)
@given(st.text(alphabet="ab é\n\t“漢", max_size=30))
def test_without_references_and_tags_cleaning_again_changes_nothing(text):
    for recipe in ("nvidia", "concept_neurons", "openai"):
        once = clean(text, recipe).data
        assert clean(once, recipe).data == once


def test_a_text_of_opening_brackets_takes_no_longer_than_its_length():
    text = "<" * 200_000
    assert clean_whole(text, "nvidia") == clean(text, "nvidia").data == f"\n {text} ".encode()


@settings(deadline=None)
@given(st.text())
def test_folding_gives_ascii_and_leaves_ascii_alone(text):
    assert ascii_of(text).isascii()
    assert ascii_of(ascii_of(text)) == ascii_of(text)


def test_letters_lose_their_accents_and_every_sign_of_the_table_is_spelled_so():
    for code in range(0xC0, 0x250):
        parts = unicodedata.normalize("NFKD", chr(code))
        if chr(code) not in _SIGNS and parts[0].isascii():
            assert ascii_of(chr(code))[:1] == parts[0]
    assert all(ascii_of(sign) == said for sign, said in _SIGNS.items())
    assert all(len(sign) == 1 and said.isascii() for sign, said in _SIGNS.items())
