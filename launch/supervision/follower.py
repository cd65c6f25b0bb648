"""A node that is not node 0: it takes part in the attempts that node 0 opens.

WORKDIR/.gang/node-K.json is its word: {id, job, processes, state, token, code, why, stop, beat}.
`state` is "up" while it waits or its ranks run, "down" when those of the attempt `token` have all
gone, or were never started, "left" when it takes no more part.
"""

from __future__ import annotations

import secrets
import time

from launch.supervision.asked import Asked
from launch.supervision.attempt import TICK, Sign
from launch.supervision.codes import CRASH, SAVED_AND_STOPPED, Ended, Verdict
from launch.supervision.notes import Note, Watched
from launch.supervision.settings import Attempt, Settings


class Follower:
    """What node K knows of node 0."""

    def __init__(self, settings: Settings, asked: Asked) -> None:
        self._settings, self._asked = settings, asked
        self._folder = settings.workdir / ".gang"
        self._gang = Watched(self._folder / "gang.json")
        self._note = Note(self._folder / f"node-{settings.node_rank}.json")
        self._id = secrets.token_hex(8)
        self._job: str | None = None
        self._over = False  # node 0 has ended the job, or works at another: no word is wanted
        self._token: str | None = None  # of the attempt that runs, or ran last
        self._stopped = False
        self._began = time.monotonic()
        self._note.keep(id=self._id, job=None, state="up", processes=settings.processes)

    def join(self) -> Attempt:
        """Wait for the next attempt. Raises Ended when there will be none."""
        while True:
            self._asked.raise_second()
            said = self._hear()
            running = said.get("state") == "running"
            if self._asked.stop and running and said["token"] == self._token:
                self._note.keep(stop=self._asked.stop)  # the other hosts have not ended yet
            elif self._asked.stop and not self._stopped:
                raise Ended(SAVED_AND_STOPPED, f"{self._asked.stop} while nothing ran here")
            elif running and said["token"] != self._token:
                self._token = said["token"]
                self._note.keep(state="up", token=self._token, code=None, why="", stop=None)
                return Attempt(said["attempt"], said["token"], said["coordinator"])
            elif said.get("state") == "waiting" and said.get("token") not in (None, self._token):
                self._token = said["token"]  # of an attempt that was over before it was seen here
                self._note.keep(state="down", token=self._token, code=None, why="", stop=None)
            self._note.keep()
            time.sleep(TICK)

    def tick(self, code: int | None, why: str, stop: str | None) -> Sign:
        self._note.keep(code=code, why=why, stop=stop)
        said = self._hear()
        if not said:
            return Sign()
        if said.get("token") != self._token or said.get("state") != "running":
            return Sign(CRASH, said.get("why") or "node 0 has closed the attempt")
        return Sign(said.get("code"), str(said.get("why")), said.get("stop"))

    def down(self, verdict: Verdict) -> None:
        """None of our ranks is left."""
        self._stopped = verdict.stopped
        self._note.keep(state="down", code=verdict.code, why=verdict.why)

    def end(self, code: int, why: str) -> None:
        if not self._over:
            self._note.keep(state="left", code=code, why=why)

    def _hear(self) -> dict:
        """Node 0's word, where it is meant for us. Raises Ended where it has none any more."""
        said = self._gang.look()
        members = said.get("members")
        ours = isinstance(members, list) and self._id in members
        if self._job is None and ours:
            self._job = said.get("job")
            self._note.keep(job=self._job)
        if self._job is None:
            if time.monotonic() - self._began > self._settings.start_timeout:
                raise Ended(
                    CRASH,
                    f"node 0 did not appear within {self._settings.start_timeout} s "
                    "(--start_timeout): is --workdir the same shared folder on every host, and "
                    "--nodes the same number?",
                )
            return {}
        if said.get("job") != self._job:
            self._over = True
            raise Ended(CRASH, f"another job has begun in {self._settings.workdir}")
        if said.get("state") == "ended":
            self._over = True
            why = said.get("why")
            raise Ended(said["code"], f"node 0: {why}" if why else "")
        if self._gang.still() > self._settings.node_timeout:
            raise Ended(
                CRASH,
                f"node 0 has not been heard of for {self._settings.node_timeout} s "
                "(--node_timeout): its host or its supervisor has gone",
            )
        return said
