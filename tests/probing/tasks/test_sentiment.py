"""Sentiment as labelled data, from each form that reviews are published in."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from probing.tasks.sentiment import sentiment
from probing.tasks.trees import LABELS


def answers(data):
    """(name, text, class) of each document, its one label checked to be at the last byte."""
    found = []
    for i, document in enumerate(data.documents):
        labels = data.labels(i)
        assert labels.positions.tolist() == [len(document.data) - 1]
        assert (labels.starts.tolist(), labels.ends.tolist()) == ([0], [len(document.data)])
        found.append((document.name, document.data.decode(), str(data.target(labels)[0])))
    return found


def message(source, **options):
    with pytest.raises(InputError) as caught:
        sentiment(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_binary_treebank_has_its_published_sizes_and_split(mlstm_data):
    folder = mlstm_data / "sentiment"
    data = sentiment([folder / f"{part}_binary_sent.csv" for part in ("train", "dev")])
    splits = np.array([document.split for document in data.documents])
    positive = np.array([answer == "positive" for _, _, answer in answers(data)])
    assert {s: int((splits == s).sum()) for s in ("train", "dev")} == {"train": 6920, "dev": 872}
    assert [int(positive[splits == s].sum()) for s in ("train", "dev")] == [3610, 444]
    assert max(len(d.data) for d in data.documents if d.split == "dev") == 239
    # No test file here: dev is the test.
    assert len(data.indices("test")) == 872
    assert data.documents[0].data == (
        b"A stirring, funny and finally transporting re-imagining of Beauty and the Beast and "
        b"1930s horror films"
    )


def test_of_a_folder_with_an_official_split_the_rest_is_left_alone_and_named(mlstm_data):
    data = sentiment(mlstm_data / "sentiment")
    assert len(data.documents) == 7792
    assert data.notes == ("left alone: custrev.neg, custrev.pos, movie_reviews_2000.jsonl.gz",)


def test_customer_reviews_are_a_line_each_and_empty_ones_are_named(mlstm_data):
    folder = mlstm_data / "sentiment"
    data = sentiment(f"{folder / 'custrev.pos'},{folder / 'custrev.neg'}")
    found = [answer for _, _, answer in answers(data)]
    empty = [name.split(":")[0] for name, _ in data.skipped]
    assert found.count("positive") + empty.count("custrev.pos") == 2407
    assert found.count("negative") + empty.count("custrev.neg") == 1368
    assert all(reason == "empty" for _, reason in data.skipped)


def test_movie_reviews_have_their_rating_and_a_threshold_that_is_said(mlstm_data):
    data = sentiment(mlstm_data / "sentiment" / "movie_reviews_2000.jsonl.gz")
    assert (data.classes, data.numbers, data.otherwise) == (("positive",), ("rating",), "negative")
    ratings = np.array([data.labels(i).numbers[0, 0] for i in range(len(data.documents))])
    positive = np.array([answer == "positive" for _, _, answer in answers(data)])
    assert (positive == (ratings >= 7)).all()
    assert (int(positive.sum()), len(positive)) == (1000, 2000)
    assert "above 5.5" in data.notes[0]


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
REVIEWS = st.lists(st.tuples(TEXTS.filter(str.strip), st.booleans()), max_size=6).map(
    lambda rows: [("good", True), ("bad", False), *rows]
)


@settings(deadline=None)
@given(REVIEWS, st.sampled_from(["csv", "jsonl"]))
def test_texts_of_any_letters_quotes_and_line_ends_come_back(tmp_path_factory, rows, suffix):
    path = tmp_path_factory.mktemp("reviews") / f"a.{suffix}"
    if suffix == "csv":
        quoted = [f'{int(good)},"{text.replace(chr(34), chr(34) * 2)}"' for text, good in rows]
        content = "\r\n".join(["label,sentence", *quoted])
    else:
        content = "\n".join(json.dumps({"text": t, "label": int(g)}) for t, g in rows)
    path.write_bytes(content.encode())
    assert [(text, answer == "positive") for _, text, answer in answers(sentiment(path))] == rows


def test_a_review_may_be_longer_than_the_csv_module_takes_by_itself(tmp_path):
    (tmp_path / "a.csv").write_text(f'label,text\n1,"{"a" * 200_000}"\n0,b\n')
    assert [len(d.data) for d in sentiment(tmp_path / "a.csv").documents] == [200_000, 1]


def test_ratings_in_the_middle_are_left_out_and_named(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    rows = [(5, "great"), (3, "so so"), (1, "awful"), (4, "fine"), (2, " ")]
    path.write_bytes(
        gzip.compress(
            "\n".join(
                json.dumps({"id": 7, "overall": r, "reviewText": t}) for r, t in rows
            ).encode()
        )
    )
    data = sentiment(path)
    assert answers(data) == [
        ("a.jsonl.gz:1", "great", "positive"),
        ("a.jsonl.gz:3", "awful", "negative"),
        ("a.jsonl.gz:4", "fine", "positive"),
    ]
    assert data.skipped == (("a.jsonl.gz:5", "empty"), ("a.jsonl.gz:2", "rating 3 is the middle"))


def test_tabs_have_no_quotes_and_labels_may_be_names(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('words\tmood\n"quoted\tpos\nso "dull"\tNegative\n')
    data = sentiment(path, text_field="words", label_field="mood")
    assert answers(data) == [
        ("a.tsv:2", '"quoted', "positive"),
        ("a.tsv:3", 'so "dull"', "negative"),
    ]


@pytest.fixture
def trees(tmp_path):
    folder = tmp_path / "trees"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        (folder / f"{part}.txt").write_text(
            "(3 (2 It) (4 (2 's) (4 great)))\n(2 (2 It) (2 is))\n(0 (2 It) (0 stinks))\n"
            f"(1 (1 Dull) (2 {part}))\n"
        )
    (folder / "README.txt").write_text("Trees.\n")
    return folder


def test_trees_are_labelled_by_their_sentence_and_neutral_ones_left_out(trees):
    data = sentiment(trees)
    assert [
        (d.split, text, answer)
        for d, (_, text, answer) in zip(data.documents, answers(data), strict=True)
        if d.split == "train"
    ] == [
        ("train", "It 's great", "positive"),
        ("train", "It stinks", "negative"),
        ("train", "Dull train", "negative"),
    ]
    assert [len(data.indices(split)) for split in ("train", "dev", "test")] == [3, 3, 3]
    assert sorted(data.skipped) == [(f"{p}.txt:2", "neutral") for p in ("dev", "test", "train")]
    assert data.notes[1:] == (
        "4 documents of the other parts are in the train part too",
        "left alone: README.txt",
    )


def test_trees_have_five_classes_and_a_number_when_asked(trees):
    data = sentiment(trees, fine=True)
    assert (data.classes, data.numbers, data.otherwise) == (LABELS, ("rating",), "")
    assert [answer for _, _, answer in answers(data)[:4]] == [
        "positive",
        "neutral",
        "very negative",
        "negative",
    ]
    assert [float(data.labels(i).numbers[0, 0]) for i in range(4)] == [3, 2, 0, 1]


def test_folders_of_reviews_are_read_without_the_unlabelled_ones(tmp_path):
    for part in ("train", "test"):
        for label in ("pos", "neg", "unsup"):
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            (folder / "0_9.txt").write_bytes(f"{part} {label}<br />\n".encode())
    data = sentiment(tmp_path)
    assert answers(data) == [
        ("test/pos/0_9.txt", "test pos<br />\n", "positive"),
        ("test/neg/0_9.txt", "test neg<br />\n", "negative"),
        ("train/pos/0_9.txt", "train pos<br />\n", "positive"),
        ("train/neg/0_9.txt", "train neg<br />\n", "negative"),
    ]
    assert [document.split for document in data.documents] == ["test"] * 2 + ["train"] * 2
    (tmp_path / "test" / "neg" / "0_9.txt").unlink()
    assert "test/neg: no .txt files" in message(tmp_path)


def test_equal_texts_are_on_one_side_of_the_split(tmp_path):
    (tmp_path / "a.pos").write_text("".join(f"good {k % 5}\n" for k in range(50)))
    (tmp_path / "a.neg").write_text("".join(f"bad {k % 5}\n" for k in range(50)))
    data = sentiment(tmp_path)
    parts = [{data.documents[i].data for i in data.indices(s)} for s in ("train", "dev", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 10


def test_malformed_files_are_named_with_the_line(tmp_path):
    def wrong(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return message(path)

    assert 'a.csv:1: no field "text" or "sentence"' in wrong("a.csv", b"mood,words\n1,a\n")
    assert "(fields: mood, words). Name it with text_field." in wrong("a.csv", b"mood,words\n1,a\n")
    assert "(fields: none)" in wrong("a.csv", b"")
    assert "a.csv: no documents in it" in wrong("a.csv", b"label,text\n")
    assert "a.csv:4: 3 field(s), and the header names 2: label, text" in wrong(
        "a.csv", b'label,text\n1,"a\nb"\n0,c,d\n'
    )
    assert "a.csv:2: malformed csv" in wrong("a.csv", b'label,text\n1,"a"b\n')
    assert "a.csv:2: malformed csv: unexpected end of data" in wrong(
        "a.csv", b'label,text\n1,"a\n0,b\n1,c\n'
    )
    assert "a.csv:3: byte 0xff is not UTF-8" in wrong("a.csv", b"label,text\n1,a\n0,\xff\n")
    assert "a.csv:2: the label is 'good'" in wrong("a.csv", b"label,text\ngood,a\n")
    assert "a.csv:2: the label is 'nan'" in wrong("a.csv", b"label,text\nnan,a\n")
    assert "one class only (positive: 2 documents)" in wrong("a.csv", b"label,text\n1,a\n1,b\n")
    assert "some labels are names and some are numbers" in wrong(
        "a.csv", b"label,text\n1,a\nneg,b\n"
    )
    assert "no document with a label" in wrong("a.csv", b"label,text\n1, \n")
    assert "a.jsonl:2: not JSON" in wrong("a.jsonl", b'{"text": "a", "label": 1}\n{"text"\n')
    assert "a.jsonl:1: not a JSON object" in wrong("a.jsonl", b"[1]\n")
    assert "a.jsonl:1: the text is null, not a string" in wrong(
        "a.jsonl", b'{"text": null, "label": 1}\n'
    )
    assert "a.jsonl:1: the text is not Unicode" in wrong(
        "a.jsonl", b'{"text": "\\ud800", "label": 1}\n'
    )
    assert "a.jsonl:2: no field" in wrong("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n')
    assert "a.txt:2: not a sentiment tree: unbalanced" in wrong("a.txt", b"(3 good)\n(1 (2 a)\n")
    assert "Labelled reviews are .csv" in wrong("b.txt", b"no tree\n")


def test_an_empty_class_and_a_part_with_one_class_are_refused(tmp_path):
    (tmp_path / "a.pos").write_text("good\n")
    assert "one class only (positive: 1 documents)" in message(tmp_path / "a.pos")
    (tmp_path / "a.neg").write_text("")
    assert "a.neg: no documents in it" in message(tmp_path)
    (tmp_path / "a.neg").unlink()
    (tmp_path / "a.pos").unlink()
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t1\nb\t0\n")
    (tmp_path / "test.tsv").write_text("sentence\tlabel\na\t-1\nb\t-1\n")
    assert "the test part has one class only (negative: 2 documents)" in message(tmp_path)


def test_files_of_several_forms_and_five_classes_of_two_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("label,text\n1,a\n0,b\n")
    assert "five classes are those of sentiment trees" in message(tmp_path, fine=True)
    (tmp_path / "a.pos").write_text("good\n")
    assert "several forms (fields: a.csv; a file for each class: a.pos)" in message(tmp_path)
    assert "no such file or folder" in message(tmp_path / "b.csv")
