"""The folder of a run's checkpoints, as files: which are there, and whether they are what was
written. Nothing here knows how arrays are stored.

    STEP/                    a whole checkpoint; it appears under this name in one rename
    STEP/metadata/metadata   JSON with a sha256 of its own, which may be written anew
    STEP/files.json          size and sha256 of every other file, and a sha256 of its own
    STEP.damaged             set aside: not what was saved
    STEP.deleting, *.orbax-checkpoint-tmp*   what a killed process left
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlstm.checkpoint_errors import Damaged, Unreadable, one_line, raise_if_of_the_machine
from mlstm.errors import InputError
from mlstm.output import write_whole

FORMAT_VERSION = 1
LIST = "files.json"
METADATA = "metadata/metadata"
TMP, DELETING, DAMAGED = ".orbax-checkpoint-tmp", ".deleting", ".damaged"

# What a body of metadata holds.
_FIELDS = {"step": int, "validation": float | int | None, "leaves": dict, "content": dict}

# Not on the list: what is written after it, and read by nobody.
_UNLISTED = {LIST, METADATA, "_CHECKPOINT_METADATA", "commit_success.txt"}


def steps(folder: str | Path) -> list[int]:
    """The steps of the whole checkpoints in a folder, rising; none where there is no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())


def begun(folder: str | Path) -> bool:
    """Whether a checkpoint was ever saved in a folder, be it damaged by now."""
    return bool(steps(folder)) or any(Path(folder).glob(f"*{DAMAGED}*"))


def leftovers(folder: Path) -> list[Path]:
    """What a killed process was writing or deleting."""
    return sorted(p for p in folder.iterdir() if TMP in p.name or p.name.endswith(DELETING))


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint; its new path."""
    return path.rename(aside(path))


def aside(path: Path) -> Path:
    """The name that a damaged checkpoint is set aside by, which is free."""
    name, n = path.with_name(f"{path.name}{DAMAGED}"), 1
    while name.exists():
        n += 1
        name = path.with_name(f"{path.name}{DAMAGED}{n}")
    return name


def delete(path: Path) -> None:
    """Delete a checkpoint. It is renamed first: it is whole or it is not there."""
    going = path.rename(path.with_name(f"{path.name}{DELETING}"))
    shutil.rmtree(going, ignore_errors=True)


def seal(body: dict[str, Any]) -> dict[str, Any]:
    """The body, and the sha256 of its JSON."""
    text = json.dumps(body, sort_keys=True, allow_nan=False)
    return {"body": json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def read_metadata(checkpoint: Path) -> dict[str, Any]:
    """The body of a checkpoint's metadata. Raises Damaged, Unreadable, and InputError where another
    version wrote it."""
    try:
        body = _unsealed(checkpoint / METADATA)
        version = body["format_version"]
        if version == FORMAT_VERSION:
            _check_fields(body, _FIELDS)
    except Exception as error:
        raise_if_of_the_machine(checkpoint / METADATA, error)
        raise Damaged(f"{METADATA}: {one_line(error)}") from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{checkpoint} has format_version {version}; this version reads {FORMAT_VERSION}"
        )
    return body


def write_metadata(checkpoint: Path, body: dict[str, Any]) -> None:
    """Write a checkpoint's metadata anew. Raises InputError."""
    write_whole(checkpoint / METADATA, json.dumps(seal(body)))


def validation(checkpoint: Path) -> float | None:
    """The score that a checkpoint was saved with; None where there is none to be read."""
    try:
        return read_metadata(checkpoint)["validation"]
    except Unreadable:
        raise
    except (Damaged, InputError):
        return None  # said when it is read


def best_first(scores: Mapping[int, float | None]) -> list[int]:
    """Steps by rising validation; those without one come last, the newest first."""
    return sorted(scores, key=lambda s: (math.inf if (v := scores[s]) is None else v, -s))


def write_list(checkpoint: Path) -> None:
    """List the files of a checkpoint in it, and have all of it on the disk before this returns."""
    entries = {}
    for name in _listed_files(checkpoint):
        with (checkpoint / name).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            # Of the file that was read, and after that: a network's answer by name may be old.
            entries[name] = [os.fstat(file.fileno()).st_size, sha256]
        sync(checkpoint / name)
    body = {"format_version": FORMAT_VERSION, "files": entries}
    write_whole(checkpoint / LIST, json.dumps(seal(body), indent=1))
    sync(checkpoint / LIST)
    sync(checkpoint / METADATA)
    for folder, _, _ in os.walk(checkpoint):
        sync(Path(folder))


def read_list(checkpoint: Path) -> dict[str, list]:
    """Relative path -> [bytes, sha256]. Raises Damaged where there is no list that can be believed,
    and Unreadable."""
    try:
        body = _unsealed(checkpoint / LIST)
        if body["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {body['format_version']}")
        for name, (size, sha256) in body["files"].items():
            _check_fields({name: size, "sha256": sha256}, {name: int, "sha256": str})
        return body["files"]
    except FileNotFoundError:
        raise Damaged(f"no list of its files ({LIST})") from None
    except Exception as error:
        raise_if_of_the_machine(checkpoint / LIST, error)
        raise Damaged(f"its list of files ({LIST}) is damaged: {one_line(error)}") from error


def check_files(
    checkpoint: Path,
    entries: dict[str, list],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Raises Damaged that names every listed file that is not what was written: sizes first, and
    where those hold the sha256. `progress` is called with (bytes read, bytes in all)."""
    check_sizes(checkpoint, entries)
    wrong, done, total = [], 0, sum(size for size, _ in entries.values())
    for name, (size, sha256) in entries.items():
        try:
            if _sha256(checkpoint / name) != sha256:
                wrong.append(f"{name} has other bytes than were written")
        except OSError as error:
            raise_if_of_the_machine(checkpoint / name, error)
            wrong.append(f"{name} cannot be read: {one_line(error)}")
        done += size
        progress(done, total)
    _raise_if(wrong)


def check_sizes(checkpoint: Path, entries: dict[str, list]) -> None:
    """As `check_files`, without reading any."""
    wrong = []
    for name, (size, _) in entries.items():
        try:
            found = (checkpoint / name).stat().st_size
        except OSError as error:
            raise_if_of_the_machine(checkpoint / name, error)
            wrong.append(f"{name} is not there")
            continue
        if found != size:
            wrong.append(f"{name} has {found} bytes of {size}")
    _raise_if(wrong)


def _raise_if(wrong: list[str]) -> None:
    if wrong:
        raise Damaged("; ".join(wrong[:8]) + (f"; and {len(wrong) - 8} more" if wrong[8:] else ""))


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot do this with a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


def size(checkpoint: Path) -> int:
    """Bytes of all its files."""
    total = 0
    for path in checkpoint.rglob("*"):
        with contextlib.suppress(OSError):  # it is being deleted
            total += path.stat().st_size if path.is_file() else 0
    return total


def _listed_files(checkpoint: Path) -> list[str]:
    names = (p.relative_to(checkpoint).as_posix() for p in checkpoint.rglob("*") if p.is_file())
    return sorted(name for name in names if name not in _UNLISTED)


def _unsealed(path: Path) -> Any:
    sealed = json.loads(path.read_text())
    body = sealed["body"]
    if sealed["sha256"] != seal(body)["sha256"]:
        raise ValueError("not the text that was saved")
    return body


def _check_fields(body: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for name, kind in fields.items():
        if not isinstance(body[name], kind):
            raise ValueError(f"{name} is {body[name]!r}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
