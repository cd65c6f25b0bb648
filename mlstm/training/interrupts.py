"""Ctrl-C and SIGTERM: the first asks the loop to save and stop, the second stops at once."""

import contextlib
import os
import signal
import threading
from types import FrameType

SAVED_AND_STOPPED = 42
"""The exit code of a run that saved its state because it was told to stop: run it again."""


class Interrupts(contextlib.AbstractContextManager):
    """While it is entered, the two signals are caught. Before `saving` is set there is nothing to
    save: Ctrl-C is a KeyboardInterrupt then, and SIGTERM exits with code 42."""

    def __init__(self) -> None:
        self.requested: str | None = None
        self.saving = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._before.clear()

    def _handle(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not self.saving and number == signal.SIGTERM:
            raise SystemExit(SAVED_AND_STOPPED)
        if self.requested and number == signal.SIGTERM and "MLSTM_SUPERVISOR" in os.environ:
            # launch.node passes SIGTERM on, to a process that a cluster may have told as well.
            return
        if not self.saving or self.requested:
            raise KeyboardInterrupt
        self.requested = name
        # Not print: the handler may have come into the middle of one. Nobody need be reading.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{name}: saving, then stopping (once more stops at once)\n".encode())
