"""Files from the web into a folder: whole or not there, going on where a transfer was cut off.

Those that are kept lie in MLSTM_CACHE, else XDG_CACHE_HOME/mlstm, else ~/.cache/mlstm.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

from mlstm.errors import InputError
from mlstm.output import check_folder

CHUNK = 1 << 20
SILENCE = 60  # seconds without a byte after which a transfer is given up
REDIRECTIONS = 5
LARGEST = 1 << 40  # bytes of a file of which it is not known how many it has
Progress = Callable[[int, int], None]


class Unreachable(InputError):
    """The server could not be reached, or did not give the file."""


def cache() -> Path:
    """Where files are kept."""
    from mlstm.corpus.files import user_path  # whose package reads this module

    if folder := os.environ.get("MLSTM_CACHE"):
        return user_path(folder)
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return user_path(folder) / "mlstm"
    return user_path("~/.cache/mlstm")


def fetch(
    address: str,
    path: Path,
    sha256: str | None = None,
    progress: Progress | None = None,
    *,
    largest: int | None = None,
) -> None:
    """Download to `path`, beside it first; what is there already is left alone.

    progress: called with the bytes so far and in all, where the server says how many these are.
    largest: bytes, beyond which it is another file. Raises Unreachable, and InputError for a file
    that is not the one of this sha256.
    """
    check_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    with alone(path):
        if path.exists():
            return
        _transfer(address, part, progress, largest)
        if sha256 and digest(part) != sha256:
            _remove(part)
            raise InputError(f"{address} is not the file that was published: its sha256 differs")
        os.replace(part, path)
        _remove(part)


def verify(path: Path, sha256: str | None, advice: str) -> None:
    """InputError for a file that is not the one of this sha256; where it is not known, that is not
    the one that lay here when it was first asked for. Beside one that was found to be right stands
    its digest, size and time, so that it is not read again."""
    note, noted = path.with_name(f".{path.name}.checked"), []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        noted = note.read_text().split()
    wanted = sha256 or (noted[0] if len(noted) == 3 else None)
    try:
        state = path.stat()
        facts = [wanted or "", str(state.st_size), str(state.st_mtime_ns)]
        if noted == facts:
            return
        found = digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if wanted and found != wanted:
        which = "that was published" if sha256 else f"that was here first (it is noted in {note})"
        raise InputError(f"{path}: is not the file {which}: its sha256 differs; {advice}")
    with contextlib.suppress(OSError):  # a cache that others keep
        note.write_text(" ".join([found, *facts[1:]]) + "\n")


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Redirections(urllib.request.HTTPRedirectHandler):
    """A few, and none from https to something that anybody on the way can change."""

    max_redirections = max_repeats = REDIRECTIONS

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        kinds = ("https",) if req.type == "https" else ("http", "https")
        if urllib.parse.urlsplit(newurl).scheme not in kinds:
            raise urllib.error.URLError(f"it sends to {newurl}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _transfer(address: str, part: Path, progress: Progress | None, largest: int | None) -> None:
    """Go on behind what is there where it is of the file that the server has now, else anew."""
    done, version = _begun(part)
    request = urllib.request.Request(address, headers={"User-Agent": "mlstm"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", version)
    again = False
    try:
        with urllib.request.build_opener(_Redirections).open(request, timeout=SILENCE) as answer:
            if answer.status == 206:
                again = not done or not _goes_on(answer.headers, done, version)
            else:  # all of it, from the beginning
                done = 0
            if not again:
                if not done:
                    _note(part, answer.headers)
                total = done + int(answer.headers.get("Content-Length") or 0)
                _check_size(address, part, total, largest)
                with part.open("ab" if done else "wb") as file:
                    while data := answer.read(CHUNK):
                        file.write(data)
                        done += len(data)
                        _check_size(address, part, done, largest)
                        if progress:
                            progress(done, max(total, done))
                    file.flush()
                    os.fsync(file.fileno())
    except Unreachable:
        raise
    except urllib.error.HTTPError as error:
        again = error.code == 416 and done > 0  # nothing behind what is there
        if not again:
            said = " ".join(str(error.reason).split())
            raise Unreachable(f"{address}: the server says {error.code} {said}") from None
    except urllib.error.URLError as error:
        raise Unreachable(f"{address}: cannot be reached ({error.reason})") from None
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise Unreachable(f"{address}: the transfer was cut off ({error})") from None
    if again:
        if not part.exists():
            raise Unreachable(f"{address}: the server gives a part of the file, and not all of it")
        _remove(part)
        _transfer(address, part, progress, largest)
        return
    if done < total:
        more = "; the next try goes on there" if _begun(part)[0] else ""
        raise Unreachable(f"{address}: cut off after {done:,} of {total:,} bytes{more}")


def _check_size(address: str, part: Path, size: int, largest: int | None) -> None:
    if largest is not None and size > largest:
        _remove(part)
        raise Unreachable(
            f"{address}: {size:,} bytes or more are not the file that was published, which has "
            f"{largest:,}"
        )


def _begun(part: Path) -> tuple[int, str]:
    """How many bytes are there, and which version of the file they are of: none where it is not
    known, for they may be another file's."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if version := _note_of(part).read_text(encoding="latin-1"):
            return part.stat().st_size, version
    return 0, ""


def _note(part: Path, headers: Message) -> None:
    """Beside the part, what the server calls this version of the file. A weak ETag does not say
    that the bytes are the same."""
    version = headers.get("ETag") or ""
    if not version or version.startswith("W/"):
        version = headers.get("Last-Modified") or ""
    _note_of(part).write_text(version, encoding="latin-1")


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _goes_on(headers: Message, done: int, version: str) -> bool:
    """Whether a part that the server gives is the one behind `done` bytes of that version."""
    others = [headers.get(name) for name in ("ETag", "Last-Modified")]
    return (headers.get("Content-Range") or "").startswith(f"bytes {done}-") and (
        version in others or others == [None, None]
    )


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Of several processes one downloads, and the others wait."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
