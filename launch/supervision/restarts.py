"""Whether a crashed gang is started again, and after how long."""

from __future__ import annotations

import contextlib
from pathlib import Path

from launch.supervision.codes import CRASH, Ended

_LONGEST = 60.0


def newest_checkpoint(workdir: Path) -> int:
    """The highest step in WORKDIR/checkpoints; -1 where there is none."""
    steps = [-1]
    with contextlib.suppress(OSError):
        steps += [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdecimal()]
    return max(steps)


class Restarts:
    """Counts: `most` restarts in all, `fruitless` attempts in a row without a newer checkpoint."""

    def __init__(self, most: int, fruitless: int) -> None:
        self._most, self._fruitless = most, fruitless
        self._restarts = self._in_vain = 0

    def pause(self, before: int, after: int, why: str) -> float:
        """The seconds to wait after a crash: 1, 2, 4 ... 60, and 1 again after progress.

        `before`, `after`: the newest checkpoint when the attempt began, and now. Raises Ended where
        another attempt is one too many.
        """
        self._in_vain = 0 if after > before else self._in_vain + 1
        if self._in_vain >= self._fruitless:
            none = f"a checkpoint newer than step {after}" if after >= 0 else "any checkpoint"
            raise Ended(
                CRASH,
                f"giving up, this crashes again and again: {_times(self._in_vain)} without {none} "
                f"(--fruitless={self._fruitless}); the last time {why}",
            )
        if self._restarts >= self._most:
            raise Ended(
                CRASH,
                f"giving up after {self._restarts} restarts (--max_restarts={self._most}); "
                f"the last time {why}",
            )
        self._restarts += 1
        return min(2.0 ** max(self._in_vain - 1, 0), _LONGEST)


def _times(number: int) -> str:
    return "one attempt" if number == 1 else f"{number} attempts in a row"
