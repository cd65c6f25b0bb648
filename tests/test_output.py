"""Files are written beside their place and renamed."""

import pytest

from mlstm.errors import InputError
from mlstm.output import write_whole


def test_a_file_is_written_whole_and_its_folder_made(tmp_path):
    write_whole(tmp_path / "new" / "out.json", "{}")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.json"]


def test_a_file_that_cannot_be_written_is_named_and_what_was_there_stays(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "file" / "out.json", "{}")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder: cannot be written"):
        write_whole(tmp_path / "folder", "{}")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
