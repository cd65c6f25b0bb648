import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlstm.corpus import cutting, words
from mlstm.corpus.fitting import FitCharacters, FitWords, chosen
from mlstm.corpus.spelling import Spelling
from mlstm.corpus.symbols import UNSEEN, unknown_tokens
from mlstm.corpus.vocabulary import from_json
from mlstm.corpus.words import Words
from mlstm.errors import InputError

TRAIN = "The cat — le café — sat.\nThe cat, the hat;  \tand 'that' \U0001f600.\n".encode() * 2
PATTERNS = [words.WORDS, r"\S+", r"(a)|b+", r"^\w+", r"[a-z]+(?=\s)|(?=T)"]
some_bytes = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from([b"The", b" ", b"cat", b"\n", b"caf\xc3\xa9", b"\xc3", b"\x9f"])).map(
        b"".join
    ),
)
unseen = st.sampled_from(list(UNSEEN))


def fits(unseen_way: str) -> list:
    return [
        FitCharacters(unseen_way),
        FitCharacters(unseen_way, 1 if unseen_way == "refuse" else 3),
    ] + [
        FitWords(pattern, 1, 0 if unseen_way != "bytes" else 400, unseen_way)
        for pattern in PATTERNS
    ]


VOCABULARIES = {way: [fit.fit(cutting.blocks(TRAIN)) for fit in fits(way)] for way in UNSEEN}


@settings(max_examples=300, deadline=None)
@given(some_bytes, st.sampled_from(list(UNSEEN)), st.integers(0, 6))
def test_tokens_tile_any_bytes_and_decode_to_them_but_for_the_unknown(data, way, number):
    vocabulary = VOCABULARIES[way][number]
    try:
        ids, ends = tokens = vocabulary.tokens(data)
    except InputError:
        assume(way != "refuse")
        raise
    assert ids.dtype == vocabulary.dtype
    assert (np.diff(ends, prepend=0) > 0).all()
    assert (ends[-1] if len(ends) else 0) == len(data)
    pieces = [data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=False)]
    for piece, i in zip(pieces, ids, strict=True):
        if i != vocabulary.unknown:
            assert piece == vocabulary.decode([i])
    nats = vocabulary.spelling(data, tokens)
    np.testing.assert_array_equal(nats > 0, np.isin(ids, [vocabulary.unknown]))
    np.testing.assert_array_equal(vocabulary.encode(data), ids)
    assert [text for _, text in unknown_tokens(vocabulary.unknown, data, tokens)] == [
        piece for piece, i in zip(pieces, ids, strict=True) if i == vocabulary.unknown
    ]
    if way == "bytes":
        assert vocabulary.decode(ids) == data
    np.testing.assert_array_equal(
        tokens.at(np.arange(len(data))), np.repeat(np.arange(len(ids)), [len(p) for p in pieces])
    )


@pytest.mark.parametrize("way", UNSEEN)
def test_a_vocabulary_is_the_same_after_it_was_json(way):
    for vocabulary in VOCABULARIES[way]:
        again = from_json(json.loads(json.dumps(vocabulary.to_json())))
        assert again == vocabulary
        assert again.decode(range(again.size)) == b"".join(vocabulary.texts)


@pytest.mark.parametrize("way", UNSEEN)
def test_the_text_it_was_made_from_comes_back(way):
    for vocabulary in VOCABULARIES[way]:
        if way != "unknown":
            try:
                assert vocabulary.decode(vocabulary.encode(TRAIN)) == TRAIN
            except InputError:
                assert way == "refuse"


def test_no_character_that_was_seen_is_unknown_and_one_that_was_not_is():
    vocabulary = FitCharacters().fit([TRAIN])
    assert not (vocabulary.encode(TRAIN) == vocabulary.unknown).any()
    assert vocabulary.encode("catö".encode()).tolist()[3:] == [vocabulary.unknown]
    assert vocabulary.decode([vocabulary.unknown]) == "\ufffd".encode()


