from pathlib import Path

import pytest

from mlstm.corpus.files import read_chunks, refuse_archive, text_name, user_path
from mlstm.corpus.sources import documents
from mlstm.errors import InputError


def frame(window_log: int, text: bytes) -> bytes:
    """A zstd frame of one raw block that asks for a window of 2**window_log bytes (RFC 8878)."""
    block = (len(text) << 3 | 1).to_bytes(3, "little") + text
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3]) + block


@pytest.mark.parametrize("window_log", [27, 28, 31])
def test_a_zstd_frame_with_a_long_window_is_read(tmp_path, window_log):
    (tmp_path / "a.zst").write_bytes(frame(window_log, b"some text"))
    assert b"".join(data for data, _ in read_chunks(tmp_path / "a.zst")) == b"some text"


@pytest.mark.parametrize(
    "name", ["a.zip", "A.ZIP", "a.7z", "a.rar", "a.tar", "a.tgz", "a.tar.gz", "a.Tar.BZ2"]
)
def test_an_archive_is_refused_with_what_would_be_right(tmp_path, name):
    (tmp_path / name).write_bytes(b"text")
    for call in (
        lambda: documents(tmp_path / name),
        lambda: next(read_chunks(tmp_path / name)),
    ):
        with pytest.raises(InputError, match="unpack it and give the folder") as caught:
            call()
        assert name in str(caught.value)


def test_a_name_that_only_resembles_an_archives_is_none():
    refuse_archive("guitar")
    refuse_archive("zip.txt")


def test_the_name_of_a_text_is_without_its_compression_in_small_or_capital_letters():
    names = ["a.txt", "a.txt.gz", "a.txt.GZ", "a.txt.Bz2", "a.xz", "a.zst"]
    assert [text_name(name) for name in names] == ["a.txt"] * 4 + ["a"] * 2


@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs", "https"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_that_is_not_of_this_machine_is_refused_in_one_line(scheme, kind):
    with pytest.raises(InputError, match=f"paths are local, and {scheme}:// is not; mount it, or"):
        user_path(kind(f"{scheme}://bucket/reviews"))


@pytest.mark.parametrize("path", ["a:/b", "runs/gs:/x", "C:b", "notes:"])
def test_a_colon_in_a_name_is_no_scheme(path):
    assert user_path(path) == Path(path)
