"""What tells one source of text from another: the bytes of its files, not their place or age.

Hashing costs about a second for each gigabyte, too much for every start of a run on a large text.
So a description also holds what the file system says of each file (inode, size, times of change):
where that is as it was nothing is read, and where it is not, as after a copy, contents decide.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mlstm.corpus.files import read_raw, user_path
from mlstm.corpus.named import is_name
from mlstm.corpus.sources import PYTHON_STDLIB, TextFile, documents
from mlstm.errors import InputError


def describe(
    source: str | os.PathLike,
    files: Sequence[TextFile],
    progress: Callable[[int], None] | None = None,
    contents: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """What a manifest says of its source, whose documents are `files`; reads all of them, unless
    `contents` has the sha256 of each, None of one that cannot be read.

    `progress` is called with the bytes read so far.
    """
    if str(source) == PYTHON_STDLIB:
        return {
            "kind": PYTHON_STDLIB,
            "implementation": platform.python_implementation(),
            "version": platform.python_version(),
        }
    path = Path(os.path.realpath(user_path(source)))
    before = _status_of(files)  # the reading: a change while it lasts is seen the next time
    return {
        "kind": "corpus" if is_name(source) else "folder" if path.is_dir() else "file",
        "name": path.name,
        "files": len(files),
        "size": sum(file.size for file in files),
        "sha256": _contents(files, progress) if contents is None else _joined(files, contents),
        "status": before,
    }


def is_same(source: str | os.PathLike, described: dict[str, Any]) -> bool:
    """Whether `source` holds what it held when it was described, wherever it lies now.

    Any version of python_stdlib is the same: a run goes on after its interpreter was updated.
    Raises InputError where there is no such source.
    """
    kind = described.get("kind")
    if PYTHON_STDLIB in (str(source), kind):
        return str(source) == kind
    files = list(documents(source))
    if _status_of(files) == described.get("status"):
        return True
    return _contents(files, None) == described.get("sha256")


def differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two descriptions are surely of different texts. A folder of the same name may have
    got only files that are left out."""
    if one.get("kind") != other["kind"]:
        return True
    if one.get("sha256") == other.get("sha256"):
        return False
    return other["kind"] == "file" or one.get("name") != other.get("name")


def words(described: dict[str, Any]) -> str:
    """A description for people."""
    if "size" not in described:
        return str(described.get("kind"))
    return f"{described.get('kind')} {described.get('name')} ({described['size']:,} bytes)"


def status(files: Iterable[tuple[str, Path]]) -> str:
    """A digest of what changes with any change of a file, without reading it. Files come with the
    names that they have in their text."""
    found = []
    for name, path in files:
        try:
            of_file = path.stat()
        except OSError:
            found.append([name, None])
        else:
            times = [of_file.st_mtime_ns, of_file.st_ctime_ns]
            found.append([name, path.name, of_file.st_ino, of_file.st_size, *times])
    return _digest(found)


def _status_of(files: Sequence[TextFile]) -> str:
    return status((file.name, file.path) for file in files)


def _contents(files: Sequence[TextFile], progress: Callable[[int], None] | None) -> str:
    """A digest of the names and the bytes of the files; one that cannot be read has none."""
    found: list[str | None] = []
    done = 0
    for file in files:
        content = hashlib.sha256()
        try:
            for data in read_raw(file.path):
                content.update(data)
                done += len(data)
                if progress:
                    progress(done)
        except InputError:
            content = None
        found.append(content and content.hexdigest())
    return _joined(files, found)


def _joined(files: Sequence[TextFile], contents: Sequence[str | None]) -> str:
    return _digest(
        [
            [file.name, file.path.name, content]
            for file, content in zip(files, contents, strict=True)
        ]
    )


def _digest(found: list) -> str:
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
