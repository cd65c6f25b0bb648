"""What a process does that launch.node has started: it dies with its supervisor."""

import ctypes
import os
import signal
import sys

SUPERVISOR = "MLSTM_SUPERVISOR"  # the environment variable with the supervisor's process id
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def die_with_parent() -> None:
    """Where a supervisor has started this process: end when it does, even by kill -9.

    On Linux the kernel sees to it. Elsewhere only a supervisor that has gone already is noticed.
    """
    supervisor = os.environ.get(SUPERVISOR)
    if not supervisor:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # After the request, so that no moment is left in which its death would go unseen.
    if str(os.getppid()) != supervisor:
        raise SystemExit(f"the supervisor {supervisor} that started this process has gone")
