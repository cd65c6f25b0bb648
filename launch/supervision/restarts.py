"""Whether a crashed gang is started again, and after how long."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from launch.supervision.codes import CRASH, Ended

_LONGEST, _DAY = 60.0, 24 * 3600.0


def checkpoints(workdir: Path) -> set[int]:
    """The steps in WORKDIR/checkpoints."""
    with contextlib.suppress(OSError):
        return {int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal()}
    return set()


class Restarts:
    """Counts: `most` restarts within 24 hours, `fruitless` attempts in a row without a new
    checkpoint. `clock` is in seconds."""

    def __init__(
        self, most: int, fruitless: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._fruitless, self._clock = most, fruitless, clock
        self._restarts: list[float] = []  # when, in the last 24 hours
        self._in_vain = 0

    def pause(self, before: set[int], after: set[int], why: str) -> float:
        """The seconds to wait after a crash: 1, 2, 4 ... 60, and 1 again after progress.

        `before`, `after`: the checkpoints when the attempt began, and now. Any new one is progress:
        where the newest cannot be read, a run goes on from an older one. Raises Ended where another
        attempt is one too many.
        """
        self._in_vain = 0 if after - before else self._in_vain + 1
        if self._in_vain >= self._fruitless:
            none = (
                f"a new checkpoint beside that of step {max(after)}" if after else "any checkpoint"
            )
            raise Ended(
                CRASH,
                f"giving up, this crashes again and again: {_times(self._in_vain)} without {none} "
                f"(--fruitless={self._fruitless}); the last time {why}",
            )
        now = self._clock()
        self._restarts = [then for then in self._restarts if now - then < _DAY]
        if len(self._restarts) >= self._most:
            raise Ended(
                CRASH,
                f"giving up after {len(self._restarts)} restarts within 24 hours "
                f"(--max_restarts={self._most}); the last time {why}",
            )
        self._restarts.append(now)
        return min(2.0 ** max(self._in_vain - 1, 0), _LONGEST)


def _times(number: int) -> str:
    return "one attempt" if number == 1 else f"{number} attempts in a row"
