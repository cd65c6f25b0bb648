"""Checkpoints: save in the background, verify, fall back, and read parameters alone.

A checkpoint is a folder named by its step, which appears under that name when it is whole:

    STEP/parameters     the model's parameters
    STEP/training       the rest of the state
    STEP/metadata       JSON: shape, type and digest of each array, and what the caller adds
    STEP/files.json     size and sha256 of each file

Orbax sees a truncated file, but not a flipped bit in an array. So the list of files is made when
all of them are final and before the folder gets its name: no checkpoint is ever there without it,
and no step waits for the hashing, which goes on in the background. And each array has a digest,
computed on the devices before it is saved and after it is restored, on whatever mesh. It decides
alone where the list is missing.

Several processes save and restore together, in a folder that all of them see. What they do there
is what process 0 found, or what all agreed on: none waits for another that took another branch.
Only process 0 lists, renames and deletes.
"""

import contextlib
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from mlstm import checkpoint_arrays as arrays
from mlstm import checkpoint_files as files
from mlstm import job
from mlstm.checkpoint_commit import Commit, GaveUp
from mlstm.checkpoint_errors import Damaged, DiskError, Unreadable, listed, one_line, say
from mlstm.checkpoint_files import begun, steps
from mlstm.errors import InputError

__all__ = ["Checkpoints", "Restored", "Unreadable", "begun", "read_parameters", "steps"]

TIMEOUT = 600
"""Seconds after which a save that has not ended has failed."""


