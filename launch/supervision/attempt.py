"""All ranks of this host, once: start them, watch them, and say how it ended."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Protocol

from launch.supervision.asked import Asked
from launch.supervision.codes import (
    CRASH,
    HOPELESS,
    SAVED_AND_STOPPED,
    Verdict,
    causes_first,
    described,
    judge,
    together,
)
from launch.supervision.ranks import Rank, kill_all
from launch.supervision.settings import Attempt, Settings, command, environment
from launch.supervision.terminal import Terminal

TICK = 0.1
_FINISHING = 30.0  # what others get to end by themselves once one has said that all is in vain


@dataclass(frozen=True)
class Sign:
    """What the other hosts say of this attempt: its outcome there, and whether all should stop."""

    code: int | None = None
    why: str = ""
    stop: str | None = None


class Others(Protocol):
    def tick(self, code: int | None, why: str, stop: str | None) -> Sign:
        """Tell them what is known here, and hear what they say. Raises Ended."""
        ...


class Running:
    """One attempt on this host."""

    def __init__(
        self, settings: Settings, attempt: Attempt, others: Others, asked: Asked, terminal: Terminal
    ) -> None:
        self._settings, self._attempt = settings, attempt
        self._others, self._asked, self._terminal = others, asked, terminal
        self._ranks: list[Rank] = []
        self._all_started = False  # or those that are not never will be
        self._ended: dict[Rank, int] = {}  # in the order in which they ended
        self._code: int | None = None  # of the attempt, once it is known
        self._why = ""
        self._deadline = float("inf")
        self._told: str | None = None  # why they were sent SIGTERM

    def run(self) -> Verdict:
        """Start the ranks and watch them to their end; none is left when this returns."""
        try:
            verdict = self._start_all()
            while verdict is None:
                time.sleep(TICK)
                verdict = self._look()
        finally:
            kill_all(self._ranks)
        self._report(verdict)
        return verdict

    def _start_all(self) -> Verdict | None:
        """One after another, with a look between them: what is over by then starts no more."""
        for local in range(self._settings.processes):
            if (verdict := self._look()) is not None:
                return verdict
            if self._told or self._code in HOPELESS:
                break
            self._start(local)
        self._all_started = True
        return self._look()

    def _start(self, local: int) -> None:
        number = self._settings.rank(local)
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        header = f"rank {number}, attempt {self._attempt.number} ({self._attempt.token}), {began}"
        self._ranks.append(
            Rank(
                number,
                command(self._settings, self._attempt, local),
                environment(),
                self._settings.log(number),
                header,
                self._terminal if number == 0 else None,
            )
        )

    def _look(self) -> Verdict | None:
        """One turn: None while it goes on."""
        self._asked.raise_second()
        if self._asked.stop:
            self._tell(self._asked.stop)
        self._note_ends()
        own = judge(self._ended.values(), self._told is not None)
        sign = self._others.tick(own, self._first_end(), self._told)
        if sign.stop:
            self._tell(sign.stop)
        if self._told:
            return self._when_told(own)
        self._learn(own, sign)
        if self._code == CRASH:
            return Verdict(CRASH, self._why)
        if held := self._held():
            return Verdict(CRASH, held)
        if self._code is None:
            return None
        if self._all_started and len(self._ended) == len(self._ranks):
            return Verdict(self._code, self._why)
        if time.monotonic() < self._deadline:
            return None
        if self._code in HOPELESS:
            return Verdict(self._code, self._why)
        return Verdict(CRASH, f"{self._names_of_alive()} did not end with the others")

    def _note_ends(self) -> None:
        """The ranks that have ended since the last look. One that aborts because another ended
        with 2 or 3 may be seen before it: there is another look, until nothing is new, and causes
        come first."""
        new: dict[Rank, int] = {}
        while found := {
            rank: code
            for rank in self._ranks
            if rank not in self._ended | new and (code := rank.code()) is not None
        }:
            new |= found
        self._ended.update(causes_first(new.items(), self._told is not None))

    def _learn(self, own: int | None, sign: Sign) -> None:
        """The attempt's code, from here or elsewhere, and until when others may end by themselves.

        What is hopeless is over soon; ranks that are done or have saved may take their time.
        """
        known = [code for code in (self._code, own, sign.code) if code is not None]
        code = together(known)
        if code is None or code == self._code:
            return
        self._code, self._why = code, self._first_end() if code == own else sign.why
        grace = self._settings.grace
        self._deadline = time.monotonic() + min(grace, _FINISHING if code in HOPELESS else grace)

    def _when_told(self, own: int | None) -> Verdict | None:
        """Told to stop, each saves and ends; nobody is hurried, a crash is not repeated."""
        if len(self._ended) == len(self._ranks):
            code = SAVED_AND_STOPPED if own is None else own  # None: nothing was started here
            return Verdict(code, self._first_end(), stopped=True)
        if time.monotonic() < self._deadline:
            return None
        why = f"{self._names_of_alive()} did not end in {self._settings.grace} s after {self._told}"
        return Verdict(CRASH, why, stopped=True)

    def _tell(self, why: str) -> None:
        """Once: SIGTERM to all ranks, whatever reached us (JAX's agreement sees SIGTERM alone)."""
        if self._told:
            return
        self._told = why
        self._deadline = time.monotonic() + self._settings.grace
        self._terminal.say(f"{why}: the ranks are told to save and stop (once more kills them)")
        for rank in self._ranks:
            if rank not in self._ended:
                rank.tell(signal.SIGTERM)

    def _held(self) -> str:
        """Why a rank that is stopped has to go; "" where none is. JAX's own heartbeats notice it in
        a gang, but not where there is one process."""
        bound = 2 * self._settings.heartbeat
        for rank in self._ranks:
            if rank not in self._ended and rank.stopped() > bound:
                return f"rank {rank.number} was stopped (SIGSTOP) for {bound} s"
        return ""

    def _first_end(self) -> str:
        """The first rank that ended badly, else the first that ended, in words; "" for none."""
        for bad in (True, False):
            for rank, code in self._ended.items():
                if not bad or self._is_bad(code):
                    log = self._settings.log(rank.number)
                    return f"rank {rank.number} ended by {described(code)} ({log})"
        return ""

    def _is_bad(self, code: int) -> bool:
        return judge([code], self._told is not None) in (CRASH, *HOPELESS)

    def _names_of_alive(self) -> str:
        alive = [str(rank.number) for rank in self._ranks if rank not in self._ended]
        return f"rank{'s' * (len(alive) > 1)} {', '.join(alive)}"

    def _report(self, verdict: Verdict) -> None:
        """Say how it ended badly; of a rank whose output is not seen here, the end of its log."""
        bad = [rank for rank, code in self._ended.items() if self._is_bad(code)]
        seen = any(rank.number == 0 for rank in bad)
        if verdict.code not in (CRASH, *HOPELESS) or (seen and verdict.code in HOPELESS):
            return
        for rank in bad:
            how = f"rank {rank.number} ended by {described(self._ended[rank])}"
            self._terminal.say(f"attempt {self._attempt.number}: {how}")
        if not bad:
            self._terminal.say(f"attempt {self._attempt.number}: {verdict.why}")
        elif not seen:
            self._terminal.say(f"the last lines of {self._settings.log(bad[0].number)}:")
            for line in bad[0].last_lines():
                self._terminal.say(f"    {line}")
