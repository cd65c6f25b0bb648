"""Train a language model; run the same command again to resume.

    python -m launch.train --config=quickstart --workdir=runs/quickstart

It ends with exit code 0 when the run is done, 42 when it was told to stop (Ctrl-C, SIGTERM) and
has saved its state, 3 when the loss or its gradient is not finite, 2 when what it was given is
wrong, 1 when its last state could not be saved. Under launch.node it also ends with 1 where it may
go better the next time: processes did not come together, a lock is held, a disk does not answer.
What it says may be lost (a pipe whose reader has gone, a full disk behind `> log`): it trains on
and ends with the code that it would have had.

Several processes train one model together where SLURM, Open MPI, Kubernetes or a TPU starts them,
or each is told its place with --coordinator, --num_processes and --process_id. launch.node does
this for all GPUs of a host, or of several, and starts them again when one fails.
"""

import contextlib
import os
import sys

from absl import flags

from launch import processes, program, supervised
from launch.program import NOT_FINITE, NOT_SAVED
from launch.progress import ProgressLine
from mlstm.errors import InputError

CONFIG = program.config_flag()
WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run; made when it is not there")
INIT_FROM = flags.DEFINE_string(
    "init_from",
    "",
    "another run, of as many seeds, or a published model, whose parameters to begin with: the "
    "model has its shape, but for fields that are set with --config.model",
)
LOCAL_DEVICES = flags.DEFINE_list(
    "local_devices", None, "the GPUs of this host that this process has, as in 0,1 (default: all)"
)
ATTEMPT = flags.DEFINE_string("attempt", "", "what launch.node names one start of all by")
NEW_STREAMS = flags.DEFINE_bool(
    "new_streams", False, "resume with another data.batch or data.window; the epoch begins anew"
)
PROFILE = flags.DEFINE_string(
    "profile_steps", "", "FIRST:LAST, steps of which a trace is written to WORKDIR/profile"
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "compile, say what the run would cost, train nothing")
flags.adopt_module_key_flags(processes)


def main(_: list[str]) -> int:
    supervised.die_with_parent()
    from mlstm.training import config as configs

    if not WORKDIR.value and not DRY_RUN.value:
        raise InputError("--workdir is needed: the folder of the run, as in --workdir=runs/first")
    config = configs.from_config_dict(CONFIG.value)
    join()
    if INIT_FROM.value:
        config = adopted(config)
    downloaded(config.data.source)
    if DRY_RUN.value:
        return dry_run(config)

    from mlstm import job
    from mlstm.training import interrupts, loop, profiling

    steps = profiling.read_steps(PROFILE.value) if PROFILE.value else None
    result = loop.run(
        config,
        WORKDIR.value,
        init_from=INIT_FROM.value or None,
        profile_steps=steps,
        new_streams=NEW_STREAMS.value,
    )
    if job.is_first():
        _tell(str(result))
    if result.ended == "not finite":
        return NOT_FINITE
    if not result.saved:
        with contextlib.suppress(OSError):
            print("train: error: the state it ended with could not be saved", file=sys.stderr)
        return NOT_SAVED
    return interrupts.SAVED_AND_STOPPED if result.ended == "interrupted" else 0


def join() -> None:
    """Take the place in a job that the flags or the cluster give; say which it is."""
    listed = LOCAL_DEVICES.value or []
    if not all(device.isdecimal() for device in listed):
        raise InputError(f"--local_devices={','.join(listed)}: they are numbers, as in 0,1")
    processes.join([int(device) for device in listed] or None, ATTEMPT.value)


def adopted(config):
    """The config with the shape of the model that the run begins with; says what that changes."""
    from mlstm import job
    from mlstm.training import beginning

    start = "config.model."
    kept = {name.removeprefix(start) for name in flags.FLAGS if name.startswith(start)}
    config, changed = beginning.adopt(config, INIT_FROM.value, WORKDIR.value, kept)
    if changed and job.is_first():
        _tell(f"as {INIT_FROM.value} has it: {', '.join(changed)}")
    return config


def downloaded(source: str) -> None:
    """A public corpus by name is brought here before anything else, so that it is seen to be."""
    from mlstm.corpus import named

    if named.is_name(source):
        with ProgressLine(f"downloading {source}", "bytes") as progress:
            named.locate(source, progress)


def dry_run(config) -> int:
    from mlstm import job
    from mlstm.corpus.files import user_path
    from mlstm.training import beginning, estimate, setup

    workdir = user_path(WORKDIR.value) if WORKDIR.value else None
    corpus = setup.open_corpus(config, workdir, keep=False)
    config = setup.with_vocabulary(config, corpus)
    if INIT_FROM.value:
        beginning.check(INIT_FROM.value, config, corpus)
    found = estimate.estimate(setup.make(config, corpus))
    if job.is_first():
        print(found)
    return 0


def _tell(line: str) -> None:
    """Print; where that fails, the exit code still says how the run ended."""
    try:
        print(line, flush=True)
    except OSError:
        # What is left in the buffer would fail again at the end of the program.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
