"""The run directory: one run at a time in it, and the config that it was begun with.

WORKDIR/config.json      all that is needed to rebuild the model without the config file
WORKDIR/checkpoints/     the whole state, by step
WORKDIR/metrics.jsonl    what was measured, one line each
WORKDIR/tensorboard/     the same for TensorBoard
WORKDIR/samples/         text that the model wrote on the way
WORKDIR/profile/         the trace of a few steps, where one was asked for
WORKDIR/corpus/          the prepared text, where the source was raw
WORKDIR/logs/            what each process said, under launch.node
WORKDIR/.gang/           what the hosts of a job tell each other
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TextIO

from mlstm.corpus.files import user_path
from mlstm.errors import InputError, NotNow
from mlstm.output import write_whole
from mlstm.runs import FORMAT_VERSION, read_config
from mlstm.training import beginning
from mlstm.training import config as configs
from mlstm.training.config import Config

# The hidden ones are what a killed process was writing: files, and a text being prepared.
_OURS = (
    ".lock", "config.json", "checkpoints", "metrics.jsonl", "tensorboard", "samples", "profile",
    "corpus", "logs", ".gang", ".*.part", ".corpus.*.partial",
)  # fmt: skip


@contextlib.contextmanager
def locked(workdir: str | Path, mark: str = "") -> Iterator[Path]:
    """Make the folder where it is not there, and hold its lock: the absolute path.

    `mark` is written into the lock's file, for other processes of the job to see (`is_marked`).

    Raises InputError when it cannot be written, when it holds something else than a run, or when
    another process trains in it.
    """
    path = user_path(workdir).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("a+")
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be written: {error.strerror}") from error
    with lock:
        # What launch.node starts again may come before the killed process is all gone.
        until = time.monotonic() + (5 if "MLSTM_SUPERVISOR" in os.environ else 0)
        while not _take(lock):
            if time.monotonic() >= until:
                raise NotNow(f"--workdir={workdir}: another process is training in it")
            time.sleep(0.1)
        strangers = sorted(
            p.name for p in path.iterdir() if not any(fnmatch(p.name, ours) for ours in _OURS)
        )
        if strangers and not (path / "config.json").exists():
            (path / ".lock").unlink(missing_ok=True)
            raise InputError(
                f"--workdir={workdir} is not empty and not a run (it holds {strangers[0]}): "
                "give a new folder"
            )
        with contextlib.suppress(OSError):  # a full disk: one process needs no mark
            os.truncate(lock.fileno(), 0)
            os.write(lock.fileno(), mark.encode())
            os.fsync(lock.fileno())  # so that other hosts see it now
        yield path


def _take(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise NotNow(f"{lock.name}: its file system cannot lock it: {error.strerror}") from error
    return True


def is_marked(workdir: Path, mark: str) -> bool:
    """Whether the lock of the folder holds this mark."""
    try:
        return (workdir / ".lock").read_text() == mark
    except OSError:
        return False


def seen_status(workdir: Path) -> str | None:
    """What the file system said of the text's files when the run last began here."""
    with contextlib.suppress(InputError):
        data = read_config(workdir).get("data")
        return data.get("status") if isinstance(data, dict) else None
    return None


def write(
    workdir: Path,
    config: Config,
    *,
    vocabulary: dict[str, Any],
    digest: str,
    corpus: Path,
    status: str,
    cleaning: str = "none",
    init_from: str | None = None,
    imported: bool = False,
) -> None:
    """Write config.json. `init_from` is recorded as the absolute path that it means here; with
    `imported` it began with what others had trained."""
    record = {"format_version": FORMAT_VERSION, **configs.to_dict(config)}
    record["data"] |= {"digest": digest, "corpus": str(corpus), "status": status}
    begun_from = beginning.absolute(init_from) if init_from else None
    record |= {"vocabulary": vocabulary, "cleaning": cleaning, "init_from": begun_from}
    record |= {"imported": imported}
    write_whole(workdir / "config.json", json.dumps(record, indent=2, allow_nan=False) + "\n")


_STREAMS = ("data.batch", "data.window")


def check_resumable(
    workdir: Path,
    config: Config,
    digest: str,
    init_from: str | None,
    *,
    new_streams: bool = False,
) -> None:
    """Raises InputError that lists what differs from the config the run was begun with, where a
    resumed run may not change it. With `new_streams` it may have other streams."""
    record = read_config(workdir)
    data = record.get("data")
    if not isinstance(data, dict):
        raise InputError(f'{workdir / "config.json"} has no section "data": give another --workdir')
    now = configs.to_dict(config)
    before = {
        name: {k: v for k, v in part.items() if k not in ("digest", "corpus", "status")}
        if name == "data" and isinstance(part, dict)
        else part
        for name, part in record.items()
        if name in now
    }
    changed = {
        name: values
        for name, values in configs.differences(before, now).items()
        if not configs.may_change(name)
    }
    if set(changed) <= set(_STREAMS):
        if changed and not new_streams:
            was, now_ = (
                [flat[name] for name in _STREAMS]
                for flat in (configs.flat(before), configs.flat(now))
            )
            raise other_streams(workdir, was, now_)
        changed = {}
    if changed:
        listed = "; ".join(f"{name} was {a!r} and is {b!r}" for name, (a, b) in changed.items())
        raise InputError(
            f"{workdir} was begun with another config: {listed}. Give another --workdir, or the "
            f"old values; a run may be resumed with a change in {', '.join(changeable())}"
        )
    if data.get("digest") != digest:
        raise InputError(
            f"{workdir} was begun on another text: config.data.source={config.data.source} has "
            "other bytes now. Give another --workdir, or the old text"
        )
    begun_from = record.get("init_from")
    if init_from and (
        not begun_from or beginning.absolute(begun_from) != beginning.absolute(init_from)
    ):
        raise InputError(
            f"{workdir} was begun from {begun_from or 'fresh parameters'}, not from "
            f"--init_from={init_from}: give another --workdir"
        )


def other_streams(workdir: Path, saved: list[int], wanted: list[int]) -> InputError:
    """For a run that is asked to go on with another batch or window than its state was saved with:
    lists of both."""
    return InputError(
        f"{workdir} reads {saved[0]} streams in windows of {saved[1]}, config.data now asks for "
        f"{wanted[0]} in windows of {wanted[1]}. With --new_streams it goes on with parameters, "
        "optimizer and step; lost are the state carried along the streams and the place in the "
        "epoch, of which all that was read is read again"
    )


def changeable() -> list[str]:
    """The fields that a resumed run may change, by dotted name."""
    return [
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(Config)
        if isinstance(section.default_factory, type)
        for field in dataclasses.fields(section.default_factory)
        if configs.may_change(f"{section.name}.{field.name}")
    ]
