"""Search over fields of a config: a training for each trial and seed, and the best by validation.

    python -m launch.search --config=quickstart --workdir=searches/first --steps=500 --seeds=3 \
        --grid="optimizer.learning_rate=1e-3,3e-3;model.hidden=64,128"
    python -m launch.search --config=quickstart --workdir=searches/second --steps=500 \
        --random=20 --space="optimizer.learning_rate=log(1e-4,1e-2);data.batch=16|32"

Every value is checked before anything runs. Trials are trained one after another, each in a
process of its own: one that fails is told, and the search goes on. Run the same command again to go
on: what has finished, or was no longer finite, is not run again; what was interrupted resumes, what
failed in any other way is tried again, and more --random or --seeds add to it. The exit status is 1
where there is no trial of which every seed finished. Each run is a folder under WORKDIR/trials that
launch.train and launch.compare can read.
The choice is made by the mean of the best validations; the test split is never read. Stopped by
Ctrl-C or SIGTERM it waits until the training has saved its state.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from launch import program
from launch.progress import ProgressLine
from launch.supervised import SUPERVISOR
from launch.supervision.codes import SAVED_AND_STOPPED
from mlstm.errors import InputError

if TYPE_CHECKING:
    from mlstm.training.search import Ended, Search
    from mlstm.training.search_results import Results

_CONFIG = program.config_flag()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the search.", required=True)
_GRID = flags.DEFINE_string(
    "grid", None, 'Every combination: "optimizer.learning_rate=1e-3,3e-3;model.hidden=64,128".'
)
_SPACE = flags.DEFINE_string(
    "space",
    None,
    '--random: what is drawn from: "optimizer.learning_rate=log(1e-4,1e-2);data.batch=16|32", also '
    "uniform(low,high).",
)
_RANDOM = flags.DEFINE_integer("random", None, "How many trials are drawn from --space.", 1)
_DRAW_SEED = flags.DEFINE_integer("draw_seed", 0, "Of the drawing of trials.", 0)
_SEEDS = flags.DEFINE_integer("seeds", 1, "Trainings of each trial, from config.seed on.", 1)
_STEPS = flags.DEFINE_integer("steps", None, "Steps of every training (default: the config's).", 1)


class _Terminated(Exception):
    """SIGTERM came."""


def main(_) -> int | None:
    from mlstm.corpus.files import user_path
    from mlstm.training import search, search_space
    from mlstm.training.search_results import Results

    trials = _trials()
    given = _CONFIG.value.copy_and_resolve_references()
    if _STEPS.value:
        with given.unlocked():
            given.train.steps, given.train.epochs = _STEPS.value, 0.0
    from mlstm.training import config as configs

    config = configs.from_config_dict(given)
    search_space.check(config, trials, _SEEDS.value)
    asked = {"grid": _GRID.value, "space": _SPACE.value, "draw_seed": _DRAW_SEED.value}
    whole = search.begin(user_path(_WORKDIR.value), config, trials, _SEEDS.value, asked)

    def terminate(*_) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, terminate)
    left = [place for place in whole.plan if whole.ended(*place) is None]
    print(f"{len(whole.plan)} trainings, {len(whole.plan) - len(left)} of them done", flush=True)
    now: dict[tuple[int, int], Ended] = {}
    began = time.monotonic()
    try:
        for number, place in enumerate(left):
            ended = _run(whole, place, number, len(left), began)
            if ended is None:
                return SAVED_AND_STOPPED
            now[place] = ended
            _tell(whole, place, ended)
            Results.of(whole, now).save()
    except _Terminated:
        return SAVED_AND_STOPPED
    results = Results.of(whole, now)
    results.save()
    return _close(results)


def _close(results: Results) -> int | None:
    """Say what was found; 1 where nothing is chosen."""
    from mlstm.training import search_space

    whole = results.search
    print(f"\n{results}\n")
    best = results.best
    if best is None:
        print("no trial of which every seed finished: nothing is chosen")
        return 1
    print(f"chosen on validation: trial {best.trial + 1}, {search_space.shown(best.values)}")
    if len(results.rows) > 1:
        print(
            f"the best of {len(results.rows)} looks better on what it was chosen by than it is; "
            "the test split was not read:"
        )
    runs = [
        whole.run(best.trial, seed)
        for seed in range(whole.config.seed, whole.config.seed + whole.seeds)
    ]
    if not _has_test(runs[0]):
        print("(its text has no test split: another text tells how good it is)")
        return None
    for run in runs:
        print(f"python -m launch.evaluate --model={shlex.quote(str(run))} --split=test")
    return None


def _has_test(run: Path) -> bool:
    """Whether a run's text has a test split, as far as it is still there."""
    from mlstm import corpus_of
    from mlstm.corpus import Corpus

    try:
        return "test" in Corpus.open(corpus_of(run)).splits
    except InputError:
        return True


