"""What can be done with a run's checkpoints by hand: look at them, verify, export, mend."""

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mlstm import checkpoint_arrays as arrays
from mlstm import checkpoint_files as files
from mlstm.checkpoint import read_parameters
from mlstm.checkpoint_errors import Damaged, Unreadable, listed, one_line
from mlstm.corpus.files import user_path
from mlstm.errors import InputError
from mlstm.output import check_folder, writing
from mlstm.runs import read_config

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Entry:
    """One folder among a run's checkpoints."""

    name: str
    state: str
    """ "listed" (it has a list of its files), "no list", "damaged: ..." or "unreadable: ..." as far
    as can be told without reading it, "set aside" or "unfinished"."""
    validation: float | None
    bytes: int
    written: float
    """When its metadata were, in seconds since 1970; those of an unfinished one, when it began."""
    best: bool


@dataclass(frozen=True)
class Listing:
    """What is in a run's folder of checkpoints; prints as a table."""

    folder: Path
    entries: list[Entry]

    def __str__(self) -> str:
        if not self.entries:
            return f"{self.folder}: no checkpoint here yet"
        wide = max(4, *(len(entry.name) for entry in self.entries))
        lines = [
            str(self.folder),
            f"{'step':{wide}}  {'bits per byte':>13}  {'MB':>10}  {'saved':19}  files",
        ]
        for entry in self.entries:
            score = "-" if entry.validation is None else f"{entry.validation:.4f}"
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.written))
            lines.append(
                f"{entry.name:{wide}}  {score:>13}  {entry.bytes / 1e6:10,.2f}  {when}  "
                f"{entry.state}{' (best)' if entry.best else ''}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Verdict:
    """How a checkpoint was found: `fault` is what is not as it was saved, `doubt` what is wrong
    with its list of files where its arrays are good, `unread` why it cannot be read now."""

    step: int
    fault: str | None
    doubt: str | None
    unread: str | None = None

    def __str__(self) -> str:
        if self.unread:
            return f"{self.step}: UNREADABLE ({self.unread})"
        if self.fault:
            return f"{self.step}: DAMAGED ({self.fault})"
        return f"{self.step}: good" + (f" ({self.doubt}; its arrays decided)" if self.doubt else "")


def listing(workdir: str | os.PathLike) -> Listing:
    """What checkpoints a run has; a run may be going on. Raises InputError."""
    folder = _folder(workdir)
    paths = [folder / str(step) for step in files.steps(folder)]
    scores = {int(path.name): _score(path) for path in paths}
    scored = files.best_first({step: v for step, v in scores.items() if v is not None})
    entries = []
    with contextlib.suppress(FileNotFoundError):  # no folder yet
        paths += _aside(folder) + files.leftovers(folder)
    for path in paths:
        state = "unfinished"
        if path.name.isdecimal():
            state = _glance(path)
        elif files.DAMAGED in path.name:
            state = "set aside"
        with contextlib.suppress(FileNotFoundError):  # the run has just deleted it
            dated = path / files.METADATA
            entries.append(
                Entry(
                    path.name,
                    state,
                    _score(path),
                    files.size(path),
                    (dated if dated.exists() else path).stat().st_mtime,
                    bool(scored) and path.name == str(scored[0]),
                )
            )
    return Listing(folder, entries)


def verify(
    workdir: str | os.PathLike,
    step: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Iterator[Verdict]:
    """Each checkpoint of a run, or that of `step`: its files against their list, then every array
    against its digest. A run may be going on.

    `progress` is called with (bytes hashed, bytes in all). Raises InputError.
    """
    folder = _folder(workdir)
    here = files.steps(folder)
    if step is not None and step not in here:
        raise InputError(f"{folder}: no checkpoint of step {step}; there are {listed(here)}")
    chosen = here if step is None else [step]
    for path, read in _in_turn([folder / str(step) for step in chosen], progress):
        fault = doubt = unread = None
        try:
            doubt = arrays.verify(path, read)
        except Unreadable as error:
            unread = str(error)
        except Damaged as error:
            if not path.exists():  # the run has just deleted it
                continue
            fault = str(error)
        yield Verdict(int(path.name), fault, doubt, unread)


def export(workdir: str | os.PathLike, step: int | str, file: str | os.PathLike) -> int:
    """Write the parameters of a step (a number or "best") to an .npz file; returns the step.

    Arrays have names like "layers/0/wmx"; those of a population have its models on their first
    axis. "config" is the text of the run's config.json. numpy.load reads it without pickle. Types
    that numpy does not have are written as float32. Raises InputError.
    """
    target = user_path(file)
    check_folder(target.parent)
    folder = _folder(workdir)
    config = json.dumps(read_config(workdir))
    parameters, step, _ = read_parameters(folder, step)
    contents = dict(_named(parameters)) | {"config": np.array(config)}
    with writing(target) as out:
        np.savez(out, **contents)  # pyright: ignore[reportArgumentType]
    return step


def repair(
    workdir: str | os.PathLike,
    lock: contextlib.AbstractContextManager,
    *,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> Iterator[str]:
    """Put a run's checkpoints in order, and say each thing that was done; with `dry_run`, that
    would be. Holds `lock`, the run's, which raises InputError while a process trains there.

    Arrays decide. A checkpoint whose arrays are not what was saved is set aside as STEP.damaged;
    one set aside whose arrays are all good is brought back; a list of files that is missing,
    damaged or not that of good arrays is written anew; what a killed process left is removed. What
    cannot be read now stays as it is, and so does what cannot be changed: each is said.
    `progress` is called with (bytes hashed, bytes in all).
    """
    folder = _folder(workdir)

    def done(what: str, act: Callable[[], object]) -> str:
        """Do it, unless it is only planned; what to say of it."""
        if dry_run:
            return f"would be {what}"
        try:
            act()
        except (OSError, InputError) as error:
            return f"could NOT be {what}: {one_line(error)}"
        return what

    with lock:
        if not folder.is_dir():
            return
        for path in files.leftovers(folder):
            yield f"{path.name}: " + done("removed, it is unfinished", partial(shutil.rmtree, path))
        whole = [folder / str(step) for step in files.steps(folder)]
        taken = {}
        for path, read in _in_turn(whole + _aside(folder), progress):
            step = path.name.partition(files.DAMAGED)[0]
            back = path.with_name(step)
            try:
                fault, doubt = _judged(path, read)
            except Unreadable as error:
                taken.setdefault(step, f"{step} cannot be read now")
                yield f"{path.name}: stays as it is, unreadable ({error})"
                continue
            if path == back and fault:
                aside = files.aside(path)
                what = f"set aside as {aside.name} ({fault})"
                said = done(what, partial(path.rename, aside))
                if path.exists() and not dry_run:
                    taken[step] = f"{step} is in its place"
                yield f"{path.name}: {said}"
                continue
            if fault:
                yield f"{path.name}: stays aside ({fault})"
                continue
            if path == back:
                taken[step] = f"so are those of {step}"
            elif step in taken:
                yield f"{path.name}: stays aside, its arrays are good, and {taken[step]}"
                continue
            else:
                taken[step] = f"so are those of {step}"
                what = f"brought back as {step}, its arrays are good"
                yield f"{path.name}: {done(what, partial(path.rename, back))}"
                if not (back.exists() or dry_run):
                    continue
            if doubt:
                what = f"given a new list of files, its arrays are good ({doubt})"
                yield f"{step}: {done(what, partial(files.write_list, back))}"


def _folder(workdir: str | os.PathLike) -> Path:
    read_config(workdir)
    folder = (user_path(workdir) / "checkpoints").absolute()
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder}: it is no folder; checkpoints are kept in one of that name")
    return folder


def _score(path: Path) -> float | None:
    with contextlib.suppress(Unreadable):
        return files.validation(path)
    return None


def _aside(folder: Path) -> list[Path]:
    of_step = re.compile(rf"\d+{re.escape(files.DAMAGED)}\d*")
    return sorted(path for path in folder.iterdir() if of_step.fullmatch(path.name))


def _glance(path: Path) -> str:
    """What can be told of a checkpoint from its metadata, its list and the sizes of its files."""
    try:
        files.read_metadata(path)
        try:
            entries = files.read_list(path)
        except Damaged:
            return "no list"
        files.check_sizes(path, entries)
    except Damaged as error:
        return f"damaged: {error}"
    except Unreadable as error:
        return f"unreadable: {error}"
    return "listed"


def _judged(path: Path, progress: Progress) -> tuple[str | None, str | None]:
    """What is wrong with a checkpoint's arrays, or else with its list of files."""
    try:
        return None, arrays.verify(path, progress)
    except Damaged as error:
        try:
            arrays.verify_arrays(path)
        except Damaged:
            return str(error), None
        return None, str(error)


def _in_turn(paths: list[Path], progress: Progress) -> Iterator[tuple[Path, Progress]]:
    """Each path, with a progress for it that goes on where that of the one before ended."""
    sizes = [files.size(path) for path in paths]
    for number, path in enumerate(paths):
        before = sum(sizes[:number])
        yield path, lambda done, _, before=before: progress(before + done, sum(sizes))


def _named(tree: dict, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _named(value, f"{prefix}{name}/")
        else:
            array = np.asarray(value)
            # bfloat16 and its like are numpy's types only where ml_dtypes is imported.
            yield prefix + name, array.astype(np.float32) if array.dtype.kind == "V" else array
