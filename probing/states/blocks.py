"""Rows of a window by slot, in blocks: a product then costs what it costs with one slot."""

# N rows, S slots, R blocks of rows

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probing.states.sums import Sum

BLOCK = 128  # rows that are multiplied at once


class Blocks(NamedTuple):
    """Each block has rows of one slot."""

    rows: np.ndarray  # (R, BLOCK) int32: places of rows, -1 none
    slot: np.ndarray  # (R,) int32


def blocks_of(slot_N: np.ndarray, slots: int) -> Blocks:
    """slot -1: the row is in none.

    The number of blocks depends on N alone: each slot has at most one that is not full.
    """
    count = -(-len(slot_N) // BLOCK) + slots
    blocks = Blocks(np.full((count, BLOCK), -1, np.int32), np.zeros(count, np.int32))
    used = 0
    for slot in range(slots):
        here = np.flatnonzero(slot_N == slot)
        needed = -(-len(here) // BLOCK)
        blocks.rows[used : used + needed].reshape(-1)[: len(here)] = here
        blocks.slot[used : used + needed] = slot
        used += needed
    return blocks


def added(
    sums: Sequence[Sum], terms: Callable[[jax.Array], Sequence[jax.Array]], blocks: Blocks
) -> list[Sum]:
    """Sums whose first axis is the slot, with the terms of a window's rows.

    terms: of the (BLOCK,) places of a block's rows, what it adds to each sum in its slot; -1 is no
    row, and must add nothing.
    """

    def step(
        window: list[jax.Array], block: tuple[jax.Array, jax.Array]
    ) -> tuple[list[jax.Array], None]:
        rows, slot = block
        return [w.at[slot].add(new) for w, new in zip(window, terms(rows), strict=True)], None

    zeros = [jnp.zeros_like(part.total) for part in sums]
    window, _ = jax.lax.scan(step, zeros, (jnp.asarray(blocks.rows), jnp.asarray(blocks.slot)))
    return [part.add(new) for part, new in zip(sums, window, strict=True)]
