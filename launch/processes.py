"""The flags by which a process takes its place in a job of several."""

from __future__ import annotations

import contextlib
import sys

from absl import flags

_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0 of a job")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "processes of the job; 1 is alone, whatever started this one"
)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "which of them this is, from 0")
_HEARTBEAT = flags.DEFINE_integer(
    "heartbeat", 10, "seconds after which a silent process is taken for gone", lower_bound=1
)
_START_TIMEOUT = flags.DEFINE_integer(
    "start_timeout", 300, "seconds in which all processes have to join", lower_bound=1
)


def join(local_devices: list[int] | None = None, attempt: str = "") -> None:
    """Take the place in a job that the flags or the cluster give; say which it is.

    Before anything that touches a device. Arguments, and the InputError, as of `mlstm.job.join`.
    """
    from mlstm import job

    job.join(
        coordinator=_COORDINATOR.value,
        processes=_NUM_PROCESSES.value,
        process=_PROCESS_ID.value,
        local_devices=local_devices,
        heartbeat=_HEARTBEAT.value,
        start_timeout=_START_TIMEOUT.value,
        attempt=attempt,
    )
    if job.count() > 1:
        with contextlib.suppress(OSError):
            print(job.describe(), file=sys.stderr, flush=True)
