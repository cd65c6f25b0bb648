"""One line on stderr that says how far long work is, how fast, and when it will end."""

import contextlib
import sys
import time
from collections.abc import Mapping


class ProgressLine:
    """Call it with (done, total); use it in a with statement, which clears the line at the end.

    Nothing is shown for work of less than a second, and no time left of what began in this one. Off
    a terminal a line is printed every ten.
    """

    def __init__(self, what: str, unit: str):
        self.what, self.unit = what, unit
        self.terminal = sys.stderr.isatty()
        self.began = time.monotonic()
        self.next = self.began + (1.0 if self.terminal else 10.0)
        self.drawn = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + (0.5 if self.terminal else 10.0)
        line = f"{self.what}: {done:,} of {total:,} {self.unit}"
        passed = now - self.began
        if done and passed >= 1:
            rate = done / passed
            line += f", {rate:,.0f}" if rate >= 10 else f", {rate:.2g}"
            line += f" {self.unit}/s, {(total - done) / rate:.0f} s left"
        if self.terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            self.drawn = True
        else:
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *exception) -> None:
        if self.drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class ProgressLines(contextlib.ExitStack):
    """A line for each of several things that are done one after the other: (what, done, total).

    units: of what is counted, where it is not `else_`.
    """

    def __init__(self, units: Mapping[str, str], else_: str = "bytes"):
        super().__init__()
        self.units, self.else_ = units, else_
        self.line: ProgressLine | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.line is None or self.line.what != what:
            self.close()
            before = self.line
            self.line = self.enter_context(ProgressLine(what, self.units.get(what, self.else_)))
            if before:  # else many short things would never be named
                self.line.next = before.next
        self.line(done, total)
