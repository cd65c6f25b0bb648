"""A folder that is whole or not there: written beside its place, hidden, then renamed."""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PARTIAL = ".partial"


@contextlib.contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A hidden new folder beside `folder`, to fill and then to `publish`; removed on the way out.

    It is locked while its process lives. What a killed process left is found by its free lock and
    removed here; several processes at work on the same `folder` do not disturb each other.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for remains in folder.parent.glob(f".{glob.escape(folder.name)}.*{_PARTIAL}"):
        with _locked(remains) as dead:
            if dead:
                shutil.rmtree(remains, ignore_errors=True)
    while True:
        new = Path(tempfile.mkdtemp(_PARTIAL, f".{folder.name}.", folder.parent))
        with _locked(new):
            if not new.exists():  # taken for a dead one's between its making and its locking
                continue
            try:
                yield new
            finally:
                shutil.rmtree(new, ignore_errors=True)
            return


def publish(new: Path, folder: Path, *, replace: bool = False) -> bool:
    """Gives `new` its name; False when the name was taken. `replace` removes what is there.

    Files are flushed to the disk before, the name after: what has the name is always whole. (A
    crash between the two renames of a replacement leaves nothing under it.)
    """
    for path in new.iterdir():
        flush(path)
    mask = os.umask(0)
    os.umask(mask)
    new.chmod(0o777 & ~mask)
    flush(new)
    if replace and folder.exists():
        with unfinished(folder) as grave:
            os.rename(folder, grave / "old")
            os.rename(new, folder)
    else:
        try:
            os.rename(new, folder)
        except OSError:
            if folder.exists():
                return False
            raise
    flush(folder.parent)
    return True


def flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder's lock was free; it is held inside. False where locks do not exist."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(descriptor)
