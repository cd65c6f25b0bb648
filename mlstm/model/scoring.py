"""What a text costs under a model: its targets' nats, with state carried from window to window.

Legend: T time, B streams.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mlstm.errors import InputError
from mlstm.model import language_model, on_mesh
from mlstm.model.config import ModelConfig
from mlstm.model.editing import Arrays
from mlstm.model.edits import Edits
from mlstm.model.readable import ALONE, Placement
from mlstm.output import to_json


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
    """The sum over all targets, with the spelling of those that are unknown."""
    bytes: int
    """What the targets that were counted spell."""
    bytes_per_second: float | None
    """Without the first window, which may have been compiled; None when it was the only one."""
    tokens: int | None = None
    """How many targets were counted; None where each is a byte."""
    unknown: int = 0
    """How many of them are unknown."""
    spelling: float = 0.0
    """The nats of `nats` that are not the model's: the unknown ones' bytes."""

    @property
    def bits_per_byte(self) -> float:
        return self.nats / self.bytes / math.log(2)

    @property
    def nats_per_byte(self) -> float:
        return self.nats / self.bytes

    @property
    def nats_per_token(self) -> float:
        """The model's own: one for all that is unknown, as perplexities are published."""
        return (self.nats - self.spelling) / (self.tokens or self.bytes)

    @property
    def perplexity(self) -> float:
        """Per token; infinite where it is no number of a float."""
        return math.exp(self.nats_per_token) if self.nats_per_token < 700 else math.inf

    def spelled(self, tokens: int, size: int, unknown: int, nats: float) -> Score:
        """This score of targets that were counted as bytes, of tokens of so many bytes, of which
        some are unknown and cost the nats beside."""
        rate = self.bytes_per_second and self.bytes_per_second * size / tokens
        return Score(self.nats + nats, size, rate, tokens, unknown, nats)

    def to_json(self) -> str:
        figures = dataclasses.asdict(self)
        figures |= {"bits_per_byte": self.bits_per_byte, "nats_per_byte": self.nats_per_byte}
        of_tokens = {"nats_per_token": self.nats_per_token, "perplexity": self.perplexity}
        if self.tokens is None:
            for name in ("tokens", "unknown", "spelling"):
                del figures[name]
            of_tokens = {}
        return to_json(figures | of_tokens)

    def __str__(self) -> str:
        rate = f", {self.bytes_per_second:,.0f} bytes/s" if self.bytes_per_second else ""
        tokens = ""
        if self.tokens is not None:
            tokens = (
                f" in {self.tokens:,} tokens (perplexity {self.perplexity:,.2f}, "
                f"{self.unknown / self.tokens:.4%} unknown)"
            )
        return (
            f"{self.bits_per_byte:.4f} bits per byte ({self.nats_per_byte:.4f} nats) over "
            f"{self.bytes:,} bytes{tokens}{rate}"
        )


def bits_per_byte(
    config: ModelConfig,
    parameters: dict,
    windows: Windows,
    *,
    edits: Edits | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Score:
    """Score every target of `windows` that has weight.

    Args:
      edits: as `edits.make_edits` makes them, at every step alike.
      mesh: of `devices.mesh`: streams are split over `data`, hidden units over `model`. Processes
        of one job give the same windows, compute their own streams, and each gets the score.
      progress: called with the windows done and all windows.

    Raises InputError when no target has weight, the mesh does not divide the units, or an edit is
    not the same at every step.
    """
    if edits and edits.by_step:
        raise InputError(
            f"{edits.placed[0][0]}: a text that is scored as one stream has no prompt, and no "
            "positions: an edit of it has to be the same at every step"
        )
    streams = on_mesh.padded(mesh, windows.batch_size)
    arrays = edits.arrays if edits else None
    parameters, state, arrays = on_mesh.begin(mesh, config, parameters, arrays, streams)
    nats, counts, began = [], [], time.perf_counter()
    for window in range(windows.windows):
        batch = windows.batch(0, window)
        placed = on_mesh.place(mesh, batch, streams)
        state, of_window = _score_window(config, parameters, state, placed, arrays, mesh)
        nats.append(of_window)
        counts.append(np.count_nonzero(batch.weights))
        if window == 0:
            jax.block_until_ready(of_window)
            began = time.perf_counter()
        elif window >= 2:
            # Windows are dispatched ahead of the device by this many, and no more.
            jax.block_until_ready(nats[window - 2])
        if progress:
            progress(window + 1, windows.windows)
    read = jax.device_get(nats)
    seconds = time.perf_counter() - began
    count = int(sum(counts))
    if count == 0:
        raise InputError("nothing to score: a text needs at least two bytes")
    rate = (count - counts[0]) / seconds if count > counts[0] else None
    return Score(math.fsum(map(float, read)), count, rate)


def score_window(
    config: ModelConfig,
    parameters: dict,
    state: Any,
    batch: Any,
    edits: Arrays | None = None,
    placement: Placement = ALONE,
) -> tuple[Any, jax.Array]:
    """One window, a batch as `Windows` has it: the state after it, and the nats of its weighted
    targets together. Its resets may be None. Pure."""
    out = language_model.forward(
        config,
        parameters,
        batch.ids,
        state,
        resets=batch.resets,
        edits=edits,
        placement=placement,
    )
    nats_TB = language_model.negative_log_likelihood(config, parameters, out.hidden, batch.targets)
    return out.state, jnp.sum(nats_TB * batch.weights)


@functools.partial(jax.jit, static_argnames=("config", "mesh"))
def _score_window(config, parameters, state, batch, edits, mesh):
    state, nats = score_window(config, parameters, state, batch, edits, on_mesh.placement(mesh))
    return on_mesh.carried(mesh, state), on_mesh.whole(mesh, nats)
