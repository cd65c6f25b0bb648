"""Small JSON files in a shared folder: each has one writer, the others see whether it lives.

A writer changes a counter every two seconds. A reader looks for change by its own monotonic
clock, so that nobody's time of day matters.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from mlstm.errors import InputError
from mlstm.output import write_whole

BEAT, LOOK = 2.0, 0.3  # seconds from one beat to the next, and from one look to the next
# A reader that did not look for so long was stopped itself: it cannot say that another was.
_ABSENT = 5.0


class Note:
    """A file that this process alone writes."""

    def __init__(self, path: Path) -> None:
        self._path, self._beat = path, 0
        self._fields: dict[str, Any] = {}
        self._tried = -BEAT

    def keep(self, **fields: Any) -> bool:
        """Write what is new in it at once, else a sign of life when one is due. A disk that is full
        is tried again: the note is older then, and others may take its writer for gone. Whether
        the file says by now what it should."""
        fields = self._fields | fields
        now = time.monotonic()
        if fields == self._fields and now - self._tried < BEAT:
            return True
        self._tried = now
        with contextlib.suppress(InputError):
            write_whole(self._path, json.dumps({**fields, "beat": self._beat + 1}))
            self._fields, self._beat = fields, self._beat + 1
        return fields == self._fields


class Watched:
    """A file that another process writes. `content` is {} until it has changed under our eyes:
    what an earlier job left does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.before = self._read() or {}
        self.content: dict[str, Any] = {}
        self._looked = self._changed = time.monotonic()

    def look(self) -> dict[str, Any]:
        """The newest content; reads at most every LOOK seconds."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return self.content
        if now - self._looked > _ABSENT:
            self._changed = now
        self._looked = now
        found = self._read()
        if found and found != (self.content or self.before):
            self.content, self._changed = found, now
        return self.content

    def still(self) -> float:
        """Seconds since it last changed."""
        return self._looked - self._changed

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None
