"""Timing that holds on a machine that is never quite quiet: everything in one run, in random order.

Each round runs every row once, so that a slow minute falls on all of them; ratios are taken
within a round before their median is. Thread pools of two libraries in one process spin for a
while after their work: there is a pause before each row. (OMP_WAIT_POLICY=PASSIVE would end the
spinning too, but makes PyTorch 1.2 to 1.5 times slower on a quiet machine. On a busy one its
threads spin against what else runs there, and it is many times slower without: measure on a quiet
machine, and leave the policy as it is.)
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

import jax
import jax.numpy as jnp

from mlstm import output
from mlstm.errors import InputError

PAUSE = 0.2
"""Seconds before each row."""
PRODUCT = 2048, 1024, 4096
"""M, K, N of the matrix product that says what the machine gives just then."""


class Flags(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def count(text: str) -> int:
    """A flag's whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number above 0')
    return int(text)


def names(text: str) -> list[str]:
    """A flag's list, "a,b,c"; nothing gives an empty one."""
    return text.split(",") if text else []


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds that one row took in each round."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    def ratio(self, to: "Times") -> float:
        """How many times longer than `to`: the median of the rounds' own ratios."""
        return statistics.median(a / b for a, b in zip(self.seconds, to.seconds, strict=True))


def interleaved(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Run every row once a round, in random order; one more round before these warms up."""
    seconds = {name: [] for name in runs}
    for round_number in range(rounds + 1):
        for name in random.sample(list(runs), len(runs)):
            time.sleep(PAUSE)
            start = time.perf_counter()
            jax.block_until_ready(runs[name]())
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return {name: Times(values) for name, values in seconds.items()}


def matrix_product() -> tuple[Callable[[], object], int]:
    """A float32 product of M x K by K x N in XLA, and its floating-point operations."""
    m, k, n = PRODUCT
    a, b = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(m, k), (k, n)]))
    multiply = jax.jit(functools.partial(jnp.matmul, precision="highest")).lower(a, b).compile()
    return functools.partial(multiply, a, b), 2 * m * k * n


def temporaries(compiled) -> int:
    """Bytes that XLA plans for what a compiled function keeps and works with."""
    return compiled.memory_analysis().temp_size_in_bytes


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict:
    """Where the figures come from, and how many wanted its cores when the run began."""
    device = jax.devices()[0]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "device": device.device_kind,
        "cores": cores(),
        "load": load,
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY"),
    }


def described(machine: dict) -> str:
    load = "unknown" if machine["load"] is None else f"{machine['load']:.1f}"
    return f"{machine['device']}, {machine['cores']} cores, load {load} at the start"


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def table(columns: Mapping[str, tuple[str, str]], rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as lines: a column is the key of its values, with its heading and its format.

    What a row lacks, or has as None, is left blank.
    """
    lines = [[heading for heading, _ in columns.values()]]
    for row in rows:
        cells = [(row.get(key), form) for key, (_, form) in columns.items()]
        lines.append(["" if value is None else format(value, form) for value, form in cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(f"  {cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )


def versions(*packages: str) -> dict[str, str]:
    """Those of the packages that are installed, with their versions."""
    found = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def write_json(path: str, results: dict) -> None:
    try:
        output.write_whole(path, json.dumps(results, indent=1) + "\n")
    except InputError as error:
        raise SystemExit(str(error)) from None
