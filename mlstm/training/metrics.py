"""Where a run says how it goes: metrics.jsonl, TensorBoard, and one line on the terminal.

A run that resumes from step N has no line of a later step: metrics.jsonl is cut, and TensorBoard
is told that a session starts.
"""
# Protobuf makes its classes at import, where a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false

import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util


class Metrics:
    """Writes what was measured, from step `start` of `steps` on.

    A disk that is full is said once and costs lines, not the run.
    """

    def __init__(self, workdir: Path, start: int, steps: int, terminal: TextIO | None = None):
        self._terminal = terminal or sys.stderr
        self._steps, self._rewrites, self._open = steps, self._terminal.isatty(), False
        self._troubled = False
        self._samples = workdir / "samples"
        self.path = workdir / "metrics.jsonl"
        cut(self.path, start)
        self._lines = self.path.open("a", buffering=1)
        self._events = EventFileWriter(str(workdir / "tensorboard"))
        begins = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._event(start + 1, session_log=begins)

    def train(
        self,
        step: int,
        values: dict[str, float],
        gates: dict[str, tuple[float, float]],
        seconds_left: float,
    ) -> None:
        """One log of training. `values` has at least bits_per_byte and bytes_per_second; `gates`
        are for each gate site the shares of values below 0.1 and above 0.9."""
        self._line({"step": step, "kind": "train", **values, **({"gates": gates} if gates else {})})
        scalars = {f"train/{name}": value for name, value in values.items()}
        for site, (low, high) in gates.items():
            scalars |= {f"gates/{site} below 0.1": low, f"gates/{site} above 0.9": high}
        self._scalars(step, scalars)
        skipped = f"  {values['skipped']:.0f} skipped" if values.get("skipped") else ""
        self._progress(
            f"step {step}/{self._steps}  {values['bits_per_byte']:.3f} bits/byte  "
            f"{_rate(values['bytes_per_second'])}  {_duration(seconds_left)} left{skipped}"
        )

    def validation(self, step: int, bits_per_byte: float, best: bool) -> None:
        """One reading of the held-out text."""
        self._line({"step": step, "kind": "validation", "bits_per_byte": bits_per_byte})
        self._scalars(step, {"validation/bits_per_byte": bits_per_byte})
        self.say(
            f"step {step}/{self._steps}  validation {bits_per_byte:.4f} bits/byte"
            f"{'  (best)' if best else ''}"
        )

    def samples(self, step: int, texts: list[bytes]) -> None:
        """What the model wrote: samples/STEP.txt, and a text in TensorBoard."""
        readable = [text.decode(errors="replace") for text in texts]
        body = ("\n" + "-" * 40 + "\n").join(readable) + "\n"
        try:
            self._samples.mkdir(exist_ok=True)
            part = self._samples / f"{step}.txt.part"
            part.write_text(body)
            part.replace(self._samples / f"{step}.txt")
        except OSError as error:
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
        if self._open:
            self._terminal.write("\n")
            self._open = False
        self._terminal.write(text + "\n")
        self._terminal.flush()

    def close(self) -> None:
        if self._open:
            self._terminal.write("\n")
        for closing in (self._lines, self._events):
            try:
                closing.close()
            except Exception as error:  # see _event
                self._trouble(error)

    def _line(self, record: dict[str, Any]) -> None:
        try:
            self._lines.write(json.dumps(record) + "\n")
        except OSError as error:
            self._trouble(error)

    def _scalars(self, step: int, scalars: dict[str, float]) -> None:
        values = [summary_pb2.Summary.Value(tag=t, simple_value=v) for t, v in scalars.items()]
        self._event(step, summary=summary_pb2.Summary(value=values))

    def _event(self, step: int, **content: Any) -> None:
        try:
            self._events.add_event(event_pb2.Event(wall_time=time.time(), step=step, **content))
            self._events.flush()
        except Exception as error:  # its writing thread hands over whatever went wrong
            self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        if not self._troubled:
            self.say(f"mlstm: metrics cannot be written: {error}; training goes on")
        self._troubled = True

    def _progress(self, text: str) -> None:
        if not self._rewrites:
            self.say(text)
            return
        self._terminal.write(f"\r\x1b[K{text}")
        self._terminal.flush()
        self._open = True


def cut(path: Path, step: int) -> None:
    """Keep the lines of `path` up to `step`; a half-written last line goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["step"] <= step:
            kept.append(line + "\n")
    part = path.with_name(path.name + ".part")
    part.write_text("".join(kept))
    part.replace(path)


def _rate(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e3:.1f} kB/s"


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
