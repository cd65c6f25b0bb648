"""Checkpoints: save in the background, verify, fall back, and read parameters alone.

The only module that knows Orbax. A checkpoint is a folder named by its step, which appears under
that name when it is whole:

    STEP/parameters     the model's parameters
    STEP/training       the rest of the state
    STEP/metadata       JSON: shape, type and digest of each array, and what the caller adds

Orbax sees a truncated file, but not a flipped bit in an array. So each array has a digest, computed
on the devices before it is saved and after it is restored; the JSON has one of its own.
"""

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from mlstm.digests import digests
from mlstm.errors import InputError
from mlstm.output import write_whole

# A failed write is logged with a traceback for each array; it also reaches us as an exception,
# which is said in one line.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
logging.getLogger("asyncio").addFilter(lambda record: "OCDBT" not in str(record.exc_info))

FORMAT_VERSION = 1
TMP, DELETING, DAMAGED = ".orbax-checkpoint-tmp", ".deleting", ".damaged"

# Errors of the system that say nothing of whether the files are what was saved. Orbax hands some
# on as OSError, some as the words alone.
_OF_THE_MACHINE = {
    errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE,
    errno.ETIMEDOUT,
}  # fmt: skip
_WORDS = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", *map(os.strerror, _OF_THE_MACHINE))


@dataclass(frozen=True)
class Restored:
    """A state read back: its step, the tree, and what the caller had added."""

    step: int
    state: dict[str, Any]
    metadata: dict[str, Any]


class Damaged(Exception):
    """A checkpoint that is not what was saved."""


class Unreadable(InputError):
    """A checkpoint that cannot be read here and now, and may be good."""


class Checkpoints:
    """The checkpoints of one run, of which there is one writer.

    Kept are the `newest` ones, the `best` ones by validation (lower is better), and with
    `log_spaced` those of steps 1, 2, 4, 8 ...: the early ones, where most is learned.
    """

    def __init__(
        self, folder: str | Path, *, newest: int = 3, best: int = 1, log_spaced: bool = True
    ) -> None:
        self.folder = Path(folder).absolute()
        self.newest, self.best, self.log_spaced = newest, best, log_spaced
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        self._validation = {step: _validation(self.folder, step) for step in self.steps()}
        self._pending: int | None = None
        self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())

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
        """Start saving `state`, a tree with the key "parameters"; return whether it began.

        The arrays may be donated as soon as this returns. A failure to write (now, or of the save
        before this one) is said on stderr and raises nothing: the run is worth more.
        Of a step that is saved already only `metadata` and `validation` are written anew.
        """
        self.wait()
        if validation is not None and not math.isfinite(validation):
            validation = None
        if step in self.steps():
            return self._amend(step, metadata or {}, validation)
        body = {
            "format_version": FORMAT_VERSION,
            "step": step,
            "validation": validation,
            "leaves": _describe(state),
            "content": metadata or {},
        }
        rest = {name: part for name, part in state.items() if name != "parameters"}
        try:
            self._writer.save(
                self.folder / str(step),
                args=ocp.args.Composite(
                    parameters=ocp.args.StandardSave(state["parameters"]),
                    training=ocp.args.StandardSave(rest),
                    metadata=ocp.args.JsonSave(_seal(body)),
                ),
            )
        except Exception as error:
            self._failed(step, error)
            return False
        self._pending = step
        self._validation[step] = validation
        return True

    def wait(self) -> bool:
        """Wait for the save under way, delete what need not be kept; False if it had failed."""
        if self._pending is None:
            return True
        step, self._pending = self._pending, None
        try:
            self._writer.wait_until_finished()
        except Exception as error:
            self._failed(step, error)
            return False
        self._delete_old()
        # Of an earlier failure: its last writers may have outlived it.
        self._remove_leftovers()
        return True

    def poll(self) -> None:
        """Hear how the save under way has ended, if it has; waits for nothing."""
        if self._pending is None:
            return
        try:
            self._writer.check_for_errors()
        except Exception as error:
            step, self._pending = self._pending, None
            self._failed(step, error)
        else:
            if (self.folder / str(self._pending)).exists():
                self.wait()

    def restore(self, abstract: dict[str, Any]) -> Restored | None:
        """The newest checkpoint that is what was saved, or None where none was ever saved.

        `abstract` is the tree of jax.ShapeDtypeStruct, with the shardings to restore to; they need
        not be those it was saved with. Where a checkpoint is damaged, the one before it is tried;
        once one is restored, the damaged ones are renamed STEP.damaged and named on stderr.

        Raises InputError when all are damaged, when the arrays are not those of `abstract`, and
        (as Unreadable) when files cannot be read for now. It has renamed nothing then.
        """
        damaged: dict[int, Damaged] = {}
        for step in reversed(self.steps()):
            try:
                restored = _restore(self.folder, step, abstract)
            except Damaged as error:
                damaged[step] = error
                continue
            for bad, error in damaged.items():
                aside = _set_aside(self.folder / str(bad))
                self._validation.pop(bad, None)
                _say(f"checkpoint {self.folder / str(bad)} is damaged ({error}); set aside as "
                     f"{aside.name}, going on from step {step}")  # fmt: skip
            return restored
        if not begun(self.folder):
            return None
        reasons = [f"{step}: {error}" for step, error in damaged.items()]
        reasons += sorted(path.name for path in self.folder.glob(f"*{DAMAGED}*"))
        raise InputError(
            f"{self.folder}: every checkpoint is damaged, and nothing was changed "
            f"({'; '.join(reasons)}). Bring them back from a copy, or train in another workdir"
        )

    def close(self) -> bool:
        """Wait for the save under way and stop; False if it had failed."""
        good = self.wait()
        self._writer.close()
        return good

    def _amend(self, step: int, content: dict[str, Any], validation: float | None) -> bool:
        """Write a checkpoint's metadata and validation anew; its arrays stay as they are."""
        try:
            body = _metadata(self.folder, step) | {"content": content}
            if validation is not None:
                body["validation"] = validation
                self._validation[step] = validation
            # The file that JsonSave makes.
            write_whole(self.folder / str(step) / "metadata" / "metadata", json.dumps(_seal(body)))
        except (Damaged, InputError, ValueError) as error:
            _say(f"the metadata of checkpoint {step} were NOT saved: {_one_line(error)}")
            return False
        return True

    def _failed(self, step: int, error: Exception) -> None:
        _say(f"checkpoint of step {step} was NOT saved: {_one_line(error)}; training goes on")
        self._validation.pop(step, None)
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for path in self.folder.iterdir():
            if TMP in path.name or path.name.endswith(DELETING):
                shutil.rmtree(path, ignore_errors=True)

    def _delete_old(self) -> None:
        here = self.steps()
        keep = set(here[-self.newest :])
        scored = [(v, s) for s in here if (v := self._validation.get(s)) is not None]
        keep |= {step for _, step in sorted(scored)[: self.best]}
        if self.log_spaced:
            keep |= {step for step in here if step & (step - 1) == 0}
        for step in set(here) - keep:
            # Renamed first: a checkpoint is whole or it is not there.
            going = (self.folder / str(step)).rename(self.folder / f"{step}{DELETING}")
            shutil.rmtree(going, ignore_errors=True)


