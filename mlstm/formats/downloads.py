"""Files from the web into a folder: whole or not there, going on where a transfer was cut off."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from mlstm.errors import InputError
from mlstm.output import check_folder

CHUNK = 1 << 20
SILENCE = 60  # seconds without a byte after which a transfer is given up
Progress = Callable[[int, int], None]


class Unreachable(InputError):
    """The server could not be reached, or did not give the file."""


def fetch(
    address: str, path: Path, sha256: str | None = None, progress: Progress | None = None
) -> None:
    """Download to `path`, beside it first; what is there already is left alone.

    progress: called with the bytes so far and in all, where the server says how many these are.
    Raises Unreachable, and InputError for a file that is not the one of this sha256.
    """
    check_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    with _alone(path):
        if path.exists():
            return
        _transfer(address, part, progress)
        if sha256 and digest(part) != sha256:
            part.unlink()
            raise InputError(f"{address} is not the file that was published: its sha256 differs")
        os.replace(part, path)


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _transfer(address: str, part: Path, progress: Progress | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "mlstm"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        with urllib.request.urlopen(request, timeout=SILENCE) as answer:
            if answer.status != 206:  # all of it, from the beginning
                done = 0
            total = done + int(answer.headers.get("Content-Length") or 0)
            with part.open("ab" if done else "wb") as file:
                while data := answer.read(CHUNK):
                    file.write(data)
                    done += len(data)
                    if progress:
                        progress(done, max(total, done))
                file.flush()
                os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing behind what is there: it is another file's beginning
            part.unlink()
            _transfer(address, part, progress)
            return
        raise Unreachable(f"{address}: the server says {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise Unreachable(f"{address}: cannot be reached ({error.reason})") from None
    except (http.client.HTTPException, ValueError, OSError) as error:
        raise Unreachable(f"{address}: the transfer was cut off ({error})") from None
    if done < total:
        raise Unreachable(
            f"{address}: cut off after {done:,} of {total:,} bytes; the next try goes on there"
        )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Of several processes one downloads, and the others wait."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