@dataclass(frozen=True)
class Restored:
    """A state read back: its step, the tree, and what the caller had added."""

    step: int
    state: dict[str, Any]
    metadata: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, of which there is one writer, be it of several processes.

    Kept are the `newest` ones, the `best` ones by validation (lower is better), and with
    `log_spaced` those of steps 1, 2, 4, 8 ...: the early ones, where most is learned. A save that
    has not ended after `timeout` seconds has failed.

    All processes call everything but `poll` and `steps`, in the same order.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        newest: int = 3,
        best: int = 1,
        log_spaced: bool = True,
        timeout: int = TIMEOUT,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.newest, self.best, self.log_spaced = newest, best, log_spaced
        self.timeout = timeout
        self._pending: int | None = None
        self._validation: dict[int, float | None] = {}  # as process 0 knows it
        self._unread: set[int] = set()  # what the disk did not give, as process 0 met it
        job.from_first(self._open, f"{self.folder} is opened")
        self._commit = Commit()
        everyone = ocp.options.MultiprocessingOptions(active_processes=set(range(job.count())))
        background = ocp.options.AsyncOptions(
            timeout_secs=timeout,
            barrier_sync_fn=self._commit,
            # Called by process 0 when all files are final, those of all processes merged, and
            # before the folder is renamed. A list that cannot be written is a save that failed.
            post_finalization_callback=lambda: files.write_list(self._unfinished),
        )
        self._writer = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(
                composite_options=ocp.CompositeOptions(
                    multiprocessing_options=everyone, async_options=background
                )
            ),
            async_options=background,
            multiprocessing_options=everyone,
        )

    def steps(self) -> list[int]:
        """The steps of whole checkpoints, rising."""
        return steps(self.folder)

    def save(
        self,
        step: int,
        state: dict[str, Any],
        *,
        metadata: dict[str, Any] | None = None,
        validation: float | None = None,
    ) -> bool:
        """Start saving `state`, a tree with the key "parameters"; return whether it began, or is
        saved already.

        The arrays may be donated as soon as this returns. A failure to write (now, or of the save
        before this one) is said on stderr and raises nothing: the run is worth more. Where one
        process fails the save has failed for all.
        Of a step that is saved already, and was not found unreadable, only `metadata` and
        `validation` are written anew, and what need not be kept by now is deleted.
        """
        self.wait()
        if validation is not None and not math.isfinite(validation):
            validation = None
        found = job.from_first(lambda: self._found(step), f"whether step {step} is saved")
        if found is None:
            return False
        if found:
            return job.from_first(
                lambda: self._amend(step, metadata or {}, validation), "metadata are written"
            )
        body = {
            "format_version": files.FORMAT_VERSION,
            "step": step,
            "validation": validation,
            "leaves": arrays.describe(state),
            "content": metadata or {},
        }
        self._pending, self._validation[step] = step, validation
        self._commit.begin()
        hindrance = job.from_first(lambda: self._hindrance(step), f"whether {step} can be saved")
        if hindrance:
            return self._ended(step, hindrance if job.is_first() else None)
        rest = {name: part for name, part in state.items() if name != "parameters"}
        whole = ocp.args.Composite(
            parameters=ocp.args.StandardSave(state["parameters"]),
            training=ocp.args.StandardSave(rest),
            metadata=ocp.args.JsonSave(files.seal(body)),
        )
        error = _error_of(lambda: self._writer.save(self.folder / str(step), args=whole))
        if error:
            self._commit.give_up()
        if job.all_of(error is None, f"the save of step {step} begins"):
            return True
        return self._ended(step, one_line(error) if error else None)

    def wait(self) -> bool:
        """Wait for the save under way, delete what need not be kept; False if it had failed."""
        return self._pending is None or self._ended(self._pending)

    def poll(self) -> None:
        """Hear how the save under way has ended, if it has; waits for nothing.

        With several processes this is heard of when all wait.
        """
        if self._pending is None or job.count() > 1:
            return
        try:
            self._writer.check_for_errors()
        except Exception as error:
            self._ended(self._pending, one_line(error))
        else:
            if (self.folder / str(self._pending)).exists():
                self.wait()

    def restore(self, abstract: dict[str, Any]) -> Restored | None:
        """The newest checkpoint that is what was saved, or None where none was ever saved.

        `abstract` is the tree of jax.ShapeDtypeStruct, with the shardings to restore to; they need
        not be those it was saved with. Where a checkpoint is damaged, or the disk twice does not
        give a file of it, the one before it is tried. Once one is restored, those passed over are
        named on stderr; damaged ones are renamed STEP.damaged, unread ones stay as they are.

        Raises InputError when none can be restored, when the arrays are not those of `abstract`,
        and (as Unreadable) when files cannot be read for now. It has renamed nothing then.
        """
        damaged: dict[int, str] = {}
        unread: dict[int, str] = {}
        for step in reversed(job.from_first(self.steps, "which checkpoints there are")):
            try:
                state, content = self._restored(step, abstract)
            except Damaged as error:
                damaged[step] = str(error)
                continue
            except DiskError as error:
                unread[step] = str(error)
                continue
            leave_behind = partial(self._leave_behind, damaged, unread, step)
            job.from_first(leave_behind, "damaged checkpoints are set aside")
            return Restored(step, state, content)
        if not job.from_first(lambda: begun(self.folder), "whether anything was saved"):
            return None
        reasons = [f"{s}: {why}" for s, why in sorted((damaged | unread).items(), reverse=True)]
        reasons += sorted(path.name for path in self.folder.glob(f"*{files.DAMAGED}*"))
        raise (Unreadable if unread else InputError)(
            f"{self.folder}: every checkpoint is damaged{' or cannot be read' if unread else ''}, "
            f"and nothing was changed ({'; '.join(reasons)}). Bring them back from a copy, or "
            "train in another workdir"
        )

    def close(self) -> bool:
        """Wait for the save under way and stop; False if it had failed."""
        if job.count() > 1 and sys.exc_info()[0] is not None:
            # This process is leaving, and the others need not be: nothing can be agreed on. What
            # it has begun to write it finishes.
            good = _error_of(self._writer.wait_until_finished) is None
            self._pending = None
        else:
            good = self.wait()
        self._writer.close()
        return good

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            for step in self.steps():
                self._look_at(step)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be used: {error.strerror}") from error

    def _look_at(self, step: int) -> None:
        """Learn a checkpoint's score."""
        try:
            self._validation[step] = files.validation(self.folder / str(step))
            self._unread.discard(step)
        except DiskError:
            self._unread.add(step)

    def _restored(
        self, step: int, abstract: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As `arrays.restore`; what the disk does not give is asked for once more."""
        path = self.folder / str(step)
        # The second time outside of the first's handling: an error has what is handled as context.
        with contextlib.suppress(DiskError):
            return arrays.restore(path, abstract)
        return arrays.restore(path, abstract)

    def _found(self, step: int) -> bool | None:
        """Whether a step is saved already. One that could not be read counts as not saved, and is
        set aside; None where it cannot be."""
        if step in self._unread and step in self.steps():
            path = self.folder / str(step)
            try:
                aside = files.set_aside(path)
            except OSError as error:
                say(
                    f"checkpoint of step {step} was NOT saved: the one that is there cannot be "
                    f"read, nor set aside: {one_line(error)}; training goes on"
                )
                return None
            say(f"checkpoint {path} could not be read; set aside as {aside.name}, saved anew")
            self._unread.discard(step)
        return step in self.steps()

    def _hindrance(self, step: int) -> str | None:
        """Why a folder cannot be made and written here at all; None where it can. Asked first,
        because Orbax has all others wait for minutes where process 0 cannot."""
        probe = self.folder / f"{step}{files.TMP}-probe"
        error = _error_of(
            lambda: (probe.mkdir(exist_ok=True), (probe / "probe").write_bytes(bytes(4096)))
        )
        shutil.rmtree(probe, ignore_errors=True)
        return one_line(error) if error else None

    def _ended(self, step: int, reason: str | None = None) -> bool:
        """How the save of `step` ended, for all processes: it is there, or it is said why not.

        `reason` is one that this process knows already.
        """
        error = _error_of(self._writer.wait_until_finished)
        if error:
            self._commit.give_up()
            if not isinstance(error, GaveUp):
                reason = reason or one_line(error)
        there = job.is_first() and (self.folder / str(step)).is_dir()
        # Process 0 has files to merge and hash when the others have none left to write.
        longest = max(self.timeout, job.WAIT)
        ends = job.gathered([there, reason], f"how {step} was saved", seconds=longest)
        self._pending, saved = None, ends[0][0]
        if job.is_first():
            if saved:
                self._tidy(step)
            else:
                self._validation.pop(step, None)
                of = "process {}: " if job.count() > 1 else ""
                why = "; ".join(of.format(n) + said for n, (_, said) in enumerate(ends) if said)
                say(f"checkpoint of step {step} was NOT saved: {why}; training goes on")
            # Of an earlier failure too: its last writers may have outlived it.
            self._remove_leftovers()
        return saved

    @property
    def _unfinished(self) -> Path:
        return self.folder / f"{self._pending}{files.TMP}"

    def _amend(self, step: int, content: dict[str, Any], validation: float | None) -> bool:
        """Write a checkpoint's metadata and validation anew; its arrays stay as they are. Whether
        its state is saved: not where the metadata that are there are damaged."""
        path = self.folder / str(step)
        try:
            body = files.read_metadata(path) | {"content": content}
            if validation is not None:
                body["validation"] = validation
            files.write_metadata(path, body)
        except (Damaged, InputError, ValueError) as error:
            what = "metadata" if validation is None else "metadata and the score"
            say(f"the {what} of checkpoint {step} were NOT saved: {one_line(error)}")
            return not isinstance(error, Damaged)
        if validation is not None:
            self._validation[step] = validation
            self._tidy(step)
        return True

    def _leave_behind(self, damaged: dict[int, str], unread: dict[int, str], step: int) -> None:
        self._look_at(step)
        self._unread |= unread.keys()
        for passed, why in unread.items():
            path = self.folder / str(passed)
            say(f"checkpoint {path} is left as it is ({why}), going on from step {step}")
        for bad, why in damaged.items():
            aside = files.set_aside(self.folder / str(bad))
            self._validation.pop(bad, None)
            self._unread.discard(bad)
            say(
                f"checkpoint {self.folder / str(bad)} is damaged ({why}); set aside as "
                f"{aside.name}, going on from step {step}"
            )

    def _remove_leftovers(self) -> None:
        for path in files.leftovers(self.folder):
            shutil.rmtree(path, ignore_errors=True)

    def _tidy(self, step: int) -> None:
        """Delete what need not be kept, now that the checkpoint of `step` is there to stay."""
        # What could not be read takes no good one's place, and stays: another time it may be read.
        here = [s for s in self.steps() if s not in self._unread]
        keep = set(here[-self.newest :])
        scored = {s: v for s in here if (v := self._validation.get(s)) is not None}
        keep |= set(files.best_first(scored)[: self.best])
        if self.log_spaced:
            keep |= {step for step in here if step & (step - 1) == 0}
        try:
            files.sync(self.folder)
            for old in set(here) - keep:
                files.delete(self.folder / str(old))
        except OSError as error:
            say(f"checkpoint of step {step} is saved, old ones are not deleted: {one_line(error)}")


def read_parameters(
    folder: str | Path, step: int | str | None = None
) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """Parameters alone, verified: (nested dict of arrays, step, the caller's metadata).

    `step` is a number, "best" (lowest validation; the newest where nothing was validated) or None
    (the newest). A damaged one is named on stderr and the next best or newest read instead, but
    not where a step was asked for by number. Nothing is renamed: a run may be going on here.
    Several processes call it together; each has the arrays on its own first device.

    Raises InputError, and it as Unreadable where files cannot be read for now.
    """
    folder = Path(folder).absolute()
    for candidate in job.from_first(lambda: _order(folder, step), "which checkpoint is read"):
        path = folder / str(candidate)
        try:
            parameters, content = arrays.parameters(path)
        except Damaged as error:
            if job.is_first():
                say(f"checkpoint {path} is damaged ({error})")
            continue
        return parameters, candidate, content
    raise InputError(f"{folder}: no checkpoint that can be read (see above)")


def _order(folder: Path, step: int | str | None) -> list[int]:
    """The steps to try, as `read_parameters` has them."""
    here = steps(folder)
    if not here:
        raise InputError(f"{folder}: no checkpoint here yet")
    if isinstance(step, int):
        if step not in here:
            raise InputError(f"{folder}: no checkpoint of step {step}; there are {listed(here)}")
        return [step]
    if step == "best":
        return files.best_first({s: files.validation(folder / str(s)) for s in here})
    if step is None:
        return here[::-1]
    raise InputError(f'step {step!r}: a number, or "best"')


def _error_of(act: Callable[[], Any]) -> Exception | None:
    try:
        act()
    except Exception as error:
        return error
    return None
