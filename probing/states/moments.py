"""Weighted moments of neurons and labels, by slot: what correlations and Cohen's d are made of."""

# N rows (labelled positions), S slots, L labels (the first is 1 for every row), H units

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from probing.states.blocks import Blocks, added
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

    def update(self, x_NH: jax.Array, y_NL: jax.Array, blocks: Blocks) -> Moments:
        """blocks: of the slots of the rows."""

        def terms(rows: jax.Array) -> tuple[jax.Array, ...]:
            x, y = x_NH[rows], y_NL[rows] * (rows >= 0)[:, None]
            products = (jnp.matmul(y.T, part, precision="highest") for part in (x, x * x))
            return y.sum(0), (y * y).sum(0), *products

        return Moments(*added(self, terms, blocks))

    def merge(self, other: Moments) -> Moments:
        return Moments(*(a.merge(b) for a, b in zip(self, other, strict=True)))
