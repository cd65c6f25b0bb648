"""Where documents come from: the embedded corpus, a public one by name, a file, a folder."""

import hashlib
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlstm.corpus import named
from mlstm.corpus.files import compression, read_chunks, refuse_archive, text_name, user_path
from mlstm.errors import InputError

PYTHON_STDLIB = "python_stdlib"
SPLITS = ("train", "validation", "test")
FRACTIONS = (0.9, 0.05, 0.05)

_LEFT_OUT_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    | {"encodings", "lib2to3", "idlelib"}
)
_LEFT_OUT_FILES = frozenset(("sitecustomize.py", "usercustomize.py"))
_GENERATED = re.compile(rb"(?i)auto-?generated|file is (automatically )?generated")


@dataclass(frozen=True)
class Document:
    """A document in memory. `split` is where the source puts it, None where it does not say."""

    name: str
    data: bytes
    split: str | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    def length(self) -> int:
        """Bytes of text."""
        return len(self.data)

    def chunks(self) -> Iterator[tuple[bytes, int]]:
        """Yields (bytes, source bytes read so far)."""
        yield self.data, len(self.data)


@dataclass(frozen=True)
class TextFile:
    """A document in a file, read when asked for. `size` is its size on disk."""

    name: str
    path: Path
    size: int
    split: str | None = None

    @property
    def data(self) -> bytes:
        """The whole text. Raises InputError where the file cannot be read."""
        return b"".join(data for data, _ in self.chunks())

    def length(self) -> int | None:
        """Bytes of text; None for a compressed file: it has to be read through to know."""
        return None if compression(self.path) else self.size

    def chunks(self) -> Iterator[tuple[bytes, int]]:
        """Yields (bytes, source bytes read so far), in bounded memory. Raises InputError."""
        return read_chunks(self.path)


def documents(source: str | os.PathLike, suffixes: tuple[str, ...] = ()) -> Iterator[TextFile]:
    """The documents of a source, always in the same order.

    "python_stdlib": see `python_stdlib`. A name of `corpus.named`, unless a file or folder here has
    it: its files, downloaded if need be. A file is one document. A folder: every regular file
    below it, in the order of the relative paths; hidden files and folders are left out, and a
    folder that symbolic links reach again is read once. A name has no compression suffix, unless
    two files would have the same name then. suffixes: how the names of those that are wanted end;
    all without. Raises InputError.
    """
    if str(source) == PYTHON_STDLIB:
        return python_stdlib()
    if named.is_name(source):
        return (
            TextFile(text_name(path.name), path, path.stat().st_size, split)
            for path, split in named.locate(str(source))
        )
    path = _existing(source)
    if path.is_file():
        refuse_archive(path)
        size = path.stat().st_size
        if not size:
            raise InputError(f"{path} is empty: there is no text in it")
        return iter([TextFile(text_name(path.name), path, size)])
    if not path.is_dir():
        raise InputError(f"{path} is neither a file nor a folder")
    if (path / "manifest.json").exists():
        raise InputError(f"{path} is a prepared corpus already; raw text is wanted here")
    return _folder(path, suffixes)


def split_by_name(name: str, fractions: Sequence[float] = FRACTIONS) -> str:
    """The split of a document, from the sha256 of its name alone: documents that come or go
    never move another one. `fractions`: of train, validation and test; they sum to one."""
    place = int.from_bytes(_hash(name)[:8], "big") / 2**64
    border = 0.0
    for split, fraction in zip(SPLITS, fractions, strict=True):
        border += fraction
        if place < border:
            return split
    return [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction][-1]


def python_stdlib() -> Iterator[TextFile]:
    """The running interpreter's standard library: about 9 MB of real text, nothing to download.

    Every .py file below sysconfig's "stdlib" path, named by its relative path. Left out: folders
    named test, tests, idle_test, site-packages, dist-packages, __pycache__, encodings, lib2to3,
    idlelib and config-*; the site's own sitecustomize and usercustomize; what programs wrote:
    _sysconfigdata*, and any file whose first 400 bytes say that it was generated (keyword, token,
    stringprep, re/_casefix, pydoc_data/topics, _opcode_metadata). Tables kept by hand stay.

    The split is by the sha256 of the relative path: 90% train, 5% validation, 5% test. So is the
    order: were packages kept together, each of the B streams of a batch would read one package
    for thousands of steps, and the text at one end of the epoch would differ from the other's.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = [file for file in _files(root, "", _in_stdlib) if not _generated(file)]
    if not files:
        raise InputError(
            f"{root}: this interpreter has no standard library in .py files; name another source"
        )
    for file in sorted(files, key=lambda file: _hash(file.name)):
        yield TextFile(file.name, file.path, file.size, split_by_name(file.name))


def _in_stdlib(name: str, folder: bool) -> bool:
    if folder:
        return name not in _LEFT_OUT_FOLDERS and not name.startswith((".", "config-"))
    if name in _LEFT_OUT_FILES or name.startswith("_sysconfigdata"):
        return False
    return name.endswith(".py")


def _generated(file: TextFile) -> bool:
    with open(file.path, "rb") as stream:
        return _GENERATED.search(stream.read(400)) is not None


def _folder(root: Path, suffixes: tuple[str, ...]) -> Iterator[TextFile]:
    files = sorted(_files(root, "", _not_hidden), key=lambda file: file.path.as_posix())
    files = [file for file in files if text_name(file.name).endswith(suffixes or "")]
    if not files:
        first, *others = suffixes or ("",)
        wanted = " ".join([first, "files", *(f"nor {suffix}" for suffix in others)]).strip()
        raise InputError(f"{root}: no {wanted} in this folder (hidden ones do not count)")
    times = Counter(text_name(file.name) for file in files)
    return (
        replace(file, name=text_name(file.name)) if times[text_name(file.name)] == 1 else file
        for file in files
    )


def _not_hidden(name: str, folder: bool) -> bool:
    return not name.startswith(".")


def _files(folder: Path, prefix: str, wanted, seen: set | None = None) -> Iterator[TextFile]:
    """Each file below, once; a dangling link too, so that reading it says that it is one."""
    seen = set() if seen is None else seen
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror or error}") from error
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        path, name = Path(entry.path), prefix + entry.name
        if not wanted(entry.name, entry.is_dir()):
            continue
        if entry.is_dir():
            yield from _files(path, name + "/", wanted, seen)
        elif entry.is_file():
            yield TextFile(name, path, entry.stat().st_size)
        elif entry.is_symlink():
            yield TextFile(name, path, 0)


def _existing(source: str | os.PathLike) -> Path:
    if not str(source):
        raise InputError(f"no source given: name a file, a folder or {PYTHON_STDLIB}")
    path = user_path(source)
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file or folder (the embedded corpus is named {PYTHON_STDLIB}; "
            "launch.prepare --list names the public ones)"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{str(path)!r} cannot be read: {reason}") from error
    return path


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
