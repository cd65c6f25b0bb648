"""Ctrl-C and SIGTERM: the first asks the loop to save and stop, the second stops at once.

The processes of a job stop at a place they agree on. JAX catches SIGTERM for that and tells all of
them, whichever one it came to; Ctrl-C is handed on to it.
"""

import contextlib
import os
import signal
import threading
from types import FrameType

from mlstm import job

SAVED_AND_STOPPED = 42
"""The exit code of a run that saved its state because it was told to stop: run it again."""


class Interrupts(contextlib.AbstractContextManager):
    """While it is entered, the two signals are caught. Before `saving` is set there is nothing to
    save: Ctrl-C is a KeyboardInterrupt then, and SIGTERM exits with code 42. In a job both are kept
    for the first `stop`."""

    def __init__(self) -> None:
        self.requested: str | None = None
        self.saving = False
        self._asked = 0
        self._passed_on = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            ours = (signal.SIGINT, signal.SIGTERM) if job.count() == 1 else (signal.SIGINT,)
            for number in ours:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._before.clear()

    def stop(self) -> bool:
        """Whether to save and stop here. The processes of a job have to ask equally often, each at
        the same places; once it is true it stays so."""
        if not self.requested:
            self._asked += 1
            if job.told_to_stop(self._asked):
                self._request("SIGTERM")
        return self.requested is not None

    def _handle(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if job.count() > 1:
            if self._passed_on:
                raise KeyboardInterrupt
            self._passed_on = True
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if not self.saving and number == signal.SIGTERM:
            raise SystemExit(SAVED_AND_STOPPED)
        if self.requested and number == signal.SIGTERM and "MLSTM_SUPERVISOR" in os.environ:
            # launch.node passes SIGTERM on, to a process that a cluster may have told as well.
            return
        if not self.saving or self.requested:
            raise KeyboardInterrupt
        self._request(name)

    def _request(self, name: str) -> None:
        self.requested = name
        # Not print: the handler may have come into the middle of one. Nobody need be reading.
        with contextlib.suppress(OSError):
            again = " (once more stops at once)" if job.count() == 1 else ""
            os.write(2, f"\n{name}: saving, then stopping{again}\n".encode())
