"""Whole texts side by side, each beginning at the zero state, and their states pooled on the way.

Unlike `encoding`, which lays texts end to end, a stream is one text: what is pooled is a function
of the parameters that can be differentiated. Texts end together, at the last step: what a text does
not fill is masked, before its first id. What is left out of the gradient is thus the beginning of
all texts, read in windows of one compiled shape.
"""

# T time, B texts, H hidden, F features

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.model.pooling import POOLINGS

WINDOW, TEXTS = 128, 64


class What(NamedTuple):
    """Which states are pooled, and how; features come pooling by pooling, site by site in each."""

    sites: tuple[str, ...]
    poolings: tuple[str, ...]

    def features(self, config: ModelConfig) -> int:
        return len(self.sites) * len(self.poolings) * config.hidden


class Running(NamedTuple):
    """What is known of each text so far."""

    state: Any
    pooled: dict[str, jax.Array]  # pooling -> (sites, B, H); of the mean the sum
    count: jax.Array  # (B,) ids read


_START = {"last": 0.0, "mean": 0.0, "max": -jnp.inf, "min": jnp.inf}
assert set(_START) == set(POOLINGS)


def begin(config: ModelConfig, what: What, texts: int, dtype: Any = jnp.float32) -> Running:
    """Before the first id."""
    shape = (len(what.sites), texts, config.hidden)
    pooled = {name: jnp.full(shape, _START[name], dtype) for name in what.poolings}
    state = language_model.initial_state(config, texts, dtype)
    return Running(state, pooled, jnp.zeros(texts, dtype))


def read(
    config: ModelConfig,
    parameters: dict,
    running: Running,
    ids: jax.Array,
    mask: jax.Array,
    what: What,
    *,
    dropout_key: jax.Array | None = None,
    reference: bool = False,
) -> tuple[Running, jax.Array]:
    """Read (T, B) ids where the (T, B) mask is True: what is known then, and h (T, B, H)."""
    emit, here = _emitted(config, what)
    output = language_model.forward(
        config,
        parameters,
        ids,
        running.state,
        mask=mask,
        emit=emit,
        dropout_key=dropout_key,
        reference=reference,
    )
    reads = mask.any(0)[:, None]
    pooled = {}
    for name, before in running.pooled.items():
        now = []
        for k, site in enumerate(what.sites):
            if name == "last":
                layer, _, state = site.partition(".")
                last = output.emitted[site][-1] if site in here else output.state[int(layer)][state]
                now.append(jnp.where(reads, last, before[k]))
                continue
            x, inside = output.emitted[site], mask[..., None]
            if name == "mean":
                now.append(before[k] + jnp.where(inside, x, 0).sum(0))
            elif name == "max":
                now.append(jnp.maximum(before[k], jnp.where(inside, x, -jnp.inf).max(0)))
            else:
                now.append(jnp.minimum(before[k], jnp.where(inside, x, jnp.inf).min(0)))
        pooled[name] = jnp.stack(now)
    count = running.count + mask.sum(0).astype(running.count.dtype)
    return Running(output.state, pooled, count), output.hidden


def features(running: Running, what: What) -> jax.Array:
    """(B, F); of a text without an id zeros."""
    found = []
    for name in what.poolings:
        x = running.pooled[name]
        if name == "mean":
            x = x / jnp.maximum(running.count, 1)[:, None]
        found.append(jnp.where(running.count[:, None] > 0, x, 0))
    x = jnp.concatenate(found)
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)


class Laid(NamedTuple):
    """Texts laid beside each other."""

    ids: np.ndarray  # (T, B) int32
    mask: np.ndarray  # (T, B) bool


def lay(texts: Sequence[np.ndarray], steps: int, streams: int) -> Laid:
    """The texts, each ending at the last of so many steps; streams without a text are masked."""
    ids, mask = np.zeros((steps, streams), np.int32), np.zeros((steps, streams), bool)
    for stream, text in enumerate(texts):
        if len(text):
            ids[-len(text) :, stream] = text
            mask[-len(text) :, stream] = True
    return Laid(ids, mask)


@partial(jax.jit, static_argnames=("config", "what"))
def read_window(config, parameters, running, ids, mask, what):
    """`read` without a gradient, compiled once for a shape."""
    return read(config, parameters, running, ids, mask, what)[0]


def pooled(
    config: ModelConfig,
    parameters: dict,
    texts: Sequence[np.ndarray],
    what: What,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """(texts, F) float32 of arrays of ids of any length, in their order.

    progress: called with the ids read and all ids.
    """
    found = np.zeros((len(texts), what.features(config)), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    streams = min(TEXTS, 1 << max(0, len(texts) - 1).bit_length())
    done, total = 0, sum(map(len, texts))
    for start in range(0, len(order), streams):
        here = order[start : start + streams]
        longest = max(len(texts[i]) for i in here)
        if not longest:
            continue
        laid = lay([texts[i] for i in here], -(-longest // WINDOW) * WINDOW, streams)
        running = begin(config, what, streams)
        for step in range(0, len(laid.ids), WINDOW):
            rows = slice(step, step + WINDOW)
            running = read_window(
                config, parameters, running, laid.ids[rows], laid.mask[rows], what
            )
        found[here] = np.asarray(features(running, what))[: len(here)]
        done += sum(len(texts[i]) for i in here)
        if progress:
            progress(done, total)
    return found


def _emitted(config: ModelConfig, what: What) -> tuple[tuple[str, ...], frozenset[str]]:
    """The sites to emit, and those whose last value is read from what is emitted: a state that is
    carried needs no emission for its last value alone."""
    carried = {
        f"{layer}.{name}"
        for layer, states in enumerate(language_model.initial_state(config, 1))
        for name in states
    }
    if set(what.poolings) - {"last"}:
        return what.sites, frozenset(set(what.sites) - carried)
    emit = tuple(site for site in what.sites if site not in carried)
    return emit, frozenset(emit)