def test_words_and_spaces_are_tokens():
    vocabulary = FitWords(minimum=1).fit([TRAIN])
    data = "The hat, café".encode()
    assert [data[a:b].decode() for a, b in zip([0, 4, 5, 9], [3, 5, 8, 14], strict=True)]
    ids = vocabulary.encode(data)
    assert [vocabulary.decode([i]).decode() for i in ids] == ["The", " ", "hat", ",", " ", "café"]
    spaced = FitWords(words.NAMED["whitespace"], minimum=1).fit([TRAIN])
    assert [spaced.decode([i]) for i in spaced.encode(b"The  cat,")] == [
        b"The",
        b" ",
        b" ",
        b"cat,",
    ]


def test_the_more_frequent_words_come_first_and_equal_ones_by_their_bytes():
    fitted = FitWords(minimum=1).fit([b"b b b a a c c d\n"])
    assert fitted.pieces == (" ", "b", "a", "c", "\n", "d")
    assert FitWords(minimum=2).fit([b"b b b a a c c d\n"]).pieces == (" ", "b", "a", "c")
    least = FitWords(minimum=1, largest=3).fit([b"b b b a a c c d\n"])
    assert least.pieces == (" ", "b")
    assert least.size == 3
    assert FitWords(minimum=1, largest=258, unseen="bytes").fit([b"aa bb cc aa"]).pieces == (
        "aa",
        "bb",
    )


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_blocks_do_not_depend_on_how_the_text_came(data):
    text = data.draw(st.sampled_from([b"a b\n" * 30_000, b"x" * 200_000, "é".encode() * 90_000]))
    text = text[: data.draw(st.integers(0, len(text)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found = list(cutting.blocks_of(chunks))
    assert found == list(cutting.blocks(text))
    assert b"".join(found) == text
    assert all(0 < len(block) <= cutting.BLOCK for block in found)


@settings(max_examples=100, deadline=None)
@given(some_bytes, st.integers(0, 80))
def test_no_character_is_cut_at_a_border(data, limit):
    limit = min(limit, len(data))
    border = cutting.character_border(data, limit)
    assert limit - 3 <= border <= limit
    parts = [data[:border], data[border:]]
    assert "".join(p.decode("utf-8", "surrogateescape") for p in parts) == data.decode(
        "utf-8", "surrogateescape"
    )


def test_a_pattern_sees_a_line_at_a_time():
    vocabulary = FitWords(r"^\w+", minimum=1).fit([b"one two\nthree\n"])
    assert set(vocabulary.pieces) == {"one", "three", " ", "t", "w", "o", "\n"}


def test_a_line_beyond_a_block_is_cut_where_a_character_ends():
    text = ("é" * 40_000 + " x").encode()
    vocabulary = FitWords(minimum=1).fit(cutting.blocks(text))
    assert sorted(map(len, vocabulary.pieces)) == [1, 1, 40_000 - 32_768, 32_768]
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_spelling_is_a_code_of_bytes_with_an_end():
    code = Spelling.fitted(np.bincount([97, 97, 98], minlength=256), 2)
    total = 3 + 2 + 257
    assert code.nats(b"ab") == pytest.approx(
        -math.log(3 / total) - math.log(2 / total) - math.log(3 / total)
    )
    # Over all spellings of every length the probabilities sum to one.
    p = np.exp(-code.costs)
    assert p.sum() == pytest.approx(1)
    assert sum(p[:256].sum() ** n * p[256] for n in range(100_000)) == pytest.approx(1)


def test_unknown_words_are_charged_as_computed_by_hand():
    train = b"the cat sat\nthe dog sat\n"
    vocabulary = FitWords(minimum=2).fit([train])
    assert set(vocabulary.pieces) == {"the", " ", "sat", "\n"}
    data = b"the cow sat"
    tokens = vocabulary.tokens(data)
    counts = np.bincount(np.frombuffer(train, np.uint8), minlength=257) + 1
    counts[256] = 12 + 1  # the tokens of the training text
    p = counts / counts.sum()
    by_hand = -sum(math.log(p[byte]) for byte in b"cow") - math.log(p[256])
    nats = vocabulary.spelling(data, tokens)
    assert nats.tolist() == pytest.approx([0, 0, by_hand, 0, 0])


@pytest.mark.parametrize(
    "damage",
    [
        {"characters": "aa"},
        {"characters": ["ab"]},
        {"characters": 5},
        {"characters": ["\ud800"]},
        {"characters": "", "unseen": "refuse"},
        {"unseen": "no"},
        {"unseen": None},
        {"spelling": [1, 2]},
        {"spelling": "x" * 257},
        {"spelling": [-1] * 257},
        {"spelling": [float("nan")] * 257},
        {"unseen": "bytes"},
        {"kind": "words"},
        {"kind": "nothing"},
        {"kind": ["characters"]},
        {"kind": "words", "words": ["a", ""], "pattern": "a"},
        {"kind": "words", "words": ["a", 3], "pattern": "a"},
        {"kind": "words", "words": "ab", "pattern": "a"},
        {"kind": "words", "words": ["a"], "pattern": "("},
        {"kind": "words", "words": ["a"], "pattern": "a*"},
        {"kind": "words", "words": ["a"], "pattern": 7},
    ],
    ids=str,
)
def test_a_damaged_vocabulary_is_one_clear_line(damage):
    good = FitCharacters().fit([b"abc"]).to_json()
    with pytest.raises(InputError) as caught:
        from_json(good | damage)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (("letters",), "no vocabulary 'letters'; there are bytes, characters, words"),
        (("characters", "", "x"), "word_pattern says nothing of a vocabulary of characters"),
        (("bytes", "unknown"), "unseen says nothing of a vocabulary of bytes"),
        (("", "", "", 2), "minimum_count says nothing of a vocabulary of bytes"),
        (("words", "drop"), "unseen is 'drop'; it may be unknown, bytes, refuse"),
        (("words", "", "("), "pattern of words '(' is wrong: missing )"),
        (("words", "", "x*"), "finds empty words"),
        (("words", "bytes", "", 0, 256), "no room for words"),
        (("words", "", "", -1), "a minimum count of -1"),
        (("words", "refuse", "", 2), "the training text itself would be refused"),
    ],
)
def test_a_wrong_choice_says_what_may_be_chosen(given_, says):
    with pytest.raises(InputError) as caught:
        chosen(*given_)
    assert says in str(caught.value)


def test_names_choose_what_is_to_be_made():
    assert chosen("") is None
    assert chosen("characters") == FitCharacters("unknown", 1)
    assert chosen("words", "bytes", "whitespace", 3, 999) == FitWords(r"\S+", 3, 999, "bytes")


def test_words_without_a_list_are_refused():
    with pytest.raises(InputError, match="no word is seen 5 times"):
        FitWords(minimum=5).fit([b"a b c"])
    with pytest.raises(InputError, match="is empty"):
        Words((), "refuse")


SLOW = [
    r"(\w+)+!",
    r"(?:\w\w?)+!",
    r"(\w*?)*!",
    r"(?:ab|a|b)*!",
    r"(?=(?:a+)+b)\w",
    r"(?:a{0,9}){0,99}!",
    r"(?:\w{1,15}){1,15}!",
    r"(?:(?:a|aa){15}){15}!",
    "a?" * 40 + "!",
]


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_could_take_for_ever_is_refused_wherever_it_comes_from(pattern):
    with pytest.raises(InputError, match="could take for ever"):
        FitWords(pattern=pattern)
    with pytest.raises(InputError, match="could take for ever"):
        chosen("words", pattern=pattern)
    saved = FitWords(minimum=1).fit([b"a b"]).to_json()
    with pytest.raises(InputError, match="could take for ever"):
        from_json(saved | {"pattern": pattern})


@pytest.mark.parametrize(
    "pattern",
    [
        *words.NAMED.values(),
        r"[a-z]+|\d+(?:\.\d+)?|\S",
        r"(?:\d{3},)+\d{3}|\w",
        r"\w++(?:'\w++)*+|\W",
    ],
)
def test_usual_patterns_are_taken(pattern):
    assert FitWords(pattern=pattern).pattern == pattern
