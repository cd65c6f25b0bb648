"""What a text costs under a model: its targets' nats, with state carried from window to window.

Legend: T time, B streams.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig


class Windows(Protocol):
    """What is scored: windows of one shape, read in order; `corpus.stream.Stream` is one.

    batch(0, w) has ids and targets (T, B) int, weights (T, B) float (1 where a target counts) and
    resets (T, B) bool.
    """

    windows: int
    batch_size: int

    def batch(self, epoch: int, window: int) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Score:
    """What the targets of a text cost."""

    nats: float
    """The sum over all targets."""
    bytes: int
    """How many targets were counted."""
    bytes_per_second: float | None
    """Without the first window, which may have been compiled; None when it was the only one."""

    @property
    def bits_per_byte(self) -> float:
        return self.nats / self.bytes / math.log(2)

    @property
    def nats_per_byte(self) -> float:
        return self.nats / self.bytes

    def to_json(self) -> str:
        return json.dumps(
            dataclasses.asdict(self)
            | {"bits_per_byte": self.bits_per_byte, "nats_per_byte": self.nats_per_byte}
        )

    def __str__(self) -> str:
        rate = f", {self.bytes_per_second:,.0f} bytes/s" if self.bytes_per_second else ""
        return (
            f"{self.bits_per_byte:.4f} bits per byte ({self.nats_per_byte:.4f} nats) over "
            f"{self.bytes:,} bytes{rate}"
        )


def bits_per_byte(
    config: ModelConfig,
    parameters: dict,
    windows: Windows,
    *,
    edits: dict | None = None,
    place: Callable[[Any], Any] = lambda tree: tree,
    progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Score every target of `windows` that has weight.

    Args:
      parameters: may lie on a mesh.
      edits: as `edits.edits` makes them; on at every step.
      place: puts a batch, and the first state, where they are computed with, as
        `lambda tree: jax.device_put(tree, shardings)` does on a mesh.
      progress: called with the windows done and all windows.

    Raises InputError when no target has weight.
    """
    dtype = parameters["embedding"].dtype
    state = place(language_model.initial_state(config, windows.batch_size, dtype))
    sums, began = [], time.perf_counter()
    for window in range(windows.windows):
        state, nats, count = _score(
            config, parameters, state, place(windows.batch(0, window)), edits
        )
        sums.append((nats, count))
        if window == 0:
            jax.block_until_ready(nats)
            began, first = time.perf_counter(), float(count)
        elif window >= 2:
            # Windows are dispatched ahead of the device by this many, and no more.
            jax.block_until_ready(sums[window - 2][0])
        if progress:
            progress(window + 1, windows.windows)
    read = jax.device_get(sums)
    seconds = time.perf_counter() - began
    count = round(math.fsum(float(n) for _, n in read))
    if count == 0:
        raise InputError("nothing to score: a text needs at least two bytes")
    rate = (count - first) / seconds if count > first else None
    return Score(math.fsum(float(n) for n, _ in read), count, rate)


@functools.partial(jax.jit, static_argnums=0)
def _score(config, parameters, state, batch, edits):
    """One window: the state after it, the nats of its weighted targets, and how many these are."""
    out = language_model.forward(
        config, parameters, batch.ids, state, resets=batch.resets, edits=edits
    )
    nats_TB = language_model.negative_log_likelihood(config, parameters, out.hidden, batch.targets)
    return out.state, jnp.sum(nats_TB * batch.weights), jnp.sum(batch.weights)
