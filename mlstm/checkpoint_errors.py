"""What can be wrong with a checkpoint, and how it is said in one line."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from mlstm.errors import NotNow

# Errors of the system that say nothing of whether the files are what was saved. Orbax hands some
# on as OSError, some as the words alone.
_OF_THE_MACHINE = {
    errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE,
    errno.ETIMEDOUT,
}  # fmt: skip
_WORDS = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", *map(os.strerror, _OF_THE_MACHINE))


class Damaged(Exception):
    """A checkpoint that is not what was saved."""


class Unreadable(NotNow):
    """A checkpoint that cannot be read here and now, and may be good."""


class DiskError(Unreadable):
    """One of which the disk does not give a file: a bad sector, if it stays so. It says nothing of
    whether others can be read."""


def raise_if_of_the_machine(path: Path, error: Exception) -> None:
    """MemoryError or Unreadable where a read failed for want of memory, files or rights, or of a
    disk that answers (DiskError): that says nothing of the checkpoint."""
    for cause in _causes(error):
        if isinstance(cause, MemoryError):
            raise cause
        numbered = isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE
        if numbered or any(words in str(cause) for words in _WORDS):
            number, words = getattr(cause, "errno", None), os.strerror(errno.EIO)
            of_disk = number == errno.EIO or words in str(cause)
            raise (DiskError if of_disk else Unreadable)(
                f"{path} cannot be read now, which says nothing of what is in it: "
                f"{one_line(cause)}; nothing was changed"
            ) from error


def one_line(error: BaseException) -> str:
    """The error's kind and reason; a long one without its middle, which is paths."""
    # Behind the reason TensorStore puts all that it knows of the array.
    text = " ".join(str(error).split()).partition(" [tensorstore_spec")[0]
    text = f"{text[:200]} ... {text[-200:]}" if len(text) > 420 else text
    return f"{type(error).__name__}: {text}"


def listed(items: list) -> str:
    """The first eight, and how many more there are."""
    shown = ", ".join(map(str, items[:8]))
    return f"{shown} and {len(items) - 8} more" if len(items) > 8 else shown


def say(text: str) -> None:
    """One line on stderr."""
    with contextlib.suppress(OSError, ValueError):  # a terminal that is gone ends nothing
        print(f"mlstm: {text}", file=sys.stderr, flush=True)


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
