"""Exit codes of ranks: which end the job, and what several of them mean together."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from launch.program import BAD_INPUT, NOT_FINITE

DONE, CRASH = 0, 1
SAVED_AND_STOPPED = 42  # as mlstm.training.interrupts has it, whose imports are not for here
# The one that stands before another decides where ranks ended in both ways.
FINAL = (BAD_INPUT, NOT_FINITE, SAVED_AND_STOPPED, DONE)
HOPELESS = (BAD_INPUT, NOT_FINITE)  # the same would come again


class Ended(Exception):
    """The job is over for this supervisor: its exit code, and why in one line."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended: a final code or CRASH; `stopped`: it had been told to stop."""

    code: int
    why: str
    stopped: bool = False


def judge(returned: Iterable[int], told: bool = False) -> int | None:
    """The code that these make together, in the order in which they came; None for none.

    Any crash among them is a CRASH, but one that follows a 2 or 3 is its consequence: the others
    lose a peer. `told`: they were sent SIGTERM; one that it ended had nothing to save yet, nor had
    those that lost a peer by it.
    """
    seen: list[int] = []
    causes = _causes(told)
    for code in returned:
        if code not in FINAL and code not in causes:
            if not causes & set(seen):
                return CRASH
            continue
        seen.append(code)
    return together(SAVED_AND_STOPPED if code == -signal.SIGTERM else code for code in seen)


def causes_first(ended: Iterable[tuple[Any, int]], told: bool) -> list[tuple[Any, int]]:
    """Those that were seen to have ended at once, as (who, code), in an order to `judge` in."""
    causes = _causes(told)
    return sorted(ended, key=lambda each: each[1] not in causes)


def _causes(told: bool) -> set[int]:
    """Codes of which the crashes that follow are consequences."""
    return {*HOPELESS, -signal.SIGTERM} if told else {*HOPELESS}


def together(codes: Iterable[int]) -> int | None:
    """What final codes, and CRASH, make together, whatever their order; None for none."""
    codes = set(codes)
    for code in (*HOPELESS, CRASH, *FINAL):
        if code in codes:
            return code
    return None


def described(code: int) -> str:
    """An exit code of subprocess in words: "exit code 1", "SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
