"""Texts as batches of few shapes: of like length side by side, ending together."""

# T time, B texts of a batch

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mlstm.model.whole_texts import WINDOW, lay

STEP = 64
"""Lengths are multiples of this."""
NOISE = 0.1
"""Lengths are sorted as if each were longer or shorter by up to this share, anew in each epoch: who
is beside whom changes."""


class Batch(NamedTuple):
    """Texts laid beside each other: a beginning that is read without a gradient, and the rest."""

    ids: np.ndarray  # (T, B) int32
    mask: np.ndarray  # (T, B) bool
    before: int  # steps of the beginning: a multiple of the window
    texts: np.ndarray  # (B,) int: which they are; -1 where there is none


def bucket_lengths(lengths: Sequence[int], truncate: int, buckets: int) -> tuple[int, ...]:
    """The lengths that gradients are compiled for, at most `buckets`, rising: those with which the
    fewest steps hold no text. The last one is that of the longest text, or `truncate` if that is
    less."""
    longest = max(1, *lengths)
    cut = bool(truncate) and truncate < longest
    rounded = -(-np.maximum(1, np.asarray(lengths)) // STEP) * STEP
    if cut:
        rounded = np.minimum(rounded, truncate)
    sizes, counts = np.unique(rounded, return_counts=True)
    below = np.append(0, np.cumsum(counts))
    n = len(sizes)
    # cost[j]: least steps for the texts of the sizes before j, each of a bucket's having its last
    # size; chosen[k][j]: where the last of k buckets begins.
    cost = np.append(0.0, np.full(n, np.inf))
    chosen = []
    for _ in range(min(buckets, n)):
        each = cost[:-1, None] + sizes * (below[1:] - below[:-1, None])
        each[np.tril_indices(n, -1)] = np.inf
        chosen.append(np.append(0, each.argmin(0)))
        cost = np.append(np.inf, each.min(0))
    found, end = [], n
    for starts in reversed(chosen):
        found.append(int(sizes[end - 1]))
        end = int(starts[end])
    return tuple(reversed(found))


def plan(lengths: Sequence[int], batch: int, draw: np.random.Generator) -> list[np.ndarray]:
    """Which texts are in which batch, each text once, the batches in a random order. One has fewer
    texts, the shortest, where the number does not come out."""
    about = np.asarray(lengths) * (1 + NOISE * draw.uniform(-1, 1, len(lengths)))
    order = np.lexsort((draw.permutation(len(lengths)), about))
    first = len(order) % batch
    cut = [order[:first]] if first else []
    cut += [order[start : start + batch] for start in range(first, len(order), batch)]
    return [cut[i] for i in draw.permutation(len(cut))]


def make(
    ids: Sequence[np.ndarray], texts: np.ndarray, batch: int, lengths: tuple[int, ...]
) -> Batch:
    """The batch of these texts, in the smallest of the lengths that holds them; what is longer
    than the last one has a beginning."""
    longest = max(1, *(len(ids[i]) for i in texts))
    behind = next((length for length in lengths if length >= longest), lengths[-1])
    before = -(-max(0, longest - behind) // WINDOW) * WINDOW
    laid = lay([ids[i] for i in texts], before + behind, batch)
    which = np.full(batch, -1)
    which[: len(texts)] = texts
    return Batch(laid.ids, laid.mask, before, which)
