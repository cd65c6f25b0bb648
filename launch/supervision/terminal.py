"""Lines for the terminal, written by a thread: one that is closed, full or held (Ctrl-S) stops
neither the training nor its supervisor."""

from __future__ import annotations

import contextlib
import os
import queue
import threading

_OUTPUT, _ERRORS = 1, 2
_KEPT = 1000  # pieces that wait for a terminal that takes none; what comes then is dropped


class Terminal(contextlib.AbstractContextManager):
    """`say` is the supervisor's own line, on stderr; `show` what a rank wrote, on stdout."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pieces: queue.Queue[tuple[int, bytes] | None] = queue.Queue(_KEPT)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        self._put(_ERRORS, f"{self._name}: {line}\n".encode(errors="replace"))

    def show(self, data: bytes) -> None:
        self._put(_OUTPUT, data)

    def __exit__(self, *_: object) -> None:
        """Give what waits two seconds to be written."""
        with contextlib.suppress(queue.Full):
            self._pieces.put(None, timeout=2)
        self._thread.join(2)

    def _put(self, where: int, data: bytes) -> None:
        with contextlib.suppress(queue.Full):
            self._pieces.put_nowait((where, data))

    def _write(self) -> None:
        while piece := self._pieces.get():
            where, data = piece
            with contextlib.suppress(OSError):
                while data:
                    data = data[os.write(where, data) :]
