import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mlstm.corpus import folders
from mlstm.corpus.folders import CannotWrite, publish, recover, unfinished

ROOT = Path(__file__).parents[2]
# Replaces the folder named by its argument, but dies in the middle.
KILLED = """
import os, pathlib, signal, sys
from mlstm.corpus.folders import publish, unfinished
rename = os.rename
def rename_once(*names):
    rename(*names)
    os.kill(os.getpid(), signal.SIGKILL)
os.rename = rename_once
folder = pathlib.Path(sys.argv[1])
with unfinished(folder) as new:
    (new / "text").write_text("new")
    publish(new, folder, replace=True)
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "text").write_text("old")
    return folder


def replace(folder):
    with unfinished(folder) as new:
        (new / "text").write_text("new")
        publish(new, folder, replace=True)


def test_a_replaced_folder_leaves_nothing_beside_it(folder):
    replace(folder)
    assert (folder / "text").read_text() == "new"
    assert os.listdir(folder.parent) == ["folder"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize(("rename", "after"), [(1, False), (1, True), (2, False)])
def test_whatever_stops_a_replacement_leaves_the_old_folder(
    folder, monkeypatch, error, rename, after
):
    direct, calls = os.rename, []

    def stopped(*names):
        calls.append(names)
        if len(calls) == rename and not after:
            raise error
        direct(*names)
        if len(calls) == rename:
            raise error

    monkeypatch.setattr(os, "rename", stopped)
    with pytest.raises(CannotWrite if error is OSError else error):
        replace(folder)
    assert (folder / "text").read_text() == "old"
    assert os.listdir(folder.parent) == ["folder"]


def test_an_interrupt_after_the_last_rename_leaves_the_new_folder(folder, monkeypatch):
    direct, calls = os.rename, []

    def stopped(*names):
        calls.append(names)
        direct(*names)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        replace(folder)
    assert (folder / "text").read_text() == "new"
    assert os.listdir(folder.parent) == ["folder"]


def test_a_folder_whose_replacement_was_killed_gets_its_name_back(folder):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not folder.exists(), "it was to die between the two renames"
    recover(folder)
    assert (folder / "text").read_text() == "old"
    assert os.listdir(folder.parent) == ["folder"]


def test_recovering_leaves_what_is_of_a_folder_with_a_longer_name(folder):
    remains = folder.parent / ".folder.b.abcd_123.partial"
    (remains / "old").mkdir(parents=True)
    (remains / "old" / "text").write_text("of folder.b")
    shutil.rmtree(folder)
    recover(folder)
    assert os.listdir(folder.parent) == [".folder.b.abcd_123.partial"]
    recover(folder.parent / "folder.b")
    assert os.listdir(folder.parent) == ["folder.b"]


def test_recovering_does_not_touch_a_name_that_is_taken_again(folder):
    grave = folder.parent / ".folder.abcd_123.partial"
    (grave / "old").mkdir(parents=True)
    (grave / "old/text").write_text("older")
    recover(folder)
    assert (folder / "text").read_text() == "old"
    assert os.listdir(folder.parent) == ["folder"]


def test_a_new_folder_that_a_cleaner_has_seized_is_left_to_it(folder, monkeypatch):
    """The cleaner locks it between its making and its locking, and removes it a little later."""
    direct, seized = tempfile.mkdtemp, []

    def seize(*names):
        new = direct(*names)
        if not seized:
            descriptor = os.open(new, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            seized.append((new, descriptor))
        return new

    monkeypatch.setattr(tempfile, "mkdtemp", seize)
    with unfinished(folder) as new:
        name, descriptor = seized[0]
        shutil.rmtree(name)
        os.close(descriptor)
        assert new.is_dir()


def test_a_new_folder_that_a_cleaner_has_removed_already_is_made_again(folder, monkeypatch):
    direct, removed = tempfile.mkdtemp, []

    def remove(*names):
        new = direct(*names)
        if not removed:
            removed.append(new)
            os.rmdir(new)
        return new

    monkeypatch.setattr(tempfile, "mkdtemp", remove)
    with unfinished(folder) as new:
        assert new.is_dir()


def test_where_there_are_no_locks_folders_are_made_and_none_is_cleared_away(folder, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(folders.fcntl, "flock", no_locks)
    with unfinished(folder) as new:
        recover(folder)
        assert new.is_dir()
