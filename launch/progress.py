"""One line on stderr that says how far long work is, and when it will end."""

import sys
import time


class ProgressLine:
    """Call it with (done, total); use it in a with statement, which clears the line at the end.

    Nothing is shown for work of less than a second. Off a terminal a line is printed every ten.
    """

    def __init__(self, what: str, unit: str):
        self.what, self.unit = what, unit
        self.terminal = sys.stderr.isatty()
        self.began = time.monotonic()
        self.next = self.began + (1.0 if self.terminal else 10.0)
        self.drawn = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self.next or done == 0:
            return
        self.next = now + (0.5 if self.terminal else 10.0)
        left = (now - self.began) / done * (total - done)
        line = f"{self.what}: {done:,} of {total:,} {self.unit}, {left:.0f} s left"
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
