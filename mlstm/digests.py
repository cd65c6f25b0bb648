"""One number for an array, which changes with any bit of it, wherever the array lives."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, Sharding
from jax.sharding import PartitionSpec as P


def digests(tree: Any) -> Any:
    """For each array a uint32 that changes with any changed bit, whatever mesh the array is on.

    A sum over elements of a bijective mix of the element's bits with its position; sums of
    integers do not depend on their order. Each is on all devices of its array's mesh, so that every
    process can read it; the processes of a mesh call this together.
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten(_compiled(tuple(map(_everywhere, leaves)))(leaves))


@cache
def _compiled(places: tuple[Sharding | None, ...]) -> Any:
    return jax.jit(lambda leaves: [_digest(leaf) for leaf in leaves], out_shardings=list(places))


def _everywhere(x: jax.Array) -> Sharding | None:
    """The whole of the array's mesh; None is wherever the compiler puts it."""
    return NamedSharding(x.sharding.mesh, P()) if isinstance(x.sharding, NamedSharding) else None


def _digest(x: jax.Array) -> jax.Array:
    bits = _bits(x)
    position, stride = jnp.zeros(bits.shape, jnp.uint32), 1
    for axis in reversed(range(bits.ndim)):
        along = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        position += along * jnp.uint32(stride % 2**32)
        stride *= bits.shape[axis]
    return jnp.sum(_mix(bits ^ _mix(position + jnp.uint32(1))), dtype=jnp.uint32)


def _mix(x: jax.Array) -> jax.Array:
    """The finalizer of MurmurHash3 (Appleby 2011): a bijection of 32 bits."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _bits(x: jax.Array) -> jax.Array:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    if x.dtype.itemsize in (1, 2):
        unsigned = {1: jnp.uint8, 2: jnp.uint16}[x.dtype.itemsize]
        return jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(x, jnp.uint32)  # 8 bytes become a last axis of two
