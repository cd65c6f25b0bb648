"""Where processes that save together wait for one another, in the background of a save.

A barrier of the coordination service cannot be told that one process will not come, and the others
wait for it as long as they may. Here one that failed to write says so, and they give up at once.
"""

import itertools

from mlstm import job

# Two to a save: all have written, and the first has put it in its place.
_STAGES = 2

_saves = itertools.count()


class GaveUp(RuntimeError):
    """Another process failed; it says how."""


class Commit:
    """The waits of one save after another. All processes make it, and begin each save, together."""

    def __init__(self) -> None:
        self._save, self._stage = 0, 0

    def begin(self) -> None:
        """Before a save. What the one before left in the service is removed."""
        if job.count() > 1 and job.is_first():
            job.forget(f"mlstm/save/{self._save}/")
        self._save, self._stage = next(_saves), 0

    def __call__(self, *, key: str, timeout_ms: int) -> None:
        """Wait until every process is here for the same reason, as Orbax asks for it.

        Raises GaveUp where one will not come, and job.Lost after `timeout_ms`.
        """
        if job.count() == 1:
            return
        stage, self._stage = self._stage, self._stage + 1
        self._put(stage, True)
        for process in range(job.count()):
            there = job.get(self._key(stage, process), key, timeout_ms / 1000)
            if not there:
                raise GaveUp(f"process {process} failed")

    def give_up(self) -> None:
        """Let the others know that this process will not come to the waits that are left."""
        if job.count() > 1:
            for stage in range(self._stage, _STAGES):
                self._put(stage, False)
            self._stage = _STAGES

    def _key(self, stage: int, process: int) -> str:
        return f"mlstm/save/{self._save}/{stage}/{process}"

    def _put(self, stage: int, there: bool) -> None:
        job.put(self._key(stage, job.index()), there, anew=True)
