"""Dynamic evaluation: a model goes on learning from the text that it is scored on, as it reads it.

Krause et al. 2018, "Dynamic evaluation of neural sequence models" (arXiv 1709.07432), RMS with
decay. Of each segment first the cost is counted, under the parameters as they are; then

    theta += decay D (theta_0 - theta) - learning_rate g / (R + epsilon)

with g the gradient of the segment's mean nats, cut off at its beginning, theta_0 the trained
parameters, R = sqrt(mean of g^2) over batches of the training text, and D = R / mean(R), at most
1 / decay, so that no step goes beyond theta_0. Without statistics (the rule "sgd") both R + epsilon
and D are 1. mean(R) is over all numbers, as the paper has it; the published code takes the mean of
each array's mean, which scales decay alone.

theta are the parameters as they are stored and trained: of normalised weights v and g each, since
the rule looks at every number by itself, and its statistics are those of what training moved.

Everything is a pure function of (config, parameters, state, segment), jitted by its callers.
"""

# T steps of a segment, K segments, B streams

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mlstm.model import language_model
from mlstm.model.config import ModelConfig


class Rates(NamedTuple):
    """Data, not compiled in."""

    learning_rate: float | jax.Array
    decay: float | jax.Array
    epsilon: float | jax.Array


class Statistics(NamedTuple):
    """What is known of the gradients on the training text; both are trees like the parameters."""

    root: Any  # R
    share: Any  # D, before it is clipped


class Carry(NamedTuple):
    """What goes from segment to segment: parameters and states, with an axis of streams in front
    of each of the parameters where there are several."""

    parameters: Any
    state: Any


def mean_nats(
    config: ModelConfig, parameters: Any, state: Any, segment: Any
) -> tuple[jax.Array, tuple[jax.Array, Any]]:
    """Of a segment's weighted targets (T, B) the mean nats, and their sum with the state behind."""
    output = language_model.forward(config, parameters, segment.ids, state, resets=segment.resets)
    nats = language_model.negative_log_likelihood(
        config, parameters, output.hidden, segment.targets
    )
    total = jnp.sum(nats * segment.weights)
    return total / jnp.maximum(jnp.sum(segment.weights), 1), (total, output.state)


def squares(
    config: ModelConfig, parameters: Any, so_far: Any, state: Any, batch: Any
) -> tuple[Any, Any]:
    """The squares of a batch's gradient added to those so far, and the state behind it."""
    found, (_, state) = jax.grad(partial(mean_nats, config), has_aux=True)(parameters, state, batch)
    return jax.tree.map(lambda total, g: total + g * g, so_far, found), state


def statistics(total: Any, batches: int) -> Statistics:
    """From the sum of the squares of so many gradients."""
    root = jax.tree.map(lambda x: jnp.sqrt(x / batches), total)
    leaves = jax.tree.leaves(root)
    mean = sum(jnp.sum(x) for x in leaves) / sum(x.size for x in leaves)
    return Statistics(root, jax.tree.map(lambda x: x / mean, root))


def step(
    config: ModelConfig,
    trained: Any,
    known: Statistics | None,
    rates: Rates,
    carry: Carry,
    segment: Any,
) -> tuple[Carry, jax.Array]:
    """One segment (T, B): its nats under the parameters before it, and what goes on.

    segment: ids, targets, weights and resets as of `corpus.stream.Batch`, the latter perhaps None.
    known: None is plain SGD, with decay alike for all numbers.
    """
    of = partial(mean_nats, config)
    gradient, (nats, state) = jax.grad(of, has_aux=True)(carry.parameters, carry.state, segment)

    def moved(now, before, g, root=None, share=None):
        if root is None or share is None:
            return now + rates.decay * (before - now) - rates.learning_rate * g
        # decay * min(D, 1 / decay), and 0 where decay is 0
        pull = jnp.minimum(rates.decay * share, 1)
        return now + pull * (before - now) - rates.learning_rate * g / (root + rates.epsilon)

    trees = (known.root, known.share) if known else ()
    parameters = jax.tree.map(moved, carry.parameters, trained, gradient, *trees)
    return Carry(parameters, state), nats


def read(
    config: ModelConfig,
    trained: Any,
    known: Statistics | None,
    rates: Rates,
    carry: Carry,
    segments: Any,
) -> tuple[Carry, jax.Array]:
    """K segments one after another, arrays (K, T, B), and the nats of all of them.

    Several streams have parameters of their own each: none learns from another.
    """
    one = partial(step, config, trained, known, rates)
    streams = segments.ids.shape[-1]
    if streams == 1:
        carry, nats = jax.lax.scan(one, carry, segments)
        return carry, jnp.sum(nats)

    def beside(carry: Carry, segment: Any) -> tuple[Carry, jax.Array]:
        return jax.vmap(one, (0, -1))(carry, jax.tree.map(lambda x: x[:, None], segment))

    # A stream is one of the rows of a state; here each is a batch of one.
    apart = Carry(carry.parameters, jax.tree.map(lambda x: x[:, None], carry.state))
    apart, nats = jax.lax.scan(beside, apart, segments)
    state = jax.tree.map(lambda x: x[:, 0], apart.state)
    return Carry(apart.parameters, state), jnp.sum(nats)


def begin(config: ModelConfig, trained: Any, streams: int) -> Carry:
    """Before the first segment: copies of the trained parameters, the zero state."""
    state = language_model.initial_state(config, streams, language_model.dtype_of(trained))
    shape = (streams,) if streams > 1 else ()
    parameters = jax.tree.map(lambda x: jnp.array(jnp.broadcast_to(x, (*shape, *x.shape))), trained)
    return Carry(parameters, state)


def cut(batch: Any, steps: int) -> Any:
    """A window (K T, B) as segments (K, T, B) of so many steps."""
    return jax.tree.map(lambda x: x.reshape(-1, steps, *x.shape[1:]), batch)
