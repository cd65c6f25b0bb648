"""Where a run says how it goes: metrics.jsonl, TensorBoard, and one line on the terminal.

A run that resumes from step N has no line of a later step: metrics.jsonl is cut, and TensorBoard
is told that a session starts.
"""
# Protobuf makes its classes at import, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

import contextlib
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util import tensor_util

from mlstm.errors import InputError
from mlstm.output import to_json, write_whole
from mlstm.training.events import EventFiles


class Metrics:
    """Writes what was measured, from step `start` of `steps` on.

    What cannot be written costs lines, not the run: a disk that is full is said once; a terminal
    that is closed, a pipe whose reader has gone (`2>&1 | head`) or a full disk behind `2> log` is
    passed over in silence, and the run goes on to its end. What is no number is null in
    metrics.jsonl and left out of TensorBoard.

    `validated` is the last step that was validated; a validation logged after it is cut too.
    """

    def __init__(
        self,
        workdir: Path,
        start: int,
        steps: int,
        *,
        validated: int | None = None,
        terminal: TextIO | None = None,
    ):
        self._terminal = terminal or sys.stderr
        self._rewrites = self._terminal is not None and self._terminal.isatty()
        self._steps, self._open = steps, False
        self._troubled = False
        self._samples = workdir / "samples"
        self.path = workdir / "metrics.jsonl"
        self._to_cut: tuple[int, int | None] | None = start, validated
        self._lines: TextIO | None = None
        self._events = EventFiles(workdir / "tensorboard")
        try:
            self._opened()
        except (OSError, InputError) as error:
            self._trouble(error)
        begins = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._event(start + 1, session_log=begins)

    def train(
        self,
        step: int,
        values: dict[str, float],
        gates: dict[str, tuple[float, float]],
        seconds_left: float,
        of_seeds: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        """One log of training. `values` has at least bits_per_byte (nan where every step was
        skipped) and bytes_per_second; `gates` are for each gate site the shares of values below
        0.1 and above 0.9. Of a population they are means, but `skipped` is a sum, and
        bytes_per_second counts once the text that all models read; `of_seeds` has the bits per byte
        of each."""
        record = {"step": step, "kind": "train", **values, **_listed(of_seeds)}
        self._line(record | ({"gates": gates} if gates else {}))
        scalars = {f"train/{name}": value for name, value in values.items()}
        scalars |= _tagged("train", of_seeds)
        for site, (low, high) in gates.items():
            scalars |= {f"gates/{site} below 0.1": low, f"gates/{site} above 0.9": high}
        self._scalars(step, scalars)
        skipped = f"  {values['skipped']:.0f} skipped" if values.get("skipped") else ""
        bits = values["bits_per_byte"]
        shown = f"{bits:.3f}" if math.isfinite(bits) else "no"
        self._progress(
            f"step {step}/{self._steps}  {shown} bits/byte{_range(of_seeds)}  "
            f"{_rate(values['bytes_per_second'])}  {_duration(seconds_left)} left{skipped}"
        )

    def validation(
        self,
        step: int,
        bits_per_byte: float,
        best: bool,
        of_seeds: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        """One reading of the held-out text; not finite where the model has gone wrong. Of a
        population it is the mean, and `of_seeds` has that of each model."""
        record = {"step": step, "kind": "validation", "bits_per_byte": bits_per_byte}
        self._line(record | _listed(of_seeds))
        scalars = {"validation/bits_per_byte": bits_per_byte}
        self._scalars(step, scalars | _tagged("validation", of_seeds))
        self.say(
            f"step {step}/{self._steps}  validation {bits_per_byte:.4f} bits/byte"
            f"{_range(of_seeds)}{'  (best)' if best else ''}"
        )

    def samples(self, step: int, texts: list[bytes]) -> None:
        """What the model wrote: samples/STEP.txt, and a text in TensorBoard."""
        readable = [text.decode(errors="replace") for text in texts]
        body = ("\n" + "-" * 40 + "\n").join(readable) + "\n"
        try:
            write_whole(self._samples / f"{step}.txt", body)
        except InputError as error:
            self._trouble(error)
        quoted = [f"```\n{text}\n```" for text in readable]
        value = summary_pb2.Summary.Value(
            tag="samples",
            metadata=text_metadata.create_summary_metadata(display_name="", description=""),
            tensor=tensor_util.make_tensor_proto([q.encode() for q in quoted]),
        )
        self._event(step, summary=summary_pb2.Summary(value=[value]))

    def say(self, text: str) -> None:
        """A line of its own on the terminal."""
        self._show(("\n" if self._open else "") + text + "\n")
        self._open = False

    def close(self) -> None:
        if self._open:
            self._show("\n")
        for closing in (self._lines, self._events):
            try:
                if closing is not None:
                    closing.close()
            except OSError as error:
                self._trouble(error)

    def _line(self, record: dict[str, Any]) -> None:
        try:
            self._opened().write(to_json(record) + "\n")
        except (OSError, InputError) as error:
            self._trouble(error)

    def _opened(self) -> TextIO:
        """metrics.jsonl, cut to where the run began before anything is appended: no step is in it
        twice. With a full disk that may not be at once."""
        if self._to_cut:
            cut(self.path, *self._to_cut)
            self._to_cut = None
        if self._lines is None:
            self._lines = self.path.open("a", buffering=1)
        return self._lines

    def _scalars(self, step: int, scalars: dict[str, float]) -> None:
        values = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value)
            for tag, value in scalars.items()
            if math.isfinite(value)
        ]
        self._event(step, summary=summary_pb2.Summary(value=values))

    def _event(self, step: int, **content: Any) -> None:
        try:
            self._events.add(step, **content)
        except OSError as error:
            self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        if not self._troubled:
            self.say(f"mlstm: metrics cannot be written: {error}; training goes on")
        self._troubled = True

    def _progress(self, text: str) -> None:
        if not self._rewrites:
            self.say(text)
            return
        self._show(f"\r\x1b[K{text}")
        self._open = True

    def _show(self, text: str) -> None:
        if self._terminal is None:  # the shell closed it
            return
        with contextlib.suppress(OSError, ValueError):  # see the class
            self._terminal.write(text)
            self._terminal.flush()


