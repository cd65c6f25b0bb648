"""A folder that is whole or not there: written beside its place, hidden, then renamed."""

import contextlib
import enum
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlstm.errors import InputError

_PARTIAL = ".partial"
_OLD = "old"
# A cleaner can take a new folder for a dead one's only in the instant before it is locked.
_TRIES = 100


class CannotWrite(InputError):
    """The disk refused an output: no space, no right, no such place."""


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around what writes the output `folder`, and nothing else: its OSErrors are CannotWrite."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"{folder}: cannot be written: {error.strerror or error}") from error


def recover(folder: Path) -> None:
    """Clears away what killed processes left beside `folder`. One that died between the two
    renames of a replacement left what was replaced: it gets its name back. Raises CannotWrite."""
    of_mkdtemp = rf"[^.]{{8}}{re.escape(_PARTIAL)}"
    for remains in beside(folder, of_mkdtemp):
        with _locked(remains) as lock:
            if lock is _Lock.HELD:
                _clear(remains, folder)


def beside(folder: Path, end: str) -> list[Path]:
    """The hidden neighbours of `folder` that are called `.NAME.` and what the pattern `end` allows;
    those of a folder `NAME.x` are its own."""
    try:
        names = os.listdir(folder.parent)
    except OSError:
        return []
    wanted = re.compile(rf"\.{re.escape(folder.name)}\.{end}", re.DOTALL)
    return [folder.parent / name for name in sorted(names) if wanted.fullmatch(name)]


@contextlib.contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A hidden new folder beside `folder`, to fill and then to `publish`; removed on the way out.

    It is locked while its process lives: `recover` finds what a killed process left by its free
    lock, and several processes at work on the same `folder` do not disturb each other. Raises
    CannotWrite.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        with writing(folder):
            new = Path(tempfile.mkdtemp(_PARTIAL, f".{folder.name}.", folder.parent))
        with _locked(new) as lock:
            if lock is _Lock.BUSY or not new.exists():  # a cleaner took it for a dead one's
                continue
            try:
                yield new
            finally:
                _clear(new, folder)
            return
    raise CannotWrite(f"{folder}: others keep clearing away what is begun beside it; try again")


def publish(new: Path, folder: Path, *, replace: bool = False) -> bool:
    """Gives `new` its name; False when the name was taken. `replace` removes what is there.

    Files are flushed to the disk before, the name after: what has the name is always whole. An
    error or an interrupt between the two renames of a replacement puts the old one back; after a
    kill there, `recover` does. Raises CannotWrite.
    """
    with writing(folder):
        for path in new.iterdir():
            flush(path)
        mask = os.umask(0)
        os.umask(mask)
        new.chmod(0o777 & ~mask)
        flush(new)
        if replace and folder.exists():
            with unfinished(folder) as grave:
                os.rename(folder, grave / _OLD)
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


def _clear(remains: Path, folder: Path) -> None:
    """Removes a hidden folder, but first puts back what `folder` was if its name is free."""
    old = remains / _OLD
    if old.exists() and not os.path.lexists(folder):
        with writing(folder):
            os.rename(old, folder)
    shutil.rmtree(remains, ignore_errors=True)


class _Lock(enum.Enum):
    HELD = "held"
    BUSY = "another has it, or the folder is gone"
    NONE = "this file system has no locks"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[_Lock]:
    """The folder's lock, held inside if it was free."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield _Lock.BUSY
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock = _Lock.HELD
        except OSError as error:
            busy = error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
            lock = _Lock.BUSY if busy else _Lock.NONE
        yield lock
    finally:
        os.close(descriptor)
