"""Parts of speech as labelled data."""

import collections

import nltk
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from probing.tasks.part_of_speech import part_of_speech
from probing.tasks.word_tags import TAGGER


def row(number, form, upos, xpos, misc="_"):
    return "\t".join([str(number), form, "_", upos, xpos, "_", "_", "_", "_", misc])


def treebank(path, *, documents=3):
    """Two sentences a document: "Été, n°k." and "go"."""
    lines = []
    for k in range(documents):
        lines += [
            f"# newdoc id = {path.name}-{k}",
            f"# text = Été, n°{k}.",
            row(1, "Été", "NOUN", "NN", "SpaceAfter=No"),
            row(2, ",", "PUNCT", ","),
            row(3, f"n°{k}", "PROPN", "NNPS", "SpaceAfter=No"),
            row(4, ".", "PUNCT", "."),
            "",
            "# text = go _",
            row(1, "go", "VERB", "VBP"),
            row(2, "_", "X", "_"),
            "",
        ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def labelled(data, i):
    labels = data.labels(i)
    text = data.documents[i].data
    words = [text[a:b].decode() for a, b in zip(labels.starts, labels.ends, strict=True)]
    tags = data.target(labels).tolist()
    return list(zip(labels.positions.tolist(), words, tags, strict=True))


def test_words_have_their_tag_at_their_last_byte(tmp_path):
    data = part_of_speech(treebank(tmp_path / "a.conllu"))
    assert (data.unit, data.exclusive, data.numbers) == ("token", True, ())
    assert data.classes == ("NOUN", "PROPN", "PUNCT", "VERB", "X")
    assert data.documents[0].data == "Été, n°0.".encode()
    assert labelled(data, 0) == [
        (4, "Été", "NOUN"),
        (5, ",", "PUNCT"),
        (10, "n°0", "PROPN"),
        (11, ".", "PUNCT"),
    ]
    assert data.notes == ("6 sentences, 18 words",)


def test_xpos_can_be_grouped_and_untagged_words_have_no_label(tmp_path):
    path = treebank(tmp_path / "a.conllu")
    assert part_of_speech(path, tags="xpos").classes == (",", ".", "NN", "NNPS", "VBP")
    data = part_of_speech(path, tags="xpos", grouping="concept_neurons", position="first")
    assert data.classes == ("NN", "NNP", "OTHER", "VB")
    assert labelled(data, 0)[2] == (7, "n°0", "NNP")
    assert labelled(data, 1) == [(0, "go", "VB")]


def test_words_that_share_their_bytes_have_one_joined_label_and_are_counted(tmp_path):
    path = tmp_path / "a.conllu"
    rows = [row("1-2", "Au", "_", "_"), row(1, "à", "ADP", "_"), row(2, "le", "DET", "_")]
    path.write_text("\n".join(["# text = Au lac", *rows, row(3, "lac", "NOUN", "_"), ""]))
    data = part_of_speech(path)
    assert labelled(data, 0) == [(1, "Au", "ADP+DET"), (5, "lac", "NOUN")]
    assert data.notes[0] == "1 sentences, 3 words"
    assert data.notes[1].startswith("1 of the words share their bytes")


def test_every_byte_of_a_word_can_have_its_label(tmp_path):
    data = part_of_speech(treebank(tmp_path / "a.conllu"), position="every")
    assert labelled(data, 1) == [(0, "go", "VERB"), (1, "go", "VERB"), (3, "_", "X")]
    assert data.counts.tolist() == [11, 3] * 3


def test_sentences_of_one_document_are_one_group_in_one_split(tmp_path):
    data = part_of_speech(treebank(tmp_path / "a-ud-train.conllu", documents=10))
    groups = collections.defaultdict(set)
    for document, split in zip(data.documents, data.splits, strict=True):
        assert document.split == ""  # one part alone is no official split
        groups[document.of_group].add(split)
    assert len(groups) == 10
    assert all(len(splits) == 1 for splits in groups.values())


@pytest.mark.parametrize("form", ["folder", "list", "commas"])
def test_names_of_files_make_the_official_split(tmp_path, form):
    paths = [treebank(tmp_path / f"x-ud-{part}.conllu") for part in ("dev", "test", "train")]
    (tmp_path / "README.md").write_text("A treebank.")
    (tmp_path / "x-ud-train.txt").write_text("Its text.")
    source = {"folder": tmp_path, "list": paths, "commas": ", ".join(map(str, paths))}[form]
    data = part_of_speech(source)
    assert [len(data.indices(split)) for split in ("train", "dev", "test")] == [6, 6, 6]
    assert all(f"-{d.split}." in d.of_group for d in data.documents)


def test_the_english_web_treebank_keeps_its_split_and_all_its_words(mlstm_data):
    data = part_of_speech(mlstm_data / "pos")
    assert data.notes == ("14,545 sentences, 229,724 words",)
    assert int(data.counts.sum()) == 204_577 + 25_147
    assert len(data.classes) == 17  # all of UPOS
    # No test file here: dev is the test, and a fifth of train's documents is chosen on.
    assert len(data.indices("test")) == 2_001
    assert len(data.indices("train")) + len(data.indices("dev")) == 12_544
    assert {d.of_group for d in data.take(data.indices("train")).documents}.isdisjoint(
        d.of_group for d in data.take(data.indices("dev")).documents
    )


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1)


