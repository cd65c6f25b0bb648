"""Files from the web are whole, the ones that are wanted, or not there."""

import hashlib
import os

import numpy as np
import pytest

from mlstm import downloads
from mlstm.errors import InputError

DATA = bytes(np.random.default_rng(0).integers(0, 256, 3 << 20, dtype=np.uint8))
SHA256 = hashlib.sha256(DATA).hexdigest()


def test_a_file_is_downloaded_once_and_checked(server, tmp_path):
    (server.folder / "a").write_bytes(DATA)
    told = []
    for _ in range(2):
        downloads.fetch(f"{server.address}/x/a", tmp_path / "in" / "a", SHA256,
                        lambda *counts: told.append(counts))  # fmt: skip
    assert (tmp_path / "in" / "a").read_bytes() == DATA
    assert server.asked == [None]
    assert told[-1] == (len(DATA), len(DATA))


def test_a_transfer_that_was_cut_off_goes_on_where_it_was(server, tmp_path):
    (server.folder / "a").write_bytes(DATA)
    with pytest.raises(InputError, match="cut off"):
        downloads.fetch(f"{server.address}/cut/a", tmp_path / "a", SHA256)
    assert not (tmp_path / "a").exists()
    downloads.fetch(f"{server.address}/cut/a", tmp_path / "a", SHA256)
    assert (tmp_path / "a").read_bytes() == DATA
    assert server.asked == [None, f"bytes={len(DATA) // 2}-"]


@pytest.mark.parametrize("kind", ["x", "bad", "wrong"])
def test_parts_of_two_files_are_not_put_together(server, tmp_path, kind):
    (server.folder / "a").write_bytes(b"0" * len(DATA))
    with pytest.raises(InputError, match="cut off"):
        downloads.fetch(f"{server.address}/cut/a", tmp_path / "a")
    (server.folder / "a").write_bytes(DATA)
    downloads.fetch(f"{server.address}/{kind}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.glob(".a.part*")) == []


def test_a_part_that_begins_elsewhere_is_not_put_behind(server, tmp_path):
    (server.folder / "a").write_bytes(DATA)
    with pytest.raises(InputError, match="cut off"):
        downloads.fetch(f"{server.address}/cut/a", tmp_path / "a")
    downloads.fetch(f"{server.address}/wrong/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA


def test_a_part_longer_than_the_file_is_begun_anew(server, tmp_path):
    (server.folder / "a").write_bytes(DATA)
    (tmp_path / ".a.part").write_bytes(DATA + b"0")
    (tmp_path / ".a.part.version").write_text(f'"{SHA256}"')
    downloads.fetch(f"{server.address}/x/a", tmp_path / "a", SHA256)
    assert (tmp_path / "a").read_bytes() == DATA
    assert server.asked == [f"bytes={len(DATA) + 1}-", None]


def test_a_server_that_has_no_bytes_at_all_is_asked_once(server, tmp_path):
    (server.folder / "a").write_bytes(DATA)
    with pytest.raises(InputError, match="the server says 416"):
        downloads.fetch(f"{server.address}/none/a", tmp_path / "a")
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ["old", "x"])
def test_what_is_left_of_another_file_is_written_over(server, tmp_path, kind):
    (server.folder / "a").write_bytes(DATA)
    left = DATA[:100] if kind == "old" else b"0" * (len(DATA) + 1)
    (tmp_path / ".a.part").write_bytes(left)
    downloads.fetch(f"{server.address}/{kind}/a", tmp_path / "a", SHA256)
    assert (tmp_path / "a").read_bytes() == DATA


def test_another_file_than_was_published_is_not_kept(server, tmp_path):
    (server.folder / "a").write_bytes(DATA[:-1])
    with pytest.raises(InputError, match="not the file that was published"):
        downloads.fetch(f"{server.address}/x/a", tmp_path / "a", SHA256)
    assert not [path for path in tmp_path.glob("*a*") if path.is_file() and path.stat().st_size]


def test_a_file_that_is_larger_than_the_published_one_is_given_up(server, tmp_path):
    (server.folder / "a").write_bytes(DATA)
    with pytest.raises(InputError, match="not the file that was published, which has 1,000"):
        downloads.fetch(f"{server.address}/x/a", tmp_path / "in" / "a", largest=1000)
    left = [path for path in (tmp_path / "in").iterdir() if path.stat().st_size]
    assert not left
    downloads.fetch(f"{server.address}/x/a", tmp_path / "in" / "a", largest=len(DATA))
    assert (tmp_path / "in" / "a").read_bytes() == DATA


def test_a_redirection_is_followed_a_few_times_and_no_more(server, tmp_path):
    (server.folder / "a").write_bytes(DATA)
    away = f"{server.address}/away/{server.address}/x/a"
    downloads.fetch(away, tmp_path / "a", SHA256)
    assert (tmp_path / "a").read_bytes() == DATA
    server.asked.clear()
    with pytest.raises(InputError) as caught:
        downloads.fetch(f"{server.address}/away/a", tmp_path / "b")
    assert len(server.asked) <= downloads.REDIRECTIONS + 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["file", "ftp"])
def test_a_redirection_leads_to_the_web_alone(server, tmp_path, kind):
    (tmp_path / "secret").write_bytes(b"secret")
    with pytest.raises(InputError, match=r"not (followed|allowed)"):
        downloads.fetch(f"{server.address}/away/{kind}://{tmp_path}/secret", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_where_no_sha256_is_known_the_first_file_s_is_the_right_one(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(DATA)
    downloads.verify(file, None, "get it again")
    os.utime(file, (0, 0))
    downloads.verify(file, None, "get it again")  # the same bytes at another time
    file.write_bytes(DATA[:-1])
    with pytest.raises(InputError, match="that was here first"):
        downloads.verify(file, None, "get it again")
    with pytest.raises(InputError, match="that was published"):
        downloads.verify(file, SHA256, "get it again")
