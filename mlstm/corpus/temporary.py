"""Temporary folders that go with what is in them, or at the latest with the process."""

import shutil
import tempfile
from pathlib import Path

_folders: set[Path] = set()


def make() -> Path:
    """A new temporary folder, to be given to `remove`."""
    folder = Path(tempfile.mkdtemp(prefix="mlstm-corpus-"))
    _folders.add(folder)
    return folder


def remove(folder: Path) -> None:
    """Removes the folder and all that is in it; one that is gone is no error."""
    shutil.rmtree(folder, ignore_errors=True)
    _folders.discard(folder)


def remove_all() -> None:
    """Removes every folder that is left: for a process that leaves without Python's own ending."""
    for folder in list(_folders):
        remove(folder)
