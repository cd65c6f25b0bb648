"""A run that stands still ends, and shows where it stood: no wait is without a bound.

A process that is gone is noticed by the others within the heartbeat. This is for one that is there
and does nothing: a device that hangs, a file system that does not answer.
"""

import faulthandler
import time

_STDERR = 2


class Watchdog:
    """Call `alive` wherever work goes on. After `seconds` without a call every thread's place is
    written to stderr, and the process ends with exit code 1. With 0 it never does."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._set = 0.0
        self.alive()

    def alive(self) -> None:
        # Setting it starts a thread: not at every step.
        now = time.monotonic()
        if self._seconds and now - self._set > min(1.0, self._seconds / 10):
            self._set = now
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=_STDERR)

    def close(self) -> None:
        if self._seconds:
            faulthandler.cancel_dump_traceback_later()
