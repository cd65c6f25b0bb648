"""Files of a task."""

import gzip

import pytest

from mlstm.errors import InputError
from probing.tasks.text_files import given, official_splits, read_lines, split_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("en_ewt-ud-train.conllu", "train"),
        ("dev_binary_sent.csv", "dev"),
        ("test.txt.gz", "test"),
        ("sst.Validation.jsonl", "dev"),
        ("trains.csv", ""),
        ("latest.csv", ""),
        ("custrev.pos", ""),
    ],
)
def test_the_name_of_a_file_says_its_official_split(name, split):
    assert split_of(name) == split


def test_one_part_alone_is_no_official_split():
    assert official_splits(["a-train.csv", "b-train.csv"]) == {"a-train.csv": "", "b-train.csv": ""}
    assert official_splits(["dev.csv", "test.csv"]) == {"dev.csv": "", "test.csv": ""}
    assert official_splits(["train.csv", "dev.csv"]) == {"train.csv": "train", "dev.csv": "dev"}


def test_lines_end_in_newlines_alone_and_have_no_mark_or_carriage_return(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress("\ufeffa\u2028b\x0cc\r\n\nd".encode()))
    assert list(read_lines(path)) == [(1, "a\u2028b\x0cc"), (2, ""), (3, "d")]


def test_a_name_with_a_comma_is_a_file_where_there_is_one(tmp_path):
    for name in ("a,b.txt", "a", "b.txt"):
        (tmp_path / name).write_text("")
    assert given(str(tmp_path / "a,b.txt")) == [tmp_path / "a,b.txt"]
    assert given(f"{tmp_path / 'a'},{tmp_path / 'b.txt'}") == [tmp_path / "a", tmp_path / "b.txt"]
    with pytest.raises(InputError, match="an empty name"):
        given(f"{tmp_path / 'a'},")
    with pytest.raises(InputError, match="an empty name"):
        given([])
