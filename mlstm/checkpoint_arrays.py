"""The arrays of one checkpoint: read, verified, agreed on by the processes that read together.

This and `checkpoint` are the modules that know Orbax.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from etils import epath

from mlstm import checkpoint_files as files
from mlstm import job
from mlstm.checkpoint_errors import (
    Damaged,
    DiskError,
    Unreadable,
    listed,
    one_line,
    raise_if_of_the_machine,
    say,
)
from mlstm.digests import digests
from mlstm.errors import InputError

# Seconds in which a checkpoint, be it of terabytes on a slow disk, is read. A process that is gone
# is noticed within the heartbeat.
READING = 6 * 3600.0

# What a process can meet when it reads. Of several the first is what all of them raise.
_KINDS = (MemoryError, Unreadable, DiskError, Damaged)

T = TypeVar("T")
Progress = Callable[[int, int], None]

# A failed read or write is logged with a traceback for each array; it also reaches us as an
# exception, which is said in one line.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
logging.getLogger("asyncio").addFilter(lambda record: "OCDBT" not in str(record.exc_info))


def _hush_late_writers(show: Callable = sys.unraisablehook) -> Callable:
    """A failed write's other writers find the event loop closed behind them, once for each array;
    TensorStore's threads show that with a traceback. `show` has all the rest."""

    def hook(met: Any) -> None:
        if not (met.exc_type is RuntimeError and str(met.exc_value) == "Event loop is closed"):
            show(met)

    return hook


sys.unraisablehook = _hush_late_writers()


def describe(state: Any, values: bool = True) -> dict[str, Any]:
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


def restore(path: Path, abstract: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state in a checkpoint, as `abstract` has it, and what the caller had added.

    In this order: the seal of its metadata, the list of its files, the reading, the digests of the
    arrays. Raises Damaged where one is wrong, Unreadable, and InputError where the arrays are not
    those of `abstract`; on all processes alike.
    """
    body, doubt = _first(lambda: _looked_at(path), f"{path} is read")
    saved, wanted = body["leaves"], describe(abstract, values=False)
    for name in sorted(set(saved) | set(wanted)):
        was, want = (d[name][:2] if name in d else "no such array" for d in (saved, wanted))
        if was != want:
            raise InputError(
                f"{path} holds another model or optimizer: {name} is {was} there and {want} here"
            )
    rest = {name: part for name, part in abstract.items() if name != "parameters"}
    state = _agreed(
        lambda: {
            "parameters": _read(path / "parameters", abstract["parameters"]),
            **_read(path / "training", rest),
        },
        f"{path} is read",
    )
    _verify(describe(state), saved)
    _say_doubt(path, doubt)
    return state, body["content"]


def parameters(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters in a checkpoint, verified, on the first device of this process, and what the
    caller had added. Raises as `restore` does; files of the rest of the state are not looked at."""
    body, doubt = _first(lambda: _looked_at(path, "parameters/"), f"{path} is read")

    def read() -> Any:
        found = _read(path / "parameters")
        _verify(describe({"parameters": found}), _of_parameters(body["leaves"]))
        return found

    found = _agreed(read, f"{path} is read")
    _say_doubt(path, doubt)
    return found, body["content"]


def verify(path: Path, progress: Progress = lambda done, total: None) -> str | None:
    """Read a checkpoint whole, in this process alone: its files, then every array.

    Returns what is wrong with its list of files where that is all, else None. `progress` is called
    with (bytes hashed, bytes in all). Raises Damaged, Unreadable, and InputError where another
    version wrote it.
    """
    _, doubt = _looked_at(path, progress=progress)
    verify_arrays(path)
    return doubt


def verify_arrays(path: Path) -> None:
    """The arrays of a checkpoint alone, whatever its list of files says. Raises as `verify`."""
    saved = files.read_metadata(path)["leaves"]
    mine = _of_parameters(saved)
    # One after the other, so that no more than one is in memory.
    _verify(describe({"parameters": _read(path / "parameters")}), mine)
    rest = {name: leaf for name, leaf in saved.items() if name not in mine}
    _verify(describe(_read(path / "training")), rest)


def _looked_at(
    path: Path,
    under: str = "",
    progress: Progress = lambda done, total: None,
) -> tuple[dict[str, Any], str | None]:
    """A checkpoint's metadata, when the listed files `under` a folder are what was written; and
    what is wrong with the list, if anything."""
    body = files.read_metadata(path)
    try:
        entries = files.read_list(path)
    except Damaged as error:
        return body, str(error)
    below = {name: entry for name, entry in entries.items() if name.startswith(under)}
    files.check_files(path, below, progress)
    return body, None


def _of_parameters(leaves: dict[str, Any]) -> dict[str, Any]:
    return {name: leaf for name, leaf in leaves.items() if name.startswith("parameters/")}


def _read(path: Path, abstract: Any = None) -> Any:
    """The arrays of a folder: as `abstract` has them, or on this process's first device in dicts
    and lists."""
    # Not with Orbax's Checkpointer: that has those who could read wait for those who could not.
    try:
        handler = ocp.StandardCheckpointHandler()
        if abstract is None:
            here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            abstract = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
                handler.metadata(epath.Path(path)).tree,
            )
        return handler.restore(epath.Path(path), args=ocp.args.StandardRestore(abstract))
    except Exception as error:  # Orbax raises a dozen kinds, plain Exception among them
        raise_if_of_the_machine(path, error)
        raise Damaged(f"{path.name}: {one_line(error)}") from error


def _verify(found: dict[str, Any], saved: dict[str, Any]) -> None:
    wrong = [path for path in saved if found.get(path) != saved[path]]
    if wrong:
        raise Damaged(f"{listed(wrong)}: not the bits that were saved")


def _first(read: Callable[[], T], what: str) -> T:
    """What `read` returns in process 0, in all; it may raise Damaged and Unreadable as well as
    InputError."""

    def told() -> tuple[T | None, str, str]:
        try:
            return read(), "", ""
        except (Damaged, Unreadable) as error:
            return None, type(error).__name__, str(error)

    value, name, said = job.from_first(told, what, seconds=READING)
    for kind in _KINDS:
        if name == kind.__name__:
            raise kind(said)
    return value  # pyright: ignore[reportReturnType]


def _agreed(read: Callable[[], T], what: str) -> T:
    """What `read` returns here, if it returns on every process; else what it raised on one."""
    value, error = None, None
    try:
        value = read()
    except (Damaged, Unreadable, MemoryError) as met:
        error = met
    ends = job.gathered([type(error).__name__, str(error)], what, seconds=READING)
    if error and job.count() == 1:
        raise error
    for kind in _KINDS:
        for process, (name, said) in enumerate(ends):
            if name == kind.__name__:
                raise kind(f"process {process}: {said}") from error
    return value  # pyright: ignore[reportReturnType]


def _say_doubt(path: Path, doubt: str | None) -> None:
    if doubt and job.is_first():
        say(f"checkpoint {path}: {doubt}; the digests of its arrays are good")
