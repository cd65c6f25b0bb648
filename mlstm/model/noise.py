"""What is drawn in training, before the loop over time: what is dropped, and what zoneout keeps."""

import jax
import jax.numpy as jnp

from mlstm.model.config import ModelConfig

HIDDEN, EMBEDDING, ZONES = range(3)
"""Parts of a layer's key."""


def dropped(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """x with a share of its numbers 0, and the others larger by as much. Without a key, x."""
    if rate == 0 or key is None:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def scale(shape: tuple, rate: float, key: jax.Array | None, part: int, dtype) -> jax.Array | None:
    """What is multiplied with to drop a share; None where nothing is dropped."""
    if rate == 0 or key is None:
        return None
    return dropped(jnp.ones(shape, dtype), rate, jax.random.fold_in(key, part))


def zones(config: ModelConfig, shape: tuple, key: jax.Array | None) -> dict | None:
    """By state the units that keep their old value, bool; None where nothing is drawn."""
    if key is None or not config.zoneout:
        return None
    return {
        name: jax.random.bernoulli(jax.random.fold_in(key, part), share, shape)
        for part, (name, share) in enumerate(config.zoneout, ZONES)
    }
