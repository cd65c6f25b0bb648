"""The log of a run, metrics.jsonl, as curves."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Log:
    """What was measured at which steps. A figure that was not finite is left out."""

    validated: list[int] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)
    """Bits per byte of validation at these steps; of a population the mean."""
    of_seeds: list[list[float]] = field(default_factory=list)
    """Of a population those of each model, at the same steps."""
    trained: list[int] = field(default_factory=list)
    training_bits: list[float] = field(default_factory=list)
    rated: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """Bytes per second up to each of the steps `rated`, since the one before it."""
    step_bytes: float = 1.0

    @property
    def last(self) -> int:
        """The last step of which anything is logged; 0 of none."""
        return max([0, *self.validated[-1:], *self.rated[-1:]])

    def at_rate_of(self, step_bytes: float) -> Log:
        """With so many bytes in a step."""
        return dataclasses.replace(self, step_bytes=step_bytes)

    def seconds_at(self, steps: Sequence[float]) -> list[float]:
        """Seconds of training up to each step, from the rates, however often it was stopped on the
        way; at steps behind the last rate as if it went on."""
        if not self.rated:
            return [0.0 for _ in steps]
        borders = np.array([0, *self.rated], float)
        took = np.diff(borders) * self.step_bytes / np.array(self.rates)
        at = np.concatenate([[0.0], np.cumsum(took)])
        found = np.interp(steps, borders, at)
        beyond = np.maximum(np.asarray(steps, float) - borders[-1], 0)
        return (found + beyond * self.step_bytes / self.rates[-1]).tolist()


def read_log(folder: Path) -> Log:
    """An empty one where there is none. A line that is half written is passed over."""
    log = Log()
    with contextlib.suppress(OSError):
        for line in (folder / "metrics.jsonl").read_bytes().splitlines():
            with contextlib.suppress(ValueError, LookupError, TypeError):
                _add(log, json.loads(line))
    return log


def _add(log: Log, entry: Any) -> None:
    step, bits = entry["step"], entry["bits_per_byte"]
    if entry["kind"] == "train":
        if entry.get("bytes_per_second"):
            log.rated.append(step)
            log.rates.append(entry["bytes_per_second"])
        if bits is not None:
            log.trained.append(step)
            log.training_bits.append(bits)
    elif entry["kind"] == "validation" and bits is not None:
        log.validated.append(step)
        log.bits.append(bits)
        if each := entry.get("bits_per_byte_of_seeds"):
            log.of_seeds.append(each)
