"""Train a language model; run the same command again to resume.

    python -m launch.train --config=quickstart --workdir=runs/quickstart

It ends with exit code 0 when the run is done, 42 when it was told to stop (Ctrl-C, SIGTERM) and
has saved its state, 3 when the loss or its gradient is not finite, 2 when what it was given is
wrong. What it says may be lost (a pipe whose reader has gone, a full disk behind `> log`): it
trains on and ends with the code that it would have had.
"""

import contextlib
import os
import sys

from absl import flags

from launch import program, supervised
from mlstm.errors import InputError

CONFIG = program.config_flag()
WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run; made when it is not there")
INIT_FROM = flags.DEFINE_string(
    "init_from", "", "another run, of as many seeds, whose parameters to begin with"
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "compile, say what the run would cost, train nothing")

NOT_SAVED, NOT_FINITE = 1, 3


def main(_: list[str]) -> int:
    supervised.die_with_parent()
    from mlstm.training import config as configs

    if not WORKDIR.value and not DRY_RUN.value:
        raise InputError("--workdir is needed: the folder of the run, as in --workdir=runs/first")
    config = configs.from_config_dict(CONFIG.value)
    if DRY_RUN.value:
        return dry_run(config)

    from mlstm.training import interrupts, loop

    result = loop.run(config, WORKDIR.value, init_from=INIT_FROM.value or None)
    _tell(str(result))
    if result.ended == "not finite":
        return NOT_FINITE
    if not result.saved:
        with contextlib.suppress(OSError):
            print("train: error: the state it ended with could not be saved", file=sys.stderr)
        return NOT_SAVED
    return interrupts.SAVED_AND_STOPPED if result.ended == "interrupted" else 0


def dry_run(config) -> int:
    from mlstm.corpus.files import user_path
    from mlstm.training import estimate, setup

    workdir = user_path(WORKDIR.value) if WORKDIR.value else None
    corpus = setup.open_corpus(config, workdir, keep=False)
    print(estimate.estimate(setup.make(config, corpus)))
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
