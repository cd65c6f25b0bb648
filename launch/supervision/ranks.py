"""One training process of this host: its log, how it ends, what it is told."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from launch.supervision.codes import CRASH, Ended
from launch.supervision.terminal import Terminal

# Python has none on macOS before 3.13: a stopped process is not noticed there.
_WAITID = getattr(os, "waitid", None)
_DYING = 60.0  # after SIGKILL a process may still be in the kernel, giving back a GPU's memory


class Rank:
    """A process in a session of its own (Ctrl-C in the terminal is for the supervisor alone).

    What it writes is appended to its log, under `header`; with `terminal` it is shown there too.
    Started from the main thread only: Linux ends a rank when the thread ends that started it.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        header: str,
        terminal: Terminal | None = None,
    ) -> None:
        self.number, self._log = number, log
        self._stopped: float | None = None
        self._copier: threading.Thread | None = None
        kept = _opened(log, f"=== {header} ===\n")
        self._begins = os.fstat(kept).st_size
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if terminal else kept,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            os.close(kept)
            raise Ended(CRASH, f"rank {number} cannot be started: {error}") from None
        if terminal and self._process.stdout:
            arguments = (self._process.stdout, kept, terminal)
            self._copier = threading.Thread(target=_copy, args=arguments, daemon=True)
            self._copier.start()
        else:
            os.close(kept)

    def code(self) -> int | None:
        """As subprocess has it, once it has ended, and with it all that it started."""
        if self._process.returncode is None and self._has_ended():
            self._kill_group()  # while its number is still its own
            self._process.wait()
            if self._copier:
                self._copier.join(2)
        return self._process.returncode

    def stopped(self) -> float:
        """For how many seconds it has been stopped (SIGSTOP); 0 where it runs."""
        if _WAITID is None:
            return 0.0
        changes = os.WSTOPPED | os.WCONTINUED | os.WNOHANG  # without WEXITED: that is subprocess's
        with contextlib.suppress(ChildProcessError):
            while change := _WAITID(os.P_PID, self._process.pid, changes):
                goes_on = change.si_code == os.CLD_CONTINUED
                self._stopped = None if goes_on else time.monotonic()
        return time.monotonic() - self._stopped if self._stopped else 0.0

    def tell(self, number: int) -> None:
        if self._process.returncode is None:
            os.kill(self._process.pid, number)

    def last_lines(self, most: int = 5) -> list[str]:
        """The end of what it wrote in this attempt."""
        try:
            with self._log.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._begins, end - 8192))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return []
        return [line for line in lines if line.strip()][-most:]

    def _has_ended(self) -> bool:
        if _WAITID is None:
            return self._process.poll() is not None
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return _WAITID(os.P_PID, self._process.pid, ended) is not None

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        if self.code() is None:
            self._kill_group()


def kill_all(ranks: Iterable[Rank]) -> None:
    """SIGKILL, and wait until they have gone. Raises Ended where one does not go: another attempt
    beside it could not be trusted."""
    ranks = list(ranks)
    for rank in ranks:
        rank.kill()
    deadline = time.monotonic() + _DYING
    while left := [rank.number for rank in ranks if rank.code() is None]:
        if time.monotonic() > deadline:
            raise Ended(CRASH, f"rank {left[0]} does not end after SIGKILL; look at its host")
        time.sleep(0.02)


def _opened(log: Path, header: str) -> int:
    """The log, with the header in it; where the disk does not let us, nowhere."""
    try:
        kept = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError):
        os.write(kept, header.encode())
    return kept


def _copy(pipe, kept: int, terminal: Terminal) -> None:
    """Until the rank ends: what it writes, into its log and to the terminal."""
    while data := os.read(pipe.fileno(), 1 << 16):
        terminal.show(data)
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(kept, data) :]
    pipe.close()
    os.close(kept)
