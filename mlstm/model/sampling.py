"""Generation as compiled loops: one reads the prompt, one makes a block of tokens.

How many ids are read and made, temperature, k, p and the values of edits are data: other values do
not recompile; beginning to filter by k or by p does. The random numbers of a block are drawn before
its loop, each from the seed, the token's place in the text and the sample's number: the block size
changes nothing but when text is shown.

Legend: B samples, V vocabulary, N tokens of a block.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.model import editing, language_model
from mlstm.model.config import ModelConfig
from mlstm.model.edits import Edit, Edits, make_edits, resolve

if TYPE_CHECKING:
    from mlstm.trained import Model

PROMPT_CHUNK = 1024
HOTTEST = 1000
"""Of a temperature: far beyond it all tokens are alike, and float32 ends."""


class Choice(NamedTuple):
    """How a token is drawn from its logits; all of it is data."""

    temperature: float = 1.0
    """What the logits are divided by; 0 takes the likeliest token."""
    top_k: int = 0
    """Keep the k likeliest tokens, and what ties with the last of them; 0 keeps all."""
    top_p: float = 1.0
    """Keep the fewest likeliest tokens whose probabilities reach p (Holtzman et al. 2020)."""

    def check(self) -> Choice:
        """Return self, or raise InputError that says what each may be."""
        if not 0 <= self.temperature <= HOTTEST:
            raise InputError(
                f"temperature is {self.temperature}; it must be from 0 (argmax) to {HOTTEST}"
            )
        if self.top_k < 0:
            raise InputError(f"top_k is {self.top_k}; it must be 1 or more, or 0 to keep all")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        return self


SOFTMAX = Choice()


def generate(
    model: Model,
    prompt: bytes,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    samples: int = 1,
    edits: Iterable[Edit | str] = (),
    block: int = 64,
) -> Iterator[list[bytes]]:
    """Continue a prompt, block by block.

    Args:
      prompt: read whole, whatever its length. An empty one is read as a line end, or the
        vocabulary's first symbol: no model has seen a first byte without one before it.
      length: tokens to make for each sample.
      seed: the same seed, arguments and machine give the same bytes, whatever the block.
      edits: act at every step, those that read the prompt included, unless they say otherwise.

    Returns:
      An iterator; each item has the next `block` tokens (the last one fewer) of every sample.

    Raises InputError at once, before anything is generated.
    """
    check_one(model)
    if not model.vocabulary.told:
        raise InputError(
            f"{model.origin}: its vocabulary is not told, so that what it writes has no text; tell "
            "it with launch.convert --vocabulary, or generate ids"
        )
    blocks = generate_ids(
        model.config,
        model.parameters,
        model.vocabulary.encode(prompt) if prompt else model.vocabulary.beginning,
        length,
        choice=Choice(temperature, top_k, top_p),
        seed=seed,
        samples=samples,
        edits=edits,
        block=block,
    )
    return ([model.vocabulary.decode(ids) for ids in ids_NB.T] for ids_NB in blocks)


def generate_ids(
    config: ModelConfig,
    parameters: dict,
    prompt: np.ndarray,
    length: int,
    *,
    choice: Choice = SOFTMAX,
    seed: int = 0,
    samples: int = 1,
    edits: Iterable[Edit | str] = (),
    block: int = 64,
) -> Iterator[np.ndarray]:
    """`generate` on ids: a prompt of one id or more to blocks (N, B) int32. Raises InputError."""
    for name, value in (("length", length), ("samples", samples), ("block", block)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    choice = settled(config, choice, seed)
    if len(prompt) == 0:
        raise InputError("the prompt is empty; at least one id is needed to start from")
    made = make_edits(config, edits)
    return _blocks(config, parameters, prompt, length, choice, seed, samples, made, block)


def settled(config: ModelConfig, choice: Choice, seed: int) -> Choice:
    """The choice as it is compiled; InputError where it, or the seed, is out of range."""
    choice.check()
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; it must be from 0 to {2**32 - 1}")
    # As one type, so that 0 and 0.0 are one compilation; more than all tokens is all.
    return Choice(
        float(choice.temperature), min(choice.top_k, config.vocabulary), float(choice.top_p)
    )


def _blocks(config, parameters, prompt, length, choice, seed, samples, edits, block):
    folded = fold(config, parameters)
    carry = read_prompt(config, folded, prompt, edits)
    carry = jax.tree.map(lambda x: jnp.repeat(x, samples, axis=0), carry)
    key = jax.random.key(seed)
    filters = choice.top_k > 0, choice.top_p < 1
    arrays = edits.arrays if edits else None
    places_NB, numbers_NB = np.mgrid[:block, :samples]
    made = None
    for start in range(0, length, block):
        count = min(block, length - start)
        position_NB = len(prompt) + start + places_NB
        steps = edits.steps(numbers_NB, position_NB, len(prompt)) if edits else {}
        ids_NB, carry = make(
            config, block, filters, folded, carry, key, start, count, choice, arrays, steps
        )
        if made is not None:  # the next block is under way while this one is read
            yield np.asarray(made)
        made = ids_NB
    yield np.asarray(made)[:count]


def read_prompt(
    config: ModelConfig, folded: dict, prompt: np.ndarray, edits: Edits | None = None
) -> tuple[jax.Array, tuple]:
    """Step through a prompt (N,), N >= 1: the logits (1, V) of what follows, and the state."""
    dtype = folded["readout"]["b"].dtype
    carry = (
        jnp.zeros((1, config.vocabulary), dtype),
        language_model.initial_state(config, 1, dtype),
    )
    for start in range(0, len(prompt), PROMPT_CHUNK):
        piece = np.asarray(prompt[start : start + PROMPT_CHUNK], np.int32)
        chunk = np.zeros(PROMPT_CHUNK, np.int32)
        chunk[: len(piece)] = piece
        position = np.arange(start, start + PROMPT_CHUNK)[:, None]
        steps = edits.steps(np.zeros_like(position), position, len(prompt)) if edits else {}
        arrays = edits.arrays if edits else None
        carry = _read(config, folded, chunk, len(piece), carry, arrays, steps)
    return carry


@functools.partial(jax.jit, static_argnums=0)
def fold(config, parameters):
    return language_model.fold(config, parameters)


@functools.partial(jax.jit, static_argnums=0)
def _read(config, folded, ids, count, carry, arrays, steps):
    """Step over the first `count` of ids (PROMPT_CHUNK,); returns the logits (1, V) and state."""
    edits = resolve(arrays, steps)

    def body(n, carry):
        now = editing.at(edits, n)
        return language_model.step(config, folded, ids[n][None], carry[1], now)

    return jax.lax.fori_loop(0, count, body, carry)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def make(config, block, filters, folded, carry, key, start, count, choice, arrays, steps):
    """Draw and step `count` times; returns ids (N, B) and the carry (logits, state)."""
    batch, vocabulary = carry[0].shape
    edits = resolve(arrays, steps)

    def noise_of(place, sample):
        at = jax.random.fold_in(jax.random.fold_in(key, place), sample)
        return jax.random.gumbel(at, (vocabulary,))

    places, numbers = start + jnp.arange(block), jnp.arange(batch)
    noise_NBV = jax.vmap(lambda n: jax.vmap(lambda b: noise_of(n, b))(numbers))(places)
    # argmax(logits / t + gumbel) draws from softmax(logits / t); times t, t = 0 needs no other way.
    noise_NBV = choice.temperature * noise_NBV

    def body(n, loop):
        (logits_BV, state), made_NB = loop
        kept_BV = _filtered(logits_BV, choice, filters)
        ids_B = jnp.argmax(kept_BV + noise_NBV[n], axis=-1).astype(jnp.int32)
        made_NB = jax.lax.dynamic_update_index_in_dim(made_NB, ids_B, n, 0)
        return language_model.step(config, folded, ids_B, state, editing.at(edits, n)), made_NB

    made_NB = jnp.zeros((block, batch), jnp.int32)
    carry, made_NB = jax.lax.fori_loop(0, count, body, (carry, made_NB))
    return made_NB, carry


def _filtered(logits_BV, choice, filters):
    """The logits with those that top-k and top-p leave out at minus infinity."""
    use_k, use_p = filters
    if not (use_k or use_p):
        return logits_BV
    sorted_BV = -jnp.sort(-logits_BV, axis=-1)
    vocabulary = logits_BV.shape[-1]
    if use_k:
        in_k_V = jnp.arange(vocabulary) < choice.top_k
        sorted_BV = jnp.where(in_k_V, sorted_BV, -jnp.inf)
    if use_p:
        # A temperature of 0 would be 0 / 0 here; at 1e-6 one token already has all of the mass.
        shares_BV = jax.nn.softmax(sorted_BV / jnp.maximum(choice.temperature, 1e-6), axis=-1)
        before_BV = jnp.cumsum(shares_BV, axis=-1) - shares_BV
        sorted_BV = jnp.where(before_BV < choice.top_p, sorted_BV, -jnp.inf)
    lowest_B1 = jnp.min(
        jnp.where(jnp.isfinite(sorted_BV), sorted_BV, jnp.inf), axis=-1, keepdims=True
    )
    return jnp.where(logits_BV >= lowest_B1, logits_BV, -jnp.inf)
