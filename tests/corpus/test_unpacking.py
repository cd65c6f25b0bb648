"""An archive gives the one file that is wanted of it, however hostile it is."""

import io
import stat
import tarfile
import zipfile

import pytest

from mlstm.corpus.unpacking import unpack
from mlstm.errors import InputError

TEXT = b"a text " * 1000


def made(path, members: dict[str, bytes]):
    """An archive of the kind that its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, data in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_one_member_is_written_and_nothing_else(tmp_path, name):
    members = {"../evil": b"x", "/tmp/evil": b"x", "in/text": TEXT, "other": b"x"}
    archive = made(tmp_path / name, members)
    unpack(archive, "in/text", tmp_path / "out" / "text", len(TEXT))
    assert (tmp_path / "out" / "text").read_bytes() == TEXT
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([name, "out", "text"])


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_what_is_larger_than_the_published_file_is_not_unpacked(tmp_path, name):
    archive = made(tmp_path / name, {"text": b"0" * 10_000_000})
    assert archive.stat().st_size < 100_000
    with pytest.raises(InputError, match="this is another archive"):
        unpack(archive, "text", tmp_path / "text", len(TEXT))
    assert not (tmp_path / "text").exists()


def test_a_zip_that_lies_about_a_size_is_stopped(tmp_path):
    archive = made(tmp_path / "a.zip", {"text": b"0" * 10_000_000})
    data = archive.read_bytes()
    said = (10_000_000).to_bytes(4, "little")
    assert data.count(said) == 2
    archive.write_bytes(data.replace(said, (10).to_bytes(4, "little")))
    with pytest.raises(InputError):
        unpack(archive, "text", tmp_path / "text", 1000)
    assert not (tmp_path / "text").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_link_is_no_text(tmp_path, name):
    if name.endswith("zip"):
        entry = zipfile.ZipInfo("text")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(entry, "/etc/hostname")
    else:
        link = tarfile.TarInfo("text")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            archive.addfile(link)
    with pytest.raises(InputError, match="no regular file"):
        unpack(tmp_path / name, "text", tmp_path / "text", 1000)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_damaged_archive_is_one_line_and_leaves_nothing(tmp_path, name):
    archive = made(tmp_path / name, {"text": TEXT})
    data = archive.read_bytes()
    for damaged in (data[: len(data) // 2], data[:40] + b"\0\0\0\0" + data[44:], b""):
        archive.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            unpack(archive, "text", tmp_path / "text", len(TEXT))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "text").exists()


def test_an_archive_without_the_member_says_so(tmp_path):
    archive = made(tmp_path / "a.zip", {"text": TEXT})
    with pytest.raises(InputError, match="there is no novel in this archive"):
        unpack(archive, "novel", tmp_path / "novel", 10)
