import os
import shutil

import pytest

from mlstm.corpus import identity
from mlstm.corpus.identity import describe, is_same
from mlstm.corpus.sources import documents


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"one")
    (folder / "b.txt").write_bytes(b"two")
    return folder


def described(source):
    return describe(source, list(documents(source)))


def same_age(path, as_of):
    os.utime(path, ns=(as_of.st_atime_ns, as_of.st_mtime_ns))


def test_texts_of_one_name_and_size_in_two_folders_are_different(tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "train.txt").write_bytes(b"text %d" % number)
    same_age(tmp_path / "2/train.txt", (tmp_path / "1/train.txt").stat())
    assert not is_same(tmp_path / "2/train.txt", described(tmp_path / "1/train.txt"))


@pytest.mark.parametrize("source", ["", "a.txt"])
def test_an_edit_that_keeps_size_and_time_is_seen(texts, source):
    before = described(texts / source)
    age = (texts / "a.txt").stat()
    (texts / "a.txt").write_bytes(b"eno")
    same_age(texts / "a.txt", age)
    assert not is_same(texts / source, before)


def test_a_file_that_comes_goes_or_is_renamed_makes_another_source(texts):
    before = described(texts)
    (texts / "a.txt").rename(texts / "c.txt")
    assert not is_same(texts, before)
    (texts / "c.txt").unlink()
    assert not is_same(texts, before)
    (texts / "a.txt").write_bytes(b"one")
    assert is_same(texts, before)


def test_a_copy_elsewhere_is_the_same_text(texts, tmp_path):
    before = described(texts)
    shutil.copytree(texts, tmp_path / "copy")
    assert is_same(tmp_path / "copy", before)


def test_nothing_is_read_of_files_that_were_not_touched(texts, monkeypatch):
    before = described(texts)

    def read(*_):
        raise AssertionError("read")

    monkeypatch.setattr(identity, "read_raw", read)
    assert is_same(texts, before)


def test_another_version_of_the_embedded_corpus_is_the_same(texts):
    before = {**described("python_stdlib"), "version": "2.7"}
    assert is_same("python_stdlib", before)
    assert not is_same(texts, before)
    assert not is_same("python_stdlib", described(texts))


def test_a_file_that_cannot_be_read_is_part_of_the_description(texts):
    before = described(texts)
    (texts / "link").symlink_to("nowhere")
    assert not is_same(texts, before)
    assert is_same(texts, described(texts))


def test_an_error_of_the_progress_is_not_taken_for_one_of_the_file(texts):
    def broken(done):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        describe(texts, list(documents(texts)), broken)
