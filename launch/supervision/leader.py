"""Node 0 of several: it opens each attempt, and says when the job is over.

WORKDIR/.gang/gang.json is its word: {job, members, state, attempt, token, coordinator, code, why,
stop, beat}. `state` is "waiting" between attempts, "running" in one, "ended" when all is over;
`members` are the random names of the supervisors that take part, so that one of another job, or
one that was started anew, follows nothing that is not meant for it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from launch.supervision.alone import new_attempt
from launch.supervision.asked import Asked
from launch.supervision.attempt import TICK, Sign
from launch.supervision.codes import (
    BAD_INPUT,
    CRASH,
    FINAL,
    HOPELESS,
    SAVED_AND_STOPPED,
    Ended,
    Verdict,
    together,
)
from launch.supervision.notes import Note, Watched
from launch.supervision.settings import Attempt, Settings
from launch.supervision.terminal import Terminal

_LAST_WORD = 10.0  # seconds in which it is tried


class Leader:
    """What node 0 knows of the others."""

    def __init__(self, settings: Settings, asked: Asked, terminal: Terminal) -> None:
        self._settings, self._asked, self._terminal = settings, asked, terminal
        folder = settings.workdir / ".gang"
        self._word = Watched(folder / "gang.json")  # ours, unless another job writes there
        # Attempts go on counting from those of an earlier job: a port is not used twice in a row.
        earlier = self._word.before.get("attempt")
        self._number = earlier if isinstance(earlier, int) else 0
        self._note = Note(folder / "gang.json")
        self._nodes = {
            rank: Watched(folder / f"node-{rank}.json") for rank in range(1, settings.nodes)
        }
        self._members: list[str | None] = [None] * settings.nodes
        self._attempt: Attempt | None = None
        self._stop: str | None = None  # why all are to stop in this attempt
        self._job = secrets.token_hex(8)
        self._note.keep(
            job=self._job, members=self._members[:], state="waiting", attempt=self._number
        )

    def gather(self) -> None:
        """Wait until the supervisors of all nodes are there. Raises Ended."""
        self._terminal.say(f"waiting for the other nodes, {self._settings.nodes} in all")

        def missing() -> list[int]:
            return [rank for rank in self._nodes if self._members[rank] is None]

        if not self._wait(lambda: not missing(), self._settings.start_timeout):
            names = ", ".join(map(str, missing()))
            raise Ended(
                CRASH,
                f"node {names} did not appear within {self._settings.start_timeout} s "
                "(--start_timeout): is --workdir the same shared folder on every host?",
            )
        for rank, node in self._nodes.items():
            theirs = node.content.get("processes")
            if theirs != self._settings.processes:
                raise Ended(
                    BAD_INPUT,
                    f"node {rank} has {theirs} processes and node 0 {self._settings.processes}: "
                    "--processes must mean the same number on every host",
                )

    def open(self) -> Attempt:
        """A new attempt, for all."""
        self._number += 1
        self._attempt = attempt = new_attempt(self._settings, self._number)
        self._stop = None
        self._note.keep(
            state="running",
            attempt=attempt.number,
            token=attempt.token,
            coordinator=attempt.coordinator,
            code=None,
            why="",
            stop=None,
        )
        return attempt

    def tick(self, code: int | None, why: str, stop: str | None) -> Sign:
        sign = self._hear()
        known = [each for each in (code, sign.code) if each is not None]
        self._stop = self._stop or stop or sign.stop
        self._note.keep(code=together(known), why=why or sign.why, stop=self._stop)
        return sign

    def settle(self, verdict: Verdict) -> Verdict:
        """How the attempt ended on all nodes, once it has ended on each, or within a bound. Raises
        Ended where a node still has ranks of it: nothing may start beside them."""
        settings = self._settings
        if verdict.code != CRASH:
            self._note.keep(code=verdict.code, why=verdict.why)
            bound = min(30, settings.grace) if verdict.code in HOPELESS else settings.grace
            down = self._wait(lambda: not self._not_down() or self._hear().code == CRASH, bound)
            sign = self._hear()
            code = together([verdict.code] if sign.code is None else [verdict.code, sign.code])
            stopped = verdict.stopped or self._stop is not None
            if code in HOPELESS or (down and code is not None and code != CRASH):
                return Verdict(code, sign.why if code == sign.code else verdict.why, stopped)
            verdict = Verdict(CRASH, sign.why if down else "a node did not end in time", stopped)
        self._note.keep(state="waiting", code=CRASH, why=verdict.why)
        if not self._wait(lambda: not self._not_down(), settings.node_timeout):
            names = ", ".join(map(str, self._not_down()))
            raise Ended(
                CRASH,
                f"node {names} did not end its ranks within {settings.node_timeout} s "
                f"(--node_timeout) after the attempt: {verdict.why}",
            )
        return Verdict(CRASH, verdict.why, verdict.stopped or self._stop is not None)

    def idle(self) -> None:
        """A turn of the wait for the next attempt. Raises Ended where a node has gone."""
        self._hear()
        self._note.keep()

    def end(self, code: int, why: str) -> None:
        """The last word, where it is still ours to say; tried for a while when the disk is full."""
        deadline = time.monotonic() + _LAST_WORD
        while self._is_ours() and not self._note.keep(state="ended", code=code, why=why):
            if time.monotonic() >= deadline:
                return
            time.sleep(5 * TICK)

    def _is_ours(self) -> bool:
        return self._word.look().get("job") in (None, self._job)

    def _hear(self) -> Sign:
        """What the nodes say of the attempt that is open. Raises Ended where one has gone, or where
        another job has begun in the same folder."""
        if not self._is_ours():
            raise Ended(CRASH, f"another job has begun in {self._settings.workdir}")
        token = self._attempt.token if self._attempt else None
        code: int | None = None
        why, stop = "", None
        for rank, node in self._nodes.items():
            said = node.look()
            if not said or said.get("job") not in (None, self._job):
                continue  # nobody yet, or one who still waits for the end of an earlier job
            self._check(rank, node, said)
            if token is None or said.get("token") != token:
                continue
            theirs = said.get("code")
            if theirs is not None:
                code = together([theirs] if code is None else [theirs, code])
                why = f"node {rank}: {said.get('why')}" if code == theirs else why
            if said.get("stop"):
                stop = f"{said['stop']} on node {rank}"
        return Sign(code, why, stop)

    def _check(self, rank: int, node: Watched, said: dict) -> None:
        """Take a node in that is new; raise Ended for one that is no longer what it was."""
        if self._members[rank] is None and said.get("state") == "up":
            self._members[rank] = said.get("id")
            self._note.keep(members=list(self._members))
        if self._members[rank] is None:
            return
        if said.get("id") != self._members[rank]:
            raise Ended(CRASH, f"node {rank} was started a second time")
        if said.get("state") == "left":
            code = said.get("code")
            raise Ended(code if code in FINAL else CRASH, f"node {rank} left: {said.get('why')}")
        if node.still() > self._settings.node_timeout:
            raise Ended(
                CRASH,
                f"node {rank} has not been heard of for {self._settings.node_timeout} s "
                "(--node_timeout): its host or its supervisor has gone",
            )

    def _not_down(self) -> list[int]:
        """The nodes that have not said that they have no rank of this attempt, or no more."""
        assert self._attempt is not None
        down = (self._attempt.token, "down")
        return [
            rank
            for rank, node in self._nodes.items()
            if (node.content.get("token"), node.content.get("state")) != down
        ]

    def _wait(self, happens: Callable[[], bool], seconds: float) -> bool:
        """Until it happens, or for so long: whether it did. Raises Ended."""
        deadline = time.monotonic() + seconds
        while True:
            self._asked.raise_second()
            if self._asked.stop and self._attempt is None:
                raise Ended(SAVED_AND_STOPPED, f"{self._asked.stop} before anything ran")
            self._stop = self._stop or self._asked.stop or self._hear().stop
            self._note.keep(stop=self._stop)
            if happens():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(TICK)
