"""Many samples under many edits as one compiled loop: all prompts, samples and edits at once.

Every edit writes with the same random numbers, so that what two of them wrote differs by the edits
alone. Edits, prompts, seed and temperature are data: other values do not recompile.

Legend: E edits, P prompts, S samples of each, T time, V vocabulary, B = P S streams.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError
from mlstm.model import language_model, sampling
from mlstm.model.config import ModelConfig
from mlstm.model.sampling import SOFTMAX, Choice

STREAMS = 4096
"""That are written side by side, at most, where edits are as many."""
PIECE = 64
"""Of a prompt: its length is rounded up to as many, so that few lengths are compiled."""


def generate_many(
    config: ModelConfig,
    parameters: dict,
    prompts: Sequence[np.ndarray],
    length: int,
    edits: Any,
    *,
    reading: Any = None,
    choice: Choice = SOFTMAX,
    seed: int = 0,
    samples: int = 1,
    block: int = 64,
    streams: int = STREAMS,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Continue each prompt under each edit: (E, P, S, length) int32 ids.

    Args:
      prompts: ids of each, one or more; read whole.
      length: tokens to make for each sample.
      edits: arrays as of `language_model.step`, each with a leading axis of E edits; they act
        while a continuation is written.
      reading: edits that act while the prompt is read, with the same leading axis; None reads it
        unedited.
      seed: the same seed, arguments and machine give the same ids, whatever the block.
      streams: how many texts are written at once, at most; whole edits, and one at the least.
      progress: called with tokens written and all tokens.

    Raises InputError where a prompt is empty, or there is none, or a number is out of range.
    """
    for name, value in (("length", length), ("samples", samples), ("block", block)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    if not len(prompts):
        raise InputError("no prompt to continue; at least one is needed")
    if not all(len(prompt) for prompt in prompts):
        raise InputError("a prompt is empty; at least one id is needed to start from")
    choice = sampling.settled(config, choice, seed)
    folded = sampling.fold(config, parameters)
    key = jax.random.key(seed)
    count = len(jax.tree.leaves(edits)[0])
    each = len(prompts) * samples
    together = min(count, max(1, streams // each))
    ids_TP, counts_P = _packed(prompts)
    made = np.zeros((count, each, length), np.int32)
    filters = choice.top_k > 0, choice.top_p < 1
    for first in range(0, count, together):
        # The last ones are as many as those before, so that they are the same program.
        which = np.minimum(np.arange(first, first + together), count - 1)
        here, read = (jax.tree.map(lambda x, w=which: x[w], part) for part in (edits, reading))
        carry = _read(config, folded, ids_TP, counts_P, samples, together, read)
        for start in range(0, length, block):
            written = min(block, length - start)
            ids_ENB, carry = _make(
                config, block, filters, folded, carry, key, start, written, choice, here
            )
            ids = np.asarray(ids_ENB)[:, :written].swapaxes(1, 2)
            used = min(together, count - first)
            made[first : first + used, :, start : start + written] = ids[:used]
            if progress:
                done = (first * length + used * (start + written)) * each
                progress(done, count * each * length)
    return made.reshape(count, len(prompts), samples, length)


def _packed(prompts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(T, P) int32, each prompt from the first row on, and (P,) their lengths."""
    counts = np.array([len(prompt) for prompt in prompts], np.int32)
    ids = np.zeros((-(-int(counts.max()) // PIECE) * PIECE, len(prompts)), np.int32)
    for k, prompt in enumerate(prompts):
        ids[: len(prompt), k] = prompt
    return ids, counts


@functools.partial(jax.jit, static_argnums=(0, 4, 5))
def _read(config, folded, ids_TP, counts_P, samples, count, reading):
    """The logits (E, B, V) of what follows each prompt and the states, each of S streams."""
    prompts = len(counts_P)
    dtype = folded["readout"]["b"].dtype

    def of_edit(edits):
        def body(n, carry):
            new = language_model.step(config, folded, ids_TP[n], carry[1], edits)
            reads = (n < counts_P)[:, None]
            return jax.tree.map(lambda a, b: jnp.where(reads, a, b), new, carry)

        start = (
            jnp.zeros((prompts, config.vocabulary), dtype),
            language_model.initial_state(config, prompts, dtype),
        )
        carry = jax.lax.fori_loop(0, counts_P.max(), body, start)
        return jax.tree.map(lambda x: jnp.repeat(x, samples, axis=0), carry)

    if reading is None:
        alike = of_edit(None)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), alike)
    return jax.vmap(of_edit)(reading)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _make(config, block, filters, folded, carry, key, start, count, choice, edits):
    """`sampling.make` for each edit: ids (E, N, B) and the carries."""

    def of_edit(carry, edits):
        return sampling.make(
            config, block, filters, folded, carry, key, start, count, choice, edits, {}
        )

    return jax.vmap(of_edit)(carry, edits)