@settings(deadline=None)
@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=5), min_size=1, max_size=5),
    st.sampled_from("_/"),
)
def test_spans_of_word_tag_lines_slice_back_to_the_words(tmp_path_factory, sentences, mark):
    path = tmp_path_factory.mktemp("tagged") / "a.pos"
    # Words that hold the other mark too; the file shows which one it is.
    lines = [
        " ".join(f"{w}{mark}{'ABC'[i % 3]}" for i, w in enumerate(words)) for words in sentences
    ]
    path.write_text("\n".join([*[f"x{mark}A y{mark}B"] * 10, "", *lines]), encoding="utf-8")
    data = part_of_speech(path)
    assert len(data.documents) == 10 + len(sentences)
    for i, words in enumerate(sentences, 10):
        assert data.documents[i].data.decode() == " ".join(words)
        assert [(w, t) for _, w, t in labelled(data, i)] == [
            (w, "ABC"[n % 3]) for n, w in enumerate(words)
        ]


def test_slashes_within_words_are_not_the_mark(tmp_path):
    path = tmp_path / "brown.txt"
    path.write_text("either/or/cc ran/vbd 1/2/cd .//.\n\nThe/at dog_x/nn\n")
    data = part_of_speech(path)
    assert [labelled(data, i) for i in range(2)] == [
        [(8, "either/or", "cc"), (12, "ran", "vbd"), (16, "1/2", "cd"), (19, "./", ".")],
        [(2, "The", "at"), (8, "dog_x", "nn")],
    ]
    assert [d.name for d in data.documents] == ["brown.txt:1", "brown.txt:3"]


def test_a_word_without_a_tag_is_named_with_its_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a_DT dog_NN barks_VBZ loudly_RB\n" * 12 + "a_DT cat\n")
    with pytest.raises(InputError, match=r"a\.txt:13: 'cat' is not word_TAG"):
        part_of_speech(path)


def test_plain_text_has_the_tags_of_nltks_tagger(mlstm_data, monkeypatch, tmp_path):
    monkeypatch.setattr(nltk.data, "path", [str(mlstm_data / "nltk_data")])
    path = tmp_path / "a.txt"
    path.write_text('The café "opened".  He can\'t go.\n\nShe saw it\n', encoding="utf-8")
    data = part_of_speech(path)
    assert labelled(data, 0) == [
        (2, "The", "DT"),
        (8, "café", "NN"),
        (10, '"', "``"),
        (16, "opened", "VBN"),
        (17, '"', "''"),
        (18, ".", "."),
        (22, "He", "PRP"),
        (25, "ca", "MD"),
        (28, "n't", "RB"),
        (31, "go", "VB"),
        (32, ".", "."),
    ]
    assert [d.name for d in data.documents] == ["a.txt:1", "a.txt:3"]
    assert "automatic tagger" in data.notes[1]


def test_without_the_tagger_the_command_that_gets_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    path = tmp_path / "a.txt"
    path.write_text("The dog barks.\n")
    with pytest.raises(InputError, match=f"python -m nltk.downloader {TAGGER}") as caught:
        part_of_speech(path)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_labelled_is_said(tmp_path):
    path = treebank(tmp_path / "a.conllu")
    with pytest.raises(InputError, match=r"grouping 'concept_neurons' .* take xpos"):
        part_of_speech(path, grouping="concept_neurons")
    with pytest.raises(InputError, match="'deprel': the column is one of upos, xpos"):
        part_of_speech(path, tags="deprel")
    with pytest.raises(InputError, match="no such file or folder"):
        part_of_speech(f"{path},{tmp_path / 'b.conllu'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no files in this folder"):
        part_of_speech(tmp_path / "empty")
    untagged = tmp_path / "untagged.conllu"
    untagged.write_text(f"# text = a\n{row(1, 'a', '_', '_')}\n")
    with pytest.raises(InputError, match=r"no upos tags in 1 sentence"):
        part_of_speech(untagged)
    untagged.write_text(f"# text = a\n{row(1, 'a', 'X', '_')}\n")
    with pytest.raises(InputError, match="one class only"):
        part_of_speech(untagged)
    (tmp_path / "tagged.txt").write_text("a_DT dog_NN\n")
    with pytest.raises(InputError, match=r"several kinds: a\.conllu is CoNLL-U, tagged\.txt is"):
        part_of_speech([path, tmp_path / "tagged.txt"])


def test_labels_of_a_document_are_made_when_asked_for(tmp_path):
    data = part_of_speech(treebank(tmp_path / "a.conllu"))
    first, again = data.labels(0), data.labels(0)
    assert first.positions is not again.positions
    np.testing.assert_array_equal(first.classes, again.classes)
