import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from probing.tasks.token_labels import token_labels
from probing.tasks.word_lists import find_names

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP I-ORG
rejects VBZ B-VP O
Köln NNP B-NP I-LOC

Peter NNP B-NP I-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- -X- O

Rain NN B-NP O
"""


def spelled(data, document: int, position: str = "last") -> list[tuple[str, str, int]]:
    """Each label: the text of its span, its class, its position."""
    labels = data.labels(document)
    text = data.documents[document].data
    spans = [
        text[start:end].decode() for start, end in zip(labels.starts, labels.ends, strict=True)
    ]
    target = data.target(labels)
    return [
        (span, str(name), int(place))
        for span, name, place in zip(spans, target, labels.positions, strict=True)
    ]


def test_columns_give_sentences_of_words_with_entity_types_in_groups_of_a_document(tmp_path):
    path = tmp_path / "ner.conll"
    path.write_text(CONLL, "utf-8")
    data = token_labels(path)
    assert data.classes == ("LOC", "ORG", "PER")
    assert [d.data.decode() for d in data.documents] == [
        "EU rejects Köln",
        "Peter Blackburn",
        "Rain",
    ]
    assert [d.name for d in data.documents] == ["ner.conll:3", "ner.conll:7", "ner.conll:12"]
    assert [d.of_group[-1] for d in data.documents] == ["1", "1", "2"]
    assert spelled(data, 0) == [("EU", "ORG", 1), ("rejects", "O", 9), ("Köln", "LOC", 15)]
    first = token_labels(path, position="first")
    assert [place for _, _, place in spelled(first, 0)] == [0, 3, 11]
    every = token_labels(path, position="every").labels(0)
    assert every.positions.tolist() == [0, 1, *range(3, 10), *range(11, 16)]
    assert every.classes[:, 1].tolist() == [True, True] + [False] * 12
    assert data.exclusive
    data.check_labels()


@pytest.mark.parametrize(
    "tags",
    ["I-PER I-PER O I-LOC B-LOC", "B-PER I-PER O B-LOC B-LOC", "B-PER E-PER O S-LOC S-LOC"],
)
def test_the_three_ways_to_write_entities_give_the_same_classes(tmp_path, tags):
    path = tmp_path / "a.txt"
    rows = zip("abcde", tags.split(), strict=True)
    path.write_text("".join(f"{word}\t{tag}\r\n" for word, tag in rows))
    found = [name for _, name, _ in spelled(token_labels(path), 0)]
    assert found == ["PER", "PER", "O", "LOC", "LOC"]


def test_files_named_as_splits_are_official_and_the_rest_of_the_folder_is_not_read(tmp_path):
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (tmp_path / name).write_text(f"{name[-1]} B-X\nb O\n")
    (tmp_path / "README").write_text("what this is\n")
    data = token_labels(tmp_path)
    assert {d.name: d.split for d in data.documents} == {
        "eng.train:1": "train",
        "eng.testa:1": "dev",
        "eng.testb:1": "test",
    }


@pytest.mark.parametrize("given_file", ["a.word", "a.label", ""])
def test_parallel_files_give_a_sentence_a_line(tmp_path, given_file):
    (tmp_path / "a.word").write_text("The cat\n\nsat  here .\n")
    (tmp_path / "a.label").write_text("DET NOUN\n\nVERB ADV PUNCT\n")
    data = token_labels(tmp_path / given_file)
    assert data.classes == ("ADV", "DET", "NOUN", "PUNCT", "VERB")
    assert spelled(data, 1) == [("sat", "VERB", 2), ("here", "ADV", 7), (".", "PUNCT", 9)]


def test_parallel_files_may_have_iob_tags(tmp_path):
    (tmp_path / "a.word").write_text("a b c\n")
    (tmp_path / "a.label").write_text("O B-X I-X\n")
    assert [name for _, name, _ in spelled(token_labels(tmp_path / "a.word"), 0)] == list("OXX")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.txt": "a B-X\nb c O\n"}, r"a.txt:2: 3 column\(s\), not 2, as in line 1"),
        ({"a.txt": "\na\n"}, r"a.txt:2: 1 column\(s\), not a word first"),
        ({"a.txt": "a O\n\nb X-PER\n"}, r"a.txt:3: 'X-PER' is no tag of IOB"),
        ({"a.txt": "a O\nb PER\n"}, r"a.txt:2: 'PER' is no tag"),
        ({"a.txt": "a O\nb B-\n"}, r"a.txt:2: 'B-' names no class"),
        ({"a.txt": "a\tO\n\tO\n"}, r"a.txt:2: an empty word or tag"),
        ({"a.txt": b"a O\n\xff O\n"}, r"a.txt:2: not UTF-8"),
        ({"a.word": "a b\nc\n", "a.label": "X Y\nZ Z\n"}, r"a.label:2: 2 label\(s\) for the 1 w"),
        ({"a.word": "a\nb\n", "a.label": "X\n"}, r"a.word:2: 2 line\(s\), but .*a.label has 1"),
        ({"a.word": "a\n", "a.label": "X\nY\nZ\n"}, r"a.word:2: 1 line\(s\), but .* has 3"),
        ({"a.word": "a b\n", "a.label": "O B-\n"}, r"a.label:1: 'B-' names no class"),
        ({"a.word": "a\n"}, r"a.label: no such file"),
        ({}, r"no files in this folder"),
    ],
)
def test_a_malformed_file_is_one_line_with_its_place(tmp_path, files, says):
    for name, text in files.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=says) as caught:
        token_labels(tmp_path)
    assert "\n" not in str(caught.value)


WORDS = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=6).filter(
    lambda word: not word.startswith("-DOCSTART-") and "\n" not in word
)
TAGS = st.sampled_from(["O", "B-PER", "I-PER", "S-LOC", "E-LOC"])
SENTENCES = st.lists(
    st.lists(st.tuples(WORDS, TAGS), min_size=1, max_size=5), min_size=1, max_size=4
)


@settings(max_examples=100, deadline=None)
@given(SENTENCES, st.booleans())
def test_spans_spell_the_words_that_were_written(tmp_path_factory, written, parallel):
    folder = tmp_path_factory.mktemp("tagged")
    written = [*written, [("x", "B-X")]]
    if parallel:
        for suffix, column in (("word", 0), ("label", 1)):
            lines = [" ".join(pair[column] for pair in sentence) for sentence in written]
            (folder / f"a.{suffix}").write_bytes("\n".join(lines).encode())
    else:
        lines = ["".join(f"{word} x {tag}\n" for word, tag in sentence) for sentence in written]
        (folder / "a.conll").write_bytes("\n".join(lines).encode())
    data = token_labels(folder)
    assert len(data.documents) == len(written)
    for i, sentence in enumerate(written):
        found = spelled(data, i)
        assert [(word, name) for word, name, _ in found] == [
            (word, tag.split("-")[-1]) for word, tag in sentence
        ]
        assert data.documents[i].data.decode() == " ".join(word for word, _ in sentence)


def test_the_longest_name_of_a_list_counts_and_only_at_word_borders(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.txt").write_text("New York\n City, O'Brien of Newark; new York, é Yorké")
    (tmp_path / "city.txt").write_text("New York City\nYork\nNew York\n\nNewark\n")
    (tmp_path / "people.txt").write_text("O'Brien\nYork City\n")
    lists = [str(tmp_path / "city.txt"), f"person={tmp_path / 'people.txt'}"]
    data = token_labels(tmp_path / "t", lists=lists)
    assert data.classes == ("city", "person")
    labels = data.labels(0)
    text = data.documents[0].data
    words = [text[a:b].decode() for a, b in zip(labels.starts, labels.ends, strict=True)]
    marks = ["".join("cp"[k] for k in range(2) if row[k]) for row in labels.classes]
    assert list(zip(words, marks, strict=True)) == [
        *(("New", "c"), ("York", "cp"), ("City", "cp"), ("O", "p"), ("Brien", "p"), ("of", "")),
        *(("Newark", "c"), ("new", ""), ("York", "c"), ("é", ""), ("Yorké", "")),
    ]
    judged = data.judge(text)
    np.testing.assert_array_equal(judged.classes, labels.classes)
    data.check_labels()


@settings(max_examples=200, deadline=None)
@given(
    st.text("ab cé-\n", max_size=30),
    st.lists(st.lists(st.sampled_from("abcé-"), min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_names_are_found_as_a_regular_expression_of_them_all_finds_them(text, names):
    by_first = {}
    for tokens in {tuple(token.encode() for token in name) for name in names}:
        by_first.setdefault(tokens[0], []).append(tokens)
    for same in by_first.values():
        same.sort(key=len, reverse=True)
    data = text.encode()
    starts, ends, inside = find_names(data, {"x": by_first})
    longest = sorted(("".join(name) for name in map(tuple, names)), key=len, reverse=True)
    one = "|".join(
        r"\s*".join(rf"(?<!\w){re.escape(token)}(?!\w)" if token != "-" else "-" for token in name)
        for name in longest
    )
    expected = np.zeros(len(data) + 1, bool)
    for match in re.finditer(one, text):
        start = len(text[: match.start()].encode())
        expected[start : start + len(match.group().encode())] = True
    assert inside[:, 0].tolist() == expected[starts].tolist()
    assert [data[a:b].decode() for a, b in zip(starts, ends, strict=True)] == re.findall(
        r"\w+", text
    )


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("empty.txt", "\n \n", "no name in this list: class 'empty' would be empty"),
        ("gone.txt", None, "gone.txt: cannot be read"),
    ],
)
def test_a_list_without_a_name_is_refused(tmp_path, name, text, says):
    (tmp_path / "t.txt").write_text("text")
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says):
        token_labels(tmp_path / "t.txt", lists=[str(tmp_path / name)])


def test_names_of_one_list_do_not_overlap():
    names = {b"a": [(b"a", b"b")], b"b": [(b"b", b"c")]}
    inside = find_names(b"a b c b c", {"x": names})[2]
    np.testing.assert_array_equal(inside[:, 0], [1, 1, 0, 1, 1])


def test_two_lists_of_one_name_and_an_unknown_position_are_refused(tmp_path):
    (tmp_path / "l.txt").write_text("a\n")
    path = str(tmp_path / "l.txt")
    with pytest.raises(InputError, match="a list 'l' already"):
        token_labels(tmp_path, lists=[path, path])
    with pytest.raises(InputError, match="position 'middle': there are last"):
        token_labels(tmp_path, position="middle")


@pytest.mark.parametrize("kind", ["only O", "no word", "no name"])
def test_text_without_a_labelled_byte_is_one_clear_line(tmp_path, kind):
    folder = tmp_path / "t"
    folder.mkdir()
    lists = []
    text = {"only O": "a O\nb O\n", "no word": "\n\n", "no name": "a b"}[kind]
    (folder / "a.txt").write_text(text)
    if kind == "no name":
        (tmp_path / "l.txt").write_text("zebra\n")
        lists = [str(tmp_path / "l.txt")]
    data = token_labels(folder, lists=lists)
    with pytest.raises(InputError, match=r"no labelled byte|one class only") as caught:
        data.check_labels()
    assert "\n" not in str(caught.value)
