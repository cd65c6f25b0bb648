"""The checkpoints of a run: list them, verify them, export parameters, put them in order.

python -m launch.checkpoint --workdir=runs/quickstart              # a table
python -m launch.checkpoint --workdir=runs/quickstart --verify     # all, or --step=N
python -m launch.checkpoint --workdir=runs/quickstart --export=model.npz --step=best
python -m launch.checkpoint --workdir=runs/quickstart --repair --dry_run

--verify reads every byte, compares it with the list of files that each checkpoint has, and every
array with its digest; a run may be going on. --repair sets aside what is damaged, brings back what
is not, writes missing lists and removes what a killed process left; it is refused while the run
goes on.

Exit codes: 0; 2 bad input; 4 where --verify finds a checkpoint damaged, or cannot read it now.
"""

from typing import Any

from absl import flags

from launch import program
from launch.progress import ProgressLine

DAMAGED = 4

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.", required=True)
_VERIFY = flags.DEFINE_bool("verify", False, "Compare files with their list, arrays with digests.")
_EXPORT = flags.DEFINE_string("export", None, "Write the parameters to this .npz file.")
_STEP = flags.DEFINE_string("step", None, 'Which checkpoint: a number, or "best" (--export).')
_REPAIR = flags.DEFINE_bool("repair", False, "Put the checkpoints in order.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "With --repair: say what would be done.")


def main(_) -> int | None:
    from mlstm import upkeep
    from mlstm.training.workdir import locked

    workdir, step = _WORKDIR.value, _step()
    if _VERIFY.value:
        bad = False
        with ProgressLine("verifying", "bytes") as progress:
            for verdict in upkeep.verify(workdir, step, progress):
                print(verdict, flush=True)
                bad |= bool(verdict.fault or verdict.unread)
        return DAMAGED if bad else 0
    if _EXPORT.value:
        found = upkeep.export(workdir, step, _EXPORT.value)
        print(f"{_EXPORT.value}: the parameters of step {found}, and the config")
    elif _REPAIR.value:
        done = False
        with ProgressLine("reading", "bytes") as progress:
            lock = locked(workdir)
            for line in upkeep.repair(workdir, lock, dry_run=_DRY_RUN.value, progress=progress):
                print(line, flush=True)
                done = True
        if not done:
            print("all is in order")
    else:
        print(upkeep.listing(workdir))
    return None


def _step() -> Any:
    """--step, when it and the other flags make sense together."""
    from mlstm.errors import InputError

    wanted = [f"--{flag.name}" for flag in (_VERIFY, _EXPORT, _REPAIR) if flag.value]
    if len(wanted) > 1:
        raise InputError(f"{' and '.join(wanted)}: one at a time")
    if _DRY_RUN.value and not _REPAIR.value:
        raise InputError("--dry_run goes with --repair")
    if _EXPORT.value and _STEP.value is None:
        raise InputError('--export needs --step: a number, or "best"')
    if _STEP.value is None:
        return None
    if not (_VERIFY.value or _EXPORT.value):
        raise InputError("--step goes with --verify or --export")
    if _STEP.value == "best" and _EXPORT.value:
        return "best"
    if not (_STEP.value.isascii() and _STEP.value.isdecimal()):
        also = ', or "best"' if _EXPORT.value else ""
        raise InputError(f"--step={_STEP.value}: it is a whole number{also}")
    return int(_STEP.value)


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