class Quiet:
    """In the place of Metrics, for the processes of a job that write nothing down."""

    def train(self, *_: Any) -> None: ...

    def validation(self, *_: Any) -> None: ...

    def samples(self, *_: Any) -> None: ...

    def say(self, _: str) -> None: ...

    def close(self) -> None: ...


def cut(path: Path, step: int, validated: int | None = None) -> None:
    """Keep the lines of `path` up to `step`, and validations up to the step `validated` (None is
    `step`). What is no line of a log, as a half-written last one, goes too."""
    if not path.exists():
        return
    last = {"validation": step if validated is None else min(step, validated)}
    kept = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
            if record["step"] <= last.get(record["kind"], step):
                kept.append(line.decode() + "\n")
        except (ValueError, TypeError, LookupError):
            continue
    write_whole(path, "".join(kept))


def _listed(of_seeds: Mapping[int, float]) -> dict[str, list[float]]:
    return {"bits_per_byte_of_seeds": list(of_seeds.values())} if of_seeds else {}


def _tagged(kind: str, of_seeds: Mapping[int, float]) -> dict[str, float]:
    return {f"{kind}/bits_per_byte of seed {seed}": bits for seed, bits in of_seeds.items()}


def _range(of_seeds: Mapping[int, float]) -> str:
    finite = [bits for bits in of_seeds.values() if math.isfinite(bits)]
    return f" ({min(finite):.3f} to {max(finite):.3f})" if finite else ""


def _rate(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e3:.1f} kB/s"


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
