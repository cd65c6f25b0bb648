"""Sums over a long stream that lose nothing to float32."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Sum(NamedTuple):
    """A float32 sum with what rounding has lost so far (Neumaier).

    Adding is exact to about 1e-14; the terms are what they are. One that is itself the float32
    sum over a window has an error of about 1e-7 of its magnitude. Many windows add up to no more
    than that, where the error of a plain sum would grow with their number.
    """

    total: jax.Array
    lost: jax.Array

    @staticmethod
    def zeros(shape) -> Sum:
        return Sum(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))

    def add(self, x: jax.Array) -> Sum:
        new = self.total + x
        larger = jnp.abs(self.total) >= jnp.abs(x)
        lost = jnp.where(larger, (self.total - new) + x, (x - new) + self.total)
        return Sum(new, self.lost + lost)

    def merge(self, other: Sum) -> Sum:
        joined = self.add(other.total)
        return joined._replace(lost=joined.lost + other.lost)

    def value(self) -> np.ndarray:
        return np.asarray(self.total, np.float64) + np.asarray(self.lost, np.float64)
