"""Is it still language? What a written text costs under the unedited model, and how it repeats."""

# T time, B texts, n bytes

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.model import language_model
from mlstm.trained import Model

CELLS = 1 << 14  # bytes that are scored at once
ORDER = 4  # of the n-grams


def bits_of(
    model: Model,
    prompts: Sequence[np.ndarray],
    written: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """(B,) bits that a continuation costs under the unedited model, which has read the prompt too.

    prompts: ids of each of the B texts; written: (B, length)."""
    before = np.array([len(prompt) for prompt in prompts])
    B, length = written.shape
    size = -(-(int(before.max()) + length) // 64) * 64
    ids = np.zeros((B, size), np.int32)
    for row, prompt, more in zip(ids, prompts, written, strict=True):
        row[: len(prompt)], row[len(prompt) : len(prompt) + length] = prompt, more
    together = max(1, min(B, CELLS // size))
    costs = np.zeros(B)
    for first in range(0, B, together):
        which = np.minimum(np.arange(first, first + together), B - 1)
        nats = np.asarray(_nats(model.config, model.parameters, ids[which].T), np.float64)
        used = min(together, B - first)
        for k in range(used):
            start = before[first + k] - 1
            costs[first + k] = nats[start : start + length, k].sum() / math.log(2)
        if progress:
            progress(first + used, B)
    return costs


@functools.partial(jax.jit, static_argnums=0)
def _nats(config, parameters, ids_TB):
    state = language_model.initial_state(config, ids_TB.shape[1])
    out = language_model.forward(config, parameters, ids_TB, state)
    return language_model.negative_log_likelihood(
        config, parameters, out.hidden[:-1], jnp.asarray(ids_TB[1:])
    )


def distinct(text: bytes, order: int = ORDER) -> float:
    """The share of a text's n-grams of bytes that are different ones; NaN where it has none."""
    grams = [text[k : k + order] for k in range(len(text) - order + 1)]
    return len(set(grams)) / len(grams) if grams else math.nan