def begun(folder: str | Path) -> bool:
    """Whether a checkpoint was ever saved in a folder, be it damaged by now."""
    return bool(steps(folder)) or any(Path(folder).glob(f"*{DAMAGED}*"))


def steps(folder: str | Path) -> list[int]:
    """The steps of the whole checkpoints in a folder, rising; none where there is no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir())


def read_parameters(
    folder: str | Path, step: int | str | None = None
) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """Parameters alone, verified: (nested dict of arrays, step, the caller's metadata).

    `step` is a number, "best" (lowest validation; the newest where nothing was validated) or None
    (the newest). A damaged one is named on stderr and the next best or newest read instead, but
    not where a step was asked for by number. Nothing is renamed: a run may be going on here.

    Raises InputError, and it as Unreadable where files cannot be read for now.
    """
    folder = Path(folder).absolute()
    here = steps(folder)
    if not here:
        raise InputError(f"{folder}: no checkpoint here yet")
    if isinstance(step, int):
        if step not in here:
            raise InputError(f"{folder}: no checkpoint of step {step}; there are {_listed(here)}")
        order: Iterator[int] = iter([step])
    elif step == "best":
        scores = {s: _validation(folder, s) for s in here}
        order = iter(sorted(here, key=lambda s: (math.inf if (v := scores[s]) is None else v, -s)))
    elif step is None:
        order = reversed(here)
    else:
        raise InputError(f'step {step!r}: a number, or "best"')
    for candidate in order:
        try:
            return _parameters(folder, candidate)
        except Damaged as error:
            _say(f"checkpoint {folder / str(candidate)} is damaged ({error})")
    raise InputError(f"{folder}: no checkpoint that can be read (see above)")


def _describe(state: Any, values: bool = True) -> dict[str, Any]:
    """Path -> [type, shape, digest]."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    sums = [int(s) for s in jax.device_get(jax.tree.leaves(digests(state)))] if values else None
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): [
            str(leaf.dtype),
            list(leaf.shape),
            sums[i] if sums else None,
        ]
        for i, (path, leaf) in enumerate(leaves)
    }


