import bz2
import gzip
import itertools
import lzma
import os
import re
import sysconfig
from pathlib import Path

import pytest
import zstandard

from mlstm.corpus.sources import SPLITS, documents, split_by_name
from mlstm.errors import InputError

TEXT = b"".join(b"line %d of a text that is long enough to be cut\n" % n for n in range(40_000))
COMPRESS = {
    ".gz": gzip.compress,
    ".GZ": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


def message(call) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def stdlib():
    return list(documents("python_stdlib"))


def test_the_embedded_corpus_is_about_nine_megabytes_of_several_hundred_files(stdlib):
    assert 6e6 < sum(file.size for file in stdlib) < 14e6
    assert len(stdlib) > 300
    assert {"argparse.py", "json/decoder.py"} <= {file.name for file in stdlib}


@pytest.mark.parametrize(
    "left_out",
    [
        "test",
        "tests",
        "idle_test",
        "site-packages",
        "dist-packages",
        "encodings",
        "lib2to3",
        "idlelib",
    ],
)
def test_the_embedded_corpus_has_no_file_from_a_folder_that_is_left_out(stdlib, left_out):
    assert not [file.name for file in stdlib if left_out in file.name.split("/")[:-1]]


@pytest.mark.parametrize(
    "generated", ["keyword.py", "token.py", "stringprep.py", "pydoc_data/topics.py"]
)
def test_generated_files_of_the_standard_library_are_left_out(stdlib, generated):
    assert (Path(sysconfig.get_path("stdlib")) / generated).exists()
    assert generated not in {file.name for file in stdlib}


def test_the_system_configuration_is_left_out(stdlib):
    assert not [file.name for file in stdlib if re.search(r"_sysconfigdata|/config-", file.name)]


def test_the_split_of_the_embedded_corpus_is_near_90_5_5(stdlib):
    share = dict.fromkeys(SPLITS, 0.0)
    for file in stdlib:
        share[file.split] += 1 / len(stdlib)
    assert share == pytest.approx({"train": 0.9, "validation": 0.05, "test": 0.05}, abs=0.03)


def test_the_split_of_a_document_hangs_on_its_name_alone():
    assert [split_by_name(name) for name in ("argparse.py", "shutil.py", "getpass.py")] == [
        "train",
        "test",
        "validation",
    ]


def test_packages_are_mixed_in_the_order_of_the_embedded_corpus(stdlib):
    folders = [file.name.rpartition("/")[0] for file in stdlib]
    runs = sum(1 for a, b in itertools.pairwise(folders) if a == b != "")
    assert runs < len(folders) / 20


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_file_reads_as_the_plain_one(tmp_path, suffix):
    (tmp_path / f"a.txt{suffix}").write_bytes(COMPRESS[suffix](TEXT))
    (document,) = documents(tmp_path / f"a.txt{suffix}")
    assert (document.name, document.data) == ("a.txt", TEXT)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_members_of_a_compressed_file_are_read_one_after_another(tmp_path, suffix):
    member = COMPRESS[suffix]
    (tmp_path / f"a{suffix}").write_bytes(member(TEXT) + member(b"more"))
    (document,) = documents(tmp_path / f"a{suffix}")
    assert document.data == TEXT + b"more"


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_compressed_file_that_was_cut_short_is_refused_by_name(tmp_path, suffix, keep):
    packed = COMPRESS[suffix](TEXT)
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(packed[: int(len(packed) * keep)])
    (document,) = documents(path)
    assert str(path) in message(lambda: document.data)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(TEXT)
    (document,) = documents(path)
    assert f"{path}: damaged, cut short, or not a {suffix} file" in message(lambda: document.data)


def test_a_compressed_bomb_is_read_in_bounded_pieces(tmp_path):
    path = tmp_path / "zeros.zst"
    path.write_bytes(zstandard.ZstdCompressor(level=3).compress(bytes(1 << 30)))
    (document,) = documents(path)
    assert max(len(data) for data, _ in document.chunks()) <= 1 << 28


def test_bytes_that_are_no_utf8_are_kept(tmp_path):
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9 \x00\xff")
    (document,) = documents(tmp_path / "latin1.txt")
    assert document.data == b"caf\xe9 \x00\xff"


def test_a_folder_is_read_in_the_order_of_its_paths_without_what_is_hidden(tmp_path):
    for name in ("b.txt", "a/z.txt", "a/.hidden.txt", ".git/config", "c.txt.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(b"x") if name.endswith("gz") else b"x")
    assert [file.name for file in documents(tmp_path)] == ["a/z.txt", "b.txt", "c.txt"]


def test_a_loop_of_symbolic_links_ends(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/text.txt").write_bytes(b"x")
    (tmp_path / "a/up").symlink_to(tmp_path)
    assert [file.name for file in documents(tmp_path)] == ["a/text.txt"]


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes(b"x")
    assert [file.name for file in documents(tmp_path)] == ["text"]


def test_a_dangling_link_is_named_when_it_is_read(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (document,) = documents(tmp_path)
    assert "No such file" in message(lambda: document.data)


def test_a_missing_source_is_one_line_with_its_name(tmp_path):
    assert "nothere: no such file" in message(lambda: documents(tmp_path / "nothere"))


def test_an_empty_file_is_one_line_with_its_name(tmp_path):
    (tmp_path / "void.txt").touch()
    assert "void.txt is empty" in message(lambda: documents(tmp_path / "void.txt"))


def test_a_folder_without_files_is_one_line_with_its_name(tmp_path):
    assert "no files" in message(lambda: documents(tmp_path))


def test_no_source_is_one_line():
    assert "no source" in message(lambda: documents(""))


def test_a_file_without_read_permission_is_one_line_with_its_name(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    (document,) = documents(path)
    assert "secret" in message(lambda: document.data)
    assert "Permission denied" in message(lambda: document.data)


def test_a_text_beside_its_compressed_copy_stays_another_document(tmp_path):
    for name in ("a.txt", "a.txt.gz", "b.txt.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"x") if name.endswith("gz") else b"x")
    assert [file.name for file in documents(tmp_path)] == ["a.txt", "a.txt.gz", "b.txt"]


@pytest.mark.parametrize("source", ["~nobody-of-this-name/text", "x" * 300, "a\0b"])
def test_a_source_that_no_file_can_have_for_a_name_is_one_line(source):
    assert source[:20] in message(lambda: documents(source)).replace("\\x00", "\0")
