"""Tasks to several processes and their results back, in bounded memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlstm.errors import InputError

_ROOT = Path(__file__).parents[3]
_PROGRAM = "from mlstm.corpus.preparing.worker import serve; serve()"


def cores() -> int:
    """How many processes this one may keep busy."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def results(tasks: Iterable[Any], processes: int) -> Iterator[Any]:
    """What `task.do()` gives of each task, in the order in which they are done.

    With one process the tasks are done in this one. `tasks` is read only as fast as they are done.
    Raises what `tasks` raises, and InputError where a task cannot be done or a process dies.
    """
    if processes <= 1:
        for task in tasks:
            yield task.do()
        return
    crew = _Crew(iter(tasks), processes)
    try:
        yield from crew.results()
    finally:
        crew.stop()


class _Crew:
    """A thread for each process: it takes the next task, hands it over and waits for the answer."""

    def __init__(self, tasks: Iterator[Any], processes: int):
        self.tasks, self.taking = tasks, threading.Lock()
        self.done: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.ended = False
        self.workers = [_start() for _ in range(processes)]
        self.threads = [
            threading.Thread(target=self._attend, args=(worker,), daemon=True)
            for worker in self.workers
        ]
        for thread in self.threads:
            thread.start()

    def results(self) -> Iterator[Any]:
        at_work = len(self.threads)
        while at_work:
            try:
                kind, found = self.done.get(timeout=1)  # a wait without an end hides Ctrl-C
            except queue.Empty:
                continue
            if kind == "end":
                at_work -= 1
            elif kind == "done":
                yield found
            elif kind == "failed":
                raise InputError(found)
            else:
                raise found

    def _attend(self, worker: subprocess.Popen) -> None:
        assert worker.stdin
        assert worker.stdout
        try:
            while (task := self._next()) is not None:
                pickle.dump(task, worker.stdin, protocol=pickle.HIGHEST_PROTOCOL)
                worker.stdin.flush()
                del task
                self.done.put(pickle.load(worker.stdout))
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self.done.put(("failed", self._death(worker)))
        except BaseException as error:  # of the source of tasks: raised where results are read
            self.done.put(("raise", error))
        self.done.put(("end", None))

    def _next(self) -> Any:
        with self.taking:
            return None if self.ended else next(self.tasks, None)

    @staticmethod
    def _death(worker: subprocess.Popen) -> str:
        try:
            code = worker.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        why = f"signal {-code}" if code and code < 0 else f"exit code {code}"
        return (
            f"a process that prepared a part of the text died ({why}; 9 is often a lack of "
            "memory); run again, what is finished is kept, perhaps with fewer --processes"
        )

    def stop(self) -> None:
        self.ended = True
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.wait()
        for thread in self.threads:
            thread.join(timeout=10)
        for worker in self.workers:
            for stream in (worker.stdin, worker.stdout):
                with contextlib.suppress(OSError):
                    if stream:
                        stream.close()


def _start() -> subprocess.Popen:
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
    single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | single | {"PYTHONPATH": path},
    )