def _restore(folder: Path, step: int, abstract: dict[str, Any]) -> Restored:
    body = _metadata(folder, step)
    saved, wanted = body["leaves"], _describe(abstract, values=False)
    for path in sorted(set(saved) | set(wanted)):
        was, want = (d[path][:2] if path in d else "no such array" for d in (saved, wanted))
        if was != want:
            raise InputError(
                f"{folder / str(step)} holds another model or optimizer: {path} is {was} there "
                f"and {want} here"
            )
    rest = {name: part for name, part in abstract.items() if name != "parameters"}
    state = {
        "parameters": _item(folder / str(step) / "parameters", abstract["parameters"]),
        **_item(folder / str(step) / "training", rest),
    }
    _verify(_describe(state), saved)
    return Restored(step, state, body["content"])


def _parameters(folder: Path, step: int) -> tuple[dict[str, Any], int, dict[str, Any]]:
    body = _metadata(folder, step)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract: dict[str, Any] = {}
    for path, (dtype, shape, _) in body["leaves"].items():
        *above, name = path.split("/")
        branch = abstract
        for part in above:
            branch = branch.setdefault(part, {})
        if above and above[0] == "parameters":
            branch[name] = jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=device)
    parameters = _item(folder / str(step) / "parameters", abstract["parameters"])
    found = _describe({"parameters": parameters})
    _verify(found, {path: leaf for path, leaf in body["leaves"].items() if path in found})
    return parameters, step, body["content"]


def _item(path: Path, abstract: Any) -> Any:
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            return reader.restore(path, args=ocp.args.StandardRestore(abstract))
    except Exception as error:  # Orbax raises a dozen kinds, plain Exception among them
        _raise_if_of_the_machine(path, error)
        raise Damaged(f"{path.name}: {_one_line(error)}") from error


def _verify(found: dict[str, Any], saved: dict[str, Any]) -> None:
    wrong = [path for path in saved if found[path] != saved[path]]
    if wrong:
        raise Damaged(f"{_listed(wrong)}: not the bits that were saved")


def _metadata(folder: Path, step: int) -> dict[str, Any]:
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            sealed = reader.restore(folder / str(step) / "metadata", args=ocp.args.JsonRestore())
        body = sealed["body"]
        if sealed["sha256"] != _seal(body)["sha256"]:
            raise ValueError("not the text that was saved")
    except Exception as error:
        _raise_if_of_the_machine(folder / str(step) / "metadata", error)
        raise Damaged(f"metadata: {_one_line(error)}") from error
    if body["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{folder / str(step)} has format_version {body['format_version']}; "
            f"this version reads {FORMAT_VERSION}"
        )
    return body


def _raise_if_of_the_machine(path: Path, error: Exception) -> None:
    """MemoryError or Unreadable where a read failed for want of memory, files or rights, or of a
    disk that answers: that says nothing of the checkpoint."""
    for cause in _causes(error):
        if isinstance(cause, MemoryError):
            raise cause
        numbered = isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE
        if numbered or any(words in str(cause) for words in _WORDS):
            raise Unreadable(
                f"{path} cannot be read now, which says nothing of what is in it: "
                f"{_one_line(cause)}; nothing was changed"
            ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, those in a group of errors, and those that it was raised from."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is None or cause in seen:
            continue
        seen.append(cause)
        yield cause
        waiting += [cause.__cause__, cause.__context__, *getattr(cause, "exceptions", ())]


def _seal(body: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(body, sort_keys=True, allow_nan=False)
    return {"body": json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _validation(folder: Path, step: int) -> float | None:
    try:
        return _metadata(folder, step)["validation"]
    except Unreadable:
        raise
    except (Damaged, InputError):
        return None  # said when it is read


def _set_aside(path: Path) -> Path:
    aside, n = path.with_name(f"{path.name}{DAMAGED}"), 1
    while aside.exists():
        n += 1
        aside = path.with_name(f"{path.name}{DAMAGED}{n}")
    return path.rename(aside)


def _listed(items: list) -> str:
    shown = ", ".join(map(str, items[:8]))
    return f"{shown} and {len(items) - 8} more" if len(items) > 8 else shown


def _one_line(error: BaseException) -> str:
    # Behind the reason TensorStore puts all that it knows of the array.
    text = " ".join(str(error).split()).partition(" [tensorstore_spec")[0]
    return f"{type(error).__name__}: {text[:400]}"


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # a terminal that is gone ends nothing
        print(f"mlstm: {text}", file=sys.stderr, flush=True)
