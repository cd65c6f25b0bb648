"""What a supervisor is asked by signals: to stop, and, once more, to stop at once."""

from __future__ import annotations

import contextlib
import signal
from types import FrameType

from launch.supervision.codes import Ended


class Asked(contextlib.AbstractContextManager):
    """While it is entered SIGTERM, SIGINT and SIGHUP are noted: `stop` is the first one's name.

    A hang-up only ever asks to save and stop (whoever ends a session may send it beside SIGTERM),
    and where it is ignored, as under nohup, it stays so.
    """

    def __init__(self) -> None:
        self.stop: str | None = None
        self._again: int | None = None

    def __enter__(self) -> Asked:
        # Where it is ignored, as some daemons hand it on, nobody learns how a child has ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """What comes now, when all has ended, changes nothing any more."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def raise_second(self) -> None:
        """Raise Ended, with the exit code of a process that the signal ended, after a second."""
        if self._again:
            raise Ended(128 + self._again, f"a second {signal.Signals(self._again).name}: killed")

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.stop:
            self.stop = signal.Signals(number).name
        elif number != signal.SIGHUP:
            self._again = number
