"""Event files, as TensorBoard reads them."""

import itertools
import os
import socket
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

_files = itertools.count()


class EventFiles:
    """Appends events to a file in `folder`.

    Each is on its way to the disk when `add` returns. One that cannot be written raises OSError;
    the next begins another file, for the one before may end in half an event.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: RecordWriter | None = None

    def add(self, step: int, **content: Any) -> None:
        """`content`: fields of TensorBoard's Event, as summary=..."""
        event = _event(step=step, **content)
        try:
            writer = self._writer or self._open()
            writer.write(event.SerializeToString())
            writer.flush()
        except OSError:
            self._leave()
            raise

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> RecordWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        # The names that TensorBoard looks for, and in whose order it reads them.
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter((self._folder / f"{name}.{next(_files)}").open("xb"))
        version = _event(file_version="brain.Event:2")
        self._writer.write(version.SerializeToString())
        return self._writer

    def _leave(self) -> None:
        try:
            self.close()
        except OSError:  # what it still held cannot be written either
            self._writer = None


def _event(**fields: Any) -> Any:
    return event_pb2.Event(wall_time=time.time(), **fields)  # pyright: ignore[reportAttributeAccessIssue]
