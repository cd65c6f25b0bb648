"""CoNLL-U: words found in bytes, and what is wrong said with its line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from probing.tasks import conllu

PUBLISHED = {"train": (12_544, 204_577), "dev": (2_001, 25_147)}  # sentences and words of EWT

FORMS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=6
)


def row(number, form, upos="X", misc="_", xpos="_"):
    return "\t".join([str(number), form, "_", upos, xpos, "_", "_", "_", "_", misc])


def written(folder: Path, *lines: str, end="\n") -> Path:
    path = folder / "a.conllu"
    path.write_bytes(end.join([*lines, "", ""]).encode())
    return path


def message(folder, *lines):
    with pytest.raises(InputError) as caught:
        list(conllu.read(written(folder, *lines)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@st.composite
def surfaces(draw):
    """Tokens of one sentence: (words of each, their spelling, what is after it)."""
    tokens = []
    for _ in range(draw(st.integers(1, 8))):
        words = draw(st.lists(FORMS, min_size=1, max_size=3))
        spelling = "".join(words)
        if len(words) > 1 and draw(st.booleans()):
            spelling = draw(FORMS)
        tokens.append((words, spelling, draw(st.sampled_from(["", " ", "  ", "\u3000", "\u00a0"]))))
    return tokens


@settings(deadline=None)
@given(surfaces(), st.sampled_from(["\n", "\r\n"]))
def test_spans_slice_back_to_the_words_whatever_the_letters_and_spaces(
    tmp_path_factory, tokens, end
):
    text = "".join(spelling + space for _, spelling, space in tokens)
    lines, number, expected = [f"# text = {text}"], 0, []
    for words, spelling, space in tokens:
        misc = "_" if space else "SpaceAfter=No|Translit=x"
        if len(words) > 1:
            lines.append(row(f"{number + 1}-{number + len(words)}", spelling, "_", misc))
        lines += [
            row(number + i + 1, word, f"T{i}", "_" if len(words) > 1 else misc)
            for i, word in enumerate(words)
        ]
        lines.append(row(f"{number + len(words)}.1", "unseen", "NOUN"))
        number += len(words)
        joined = "".join(words)
        if joined.casefold() == spelling.casefold() and len(joined) == len(spelling):
            expected += [
                (spelling, f"T{i}") if len(words) == 1 else (word, f"T{i}")
                for i, word in enumerate(words)
            ]
        else:
            expected.append((spelling, "+".join(f"T{i}" for i in range(len(words)))))
    path = written(tmp_path_factory.mktemp("conllu"), *lines, end=end)
    [sentence] = conllu.read(path)
    data = sentence.text.encode()
    assert sentence.words == number
    found = [(data[t.start : t.end].decode(), t.upos) for t in sentence.tokens]
    assert [(form.casefold(), tag) for form, tag in found] == [
        (form.casefold(), tag) for form, tag in expected
    ]


@pytest.mark.parametrize("part", PUBLISHED)
def test_the_english_web_treebank_has_its_published_sentences_and_words(mlstm_data, part):
    sentences = list(conllu.read(mlstm_data / "pos" / f"en_ewt-ud-{part}.conllu"))
    assert (len(sentences), sum(sentence.words for sentence in sentences)) == PUBLISHED[part]
    for sentence in sentences:
        assert len(sentence.tokens) == sentence.words  # in English, words spell their tokens
        covered = b"".join(sentence.text.encode()[t.start : t.end] for t in sentence.tokens)
        assert covered.decode() == "".join(sentence.text.split())


def test_words_that_spell_their_token_have_spans_and_others_share_one(tmp_path):
    path = written(
        tmp_path,
        "# text = DON'T vá-lo du",
        row("1-2", "DON'T", "_"),
        row(1, "do", "AUX", xpos="VB"),
        row(2, "n't", "PART", xpos="RB"),
        row("3-4", "vá-lo", "_"),
        row(3, "ir", "VERB"),
        row(4, "ele", "PRON"),
        row("5-6", "du", "_"),
        row(5, "de", "ADP"),
        row(6, "le", "_"),
    )
    [sentence] = conllu.read(path)
    data = sentence.text.encode()
    assert [(data[t.start : t.end].decode(), t.upos, t.xpos) for t in sentence.tokens] == [
        ("DO", "AUX", "VB"),
        ("N'T", "PART", "RB"),
        ("vá-lo", "VERB+PRON", "_"),
        ("du", "_", "_"),
    ]
    assert sentence.words == 6


def test_a_sentence_is_of_the_document_begun_before_it(tmp_path):
    one = ["# text = a", row(1, "a"), ""]
    path = written(
        tmp_path,
        *one,
        "# newdoc id = first",
        "# sent_id = s2",
        *one,
        *one,
        "# newdoc",
        *one,
    )
    assert [(s.name, s.group) for s in conllu.read(path)] == [
        ("a.conllu:1", "a.conllu:1"),
        ("s2", "first"),
        ("a.conllu:9", "first"),
        ("a.conllu:12", "a.conllu: document 2"),
    ]


def test_malformed_sentences_are_named_by_file_and_line(tmp_path):
    text = "# text = a b"
    assert "a.conllu:1: a sentence without words" in message(tmp_path, text, row("0.1", "a"))
    assert "a.conllu:2: 3 columns; CoNLL-U has 10" in message(tmp_path, text, "1\ta\tb")
    assert "a.conllu:1: a sentence without its # text" in message(tmp_path, row(1, "a"))
    assert "a.conllu:1: a sentence without words" in message(tmp_path, text)
    assert "a.conllu:3: 'c' is not what # text goes on with, 'b'" in message(
        tmp_path, text, row(1, "a"), row(2, "c")
    )
    assert "a.conllu:2: # text goes on after the last word: 'b'" in message(
        tmp_path, text, row(1, "a")
    )
    assert "a.conllu:2: no space after 'a'" in message(
        tmp_path, "# text = ab", row(1, "a"), row(2, "b")
    )
    assert "a.conllu:3: 'b' is not what" in message(
        tmp_path, text, row(1, "a", misc="SpaceAfter=No"), row(2, "b")
    )
    assert "a.conllu:3: id '3' where word 2 is next" in message(
        tmp_path, text, row(1, "a"), row(3, "b")
    )
    assert "a.conllu:3: word 3 of a multiword token is missing" in message(
        tmp_path, text, row("1-3", "a"), row(1, "a")
    )
    assert "a.conllu:3: a multiword token 3-4 where word 2 is next" in message(
        tmp_path, text, row(1, "a"), row("3-4", "b")
    )
    assert "a.conllu:2: an empty FORM" in message(tmp_path, text, row(1, ""))


def test_the_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_bytes(b"# sent_id = 1\n# text = caf\xe9\n")
    with pytest.raises(InputError, match=r"a\.conllu:2: byte 0xe9 is not UTF-8"):
        list(conllu.read(path))