def _trials() -> list:
    from mlstm.training import search_space

    if (_GRID.value is None) == (_SPACE.value is None):
        raise InputError("give either --grid, or --space with --random")
    if (_SPACE.value is None) != (_RANDOM.value is None):
        raise InputError("--space and --random go together: what is drawn from, and how often")
    if _GRID.value is not None:
        return search_space.grid(_GRID.value)
    return search_space.draws(str(_SPACE.value), int(_RANDOM.value or 0), _DRAW_SEED.value)


def _run(
    whole: Search, place: tuple[int, int], number: int, runs: int, began: float
) -> Ended | None:
    """Train in a process of its own; None where it was told to stop and has saved its state.
    The progress line is of all runs that are left, which began at this time."""
    from launch import shipped
    from mlstm.output import check_folder

    run = whole.run(*place)
    check_folder(run.parent)
    log = run.with_name(f"{run.name}.log")
    steps = whole.config.train.steps
    command = [sys.executable, "-P", "-m", "launch.train"]
    command += [f"--config={shipped.FOLDER / 'base.py'}", *whole.flags(*place)]
    what = f"training {number + 1} of {runs}"
    with log.open("ab") as said, ProgressLine(what, "steps") as progress:
        progress.began = began
        said.write(f"$ python -m {shlex.join(command[3:])}\n".encode("utf-8", "surrogateescape"))
        said.flush()
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=_environment()
        )
        try:
            while child.poll() is None:
                time.sleep(0.3)
                if steps:
                    progress(number * steps + min(_step(run), steps), runs * steps)
        except (KeyboardInterrupt, _Terminated) as stop:
            _stop(child, tell=isinstance(stop, _Terminated))
            raise
    if child.returncode == SAVED_AND_STOPPED:
        return None
    return whole.note(*place, child.returncode, _last_line(log) if child.returncode else "")


def _stop(child: subprocess.Popen, *, tell: bool) -> None:
    """Wait until it has saved its state and ended. Ctrl-C has come to it from the terminal."""
    try:
        if tell:
            child.send_signal(signal.SIGINT)
        child.wait(timeout=600)
    except BaseException:
        child.kill()
        child.wait()
        raise


def _environment() -> dict[str, str]:
    """That of this process, in which it finds our packages and ends when this process does."""
    found = os.environ | {SUPERVISOR: str(os.getpid())}
    root = str(Path(__file__).resolve().parent.parent)
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return found


def _step(run: Path) -> int:
    from mlstm.run_log import read_log

    return read_log(run).last


def _tell(whole: Search, place: tuple[int, int], ended: Ended) -> None:
    from mlstm.training.search_space import shown

    trial, seed = place
    result = f"{ended.bits:.4f} bits per byte" if ended.bits is not None else ended.told
    if ended.bits is None and not ended.message:
        result += ", and no validation: the text has no validation split"
    print(f"trial {trial + 1}, seed {seed}, {shown(whole.trials[trial])}: {result}", flush=True)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def run() -> None:
    program.run(main)


if __name__ == "__main__":
    run()
