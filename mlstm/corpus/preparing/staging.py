"""The folder beside an output in which finished pieces wait for the others.

`.NAME.KEY.pieces`: the key is of the text and of all that a piece depends on, so that a command
given again finds what it made and another one does not. Every file in it gets its name when it is
whole, and is the same whoever writes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlstm.corpus.folders import beside, writing
from mlstm.corpus.preparing.blocks import Survey

_SUFFIX = ".pieces"
_USED = "in use"


class Staging:
    """The pieces of one output."""

    def __init__(self, output: Path, key: list[Any]):
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        self.output = output
        self.folder = output.parent / f".{output.name}.{digest}{_SUFFIX}"

    def piece(self, file: int, block: int) -> Path:
        return self.folder / f"{file:05d}-{block:06d}.piece"

    def kept(self, file: int, block: int) -> Path:
        """Which documents of a piece are no copies of held-out ones."""
        return self.folder / f"{file:05d}-{block:06d}.kept"

    def finished(self) -> set[str]:
        """The names of the pieces that are there."""
        return {name for name in os.listdir(self.folder) if name.endswith(".piece")}

    def survey(self, file: int) -> Survey | None:
        """What is known of a file that someone read to its end."""
        try:
            return Survey(**json.loads(self._survey(file).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def write_survey(self, file: int, survey: Survey) -> None:
        path = self._survey(file)
        with writing(self.output):
            beside = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.part")
            beside.write_text(json.dumps(survey.to_json()))
            os.replace(beside, path)

    def _survey(self, file: int) -> Path:
        return self.folder / f"{file:05d}.survey"

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Around work in the folder, which is made if need be: nobody clears it away meanwhile."""
        path = self.folder / _USED
        while True:
            with writing(self.output):
                self.folder.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    path.touch()
            with _locked(path, fcntl.LOCK_SH, without=True):
                if path.exists():  # else a cleaner was there first
                    yield
                    return

    @contextlib.contextmanager
    def assembling(self, *, wait: bool) -> Iterator[bool]:
        """Whether this process is the one that joins the pieces: False where another is at it,
        which can be waited for."""
        path = self.folder / "assembling"
        with writing(self.output):
            path.touch()
        while True:
            with _locked(path, fcntl.LOCK_EX, without=True) as held:
                if held or not wait:
                    yield held
                    return
            time.sleep(0.2)

    def remove(self) -> None:
        """This folder, and those of the same output, unless they are in use: of texts that have
        changed and of settings that were given up."""
        for folder in beside(self.output, rf"[0-9a-f]{{16}}{re.escape(_SUFFIX)}"):
            own = folder == self.folder
            with _locked(folder / _USED, fcntl.LOCK_EX, without=own) as held:
                if held:
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, kind: int, *, without: bool) -> Iterator[bool]:
    """Whether the lock was free; `without` on a file system that has no locks. What is done under
    it is right without it, only done twice."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        yield without
        return
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            held = True
        except BlockingIOError:
            held = False
        except OSError:
            held = without
        yield held
    finally:
        os.close(descriptor)
