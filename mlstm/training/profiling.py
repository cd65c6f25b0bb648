"""A trace of a few steps, for TensorBoard's profile plugin (xprof): what ran when, and how long."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from mlstm.errors import InputError

Steps = tuple[int, int]
"""The first and the last step of a profile, counted from 1 as the run counts them."""


def read_steps(text: str) -> Steps:
    """ "10:15" as (10, 15). Raises InputError."""
    found = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    first, last = (int(number) for number in found.groups()) if found else (0, 0)
    if not 1 <= first <= last:
        raise InputError(
            f"--profile_steps={text}: write the first step and the last, counted from 1, "
            "as in --profile_steps=10:15"
        )
    return first, last


def check(steps: Steps | None, of: int) -> None:
    """Raises InputError for steps that a run of so many does not have."""
    if steps is not None and not 1 <= steps[0] <= steps[1] <= of:
        raise InputError(f"--profile_steps={steps[0]}:{steps[1]}: the run's steps are 1 to {of}")


class Profile:
    """Traces whole steps: the devices are waited for before the first and after the last of them.

    Without `steps` it does nothing. What cannot be written is said, and training goes on.
    """

    def __init__(self, steps: Steps | None, folder: Path, say: Callable[[str], None]) -> None:
        self._steps, self._say = steps, say
        # Processes of one machine would write the same file.
        self._folder = (
            folder / f"process{jax.process_index()}" if jax.process_count() > 1 else folder
        )
        self._tracing = self._done = False
        self._annotation: Any = contextlib.nullcontext()

    def begin(self, step: int, state: Any) -> None:
        """Before `step`, and before its batch is placed; `state` is what it starts from."""
        if self._steps is None or self._done:
            return
        if step == self._steps[0]:
            jax.block_until_ready(state)
            self._tracing = self._try(lambda: jax.profiler.start_trace(self._folder))
            self._done = not self._tracing
        if self._tracing:
            self._annotation = jax.profiler.StepTraceAnnotation("step", step_num=step)
            self._annotation.__enter__()

    def end(self, step: int, state: Any) -> None:
        """After `step` was dispatched; `state` is what it gives."""
        if not self._tracing or self._steps is None:
            return
        last = step == self._steps[1]
        if last:
            jax.block_until_ready(state)
        self._annotation.__exit__(None, None, None)
        if last:
            self._stop()

    def close(self, step: int) -> None:
        """The run ends after `step`, be it by an error; what was not profiled is said."""
        if self._tracing:
            self._stop(f", cut short by the end at step {step}")
        elif self._steps is not None and not self._done:
            first, last = self._steps
            self._say(
                f"steps {first} to {last} were not profiled: this process did not begin step "
                f"{first}, it ended at step {step}"
            )

    def _stop(self, how: str = "") -> None:
        self._tracing, self._done = False, True
        if self._try(jax.profiler.stop_trace) and self._steps is not None:
            first, last = self._steps
            self._say(f"profile of steps {first} to {last}{how}: {self._folder}")

    def _try(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except Exception as error:  # the profiler's own, of whatever kind
            self._say(f"mlstm: no profile: {error}; training goes on")
            return False
        return True
