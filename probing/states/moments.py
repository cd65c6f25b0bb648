"""Weighted moments of neurons and labels, by slot: what correlations and Cohen's d are made of."""

# N rows (labelled positions), S slots, L labels (the first is 1 for every row), H units

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from probing.states.sums import Sum


class Moments(NamedTuple):
    """Sums of y, y², yx and yx² over the rows of each slot; x and y as they are given."""

    y: Sum  # (S, L)
    yy: Sum  # (S, L)
    yx: Sum  # (S, L, H)
    yxx: Sum  # (S, L, H)

    @staticmethod
    def nbytes(slots: int, labels: int, units: int) -> int:
        """What `init` will take on the device."""
        return 2 * 4 * 2 * slots * labels * (1 + units)

    @staticmethod
    def init(slots: int, labels: int, units: int) -> Moments:
        few, many = (slots, labels), (slots, labels, units)
        return Moments(Sum.zeros(few), Sum.zeros(few), Sum.zeros(many), Sum.zeros(many))

    def update(self, x_NH: jax.Array, y_NL: jax.Array, slot_N: jax.Array) -> Moments:
        """slot -1: the row does not count."""
        slots, labels = self.y.total.shape
        in_slot = jax.nn.one_hot(slot_N, slots, dtype=jnp.float32)
        y_NSL = in_slot[:, :, None] * y_NL[:, None, :].astype(jnp.float32)
        flat = y_NSL.reshape(-1, slots * labels)
        yx, yxx = (
            jnp.matmul(flat.T, x, precision="highest").reshape(self.yx.total.shape)
            for x in (x_NH, x_NH * x_NH)
        )
        return Moments(
            self.y.add(y_NSL.sum(0)),
            self.yy.add((y_NSL * y_NSL).sum(0)),
            self.yx.add(yx),
            self.yxx.add(yxx),
        )

    def merge(self, other: Moments) -> Moments:
        return Moments(*(a.merge(b) for a, b in zip(self, other, strict=True)))
