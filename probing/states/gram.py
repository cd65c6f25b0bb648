"""Gram matrices by slot: what linear probes, their cross-validation and covariances are made of."""

# N rows (labelled positions), S slots, H units, L columns of y

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probing.states.activations import FOLDS, LabelledWindow
from probing.states.blocks import Blocks, added, blocks_of
from probing.states.sums import Sum
from probing.tasks.labelled import SPLITS


def gram_slots(window: LabelledWindow, folds: int = FOLDS) -> np.ndarray:
    """(N,) int32: the folds of train, then dev, then test; -1 a row without a label."""
    train = SPLITS.index("train")
    later = np.where(window.split < 0, -1, folds + window.split - 1)
    return np.where(window.split == train, window.fold, later).astype(np.int32)


class Gram(NamedTuple):
    """Sums over the rows of each slot of x outer x, x outer [1, y], [1, y] and its square.

    x is centred and scaled by the pilot, y is as it is given.

    A fold of train is left out by subtraction, so that ridge regression is cross-validated
    without a second pass.
    """

    centre: jax.Array  # (H,)
    scale: jax.Array  # (H,)
    xx: Sum  # (S, H, H)
    xy: Sum  # (S, H, 1 + L): the first column is the sum of x
    y: Sum  # (S, 1 + L): the first is the number of rows
    yy: Sum  # (S, 1 + L)

    @staticmethod
    def nbytes(units: int, columns: int, slots: int = FOLDS + 2) -> int:
        """What `init` will take on the device."""
        return 4 * 2 * slots * (units * units + (units + 2) * (1 + columns)) + 8 * units

    @staticmethod
    def init(
        centre: jax.Array, scale: jax.Array, columns: int, slots: int = FOLDS + len(SPLITS) - 1
    ) -> Gram:
        units = len(centre)
        return Gram(
            jnp.array(centre, jnp.float32),
            jnp.array(scale, jnp.float32),
            Sum.zeros((slots, units, units)),
            Sum.zeros((slots, units, 1 + columns)),
            Sum.zeros((slots, 1 + columns)),
            Sum.zeros((slots, 1 + columns)),
        )

    def update(self, x_NH: jax.Array, y_NL: jax.Array | np.ndarray, slot_N: np.ndarray) -> Gram:
        """y: float. slot: on the host; -1: the row does not count."""
        return _update(self, x_NH, y_NL, blocks_of(np.asarray(slot_N), len(self.y.total)))

    def take(self, window: LabelledWindow, site: str) -> Gram:
        """The labelled positions of the window; y is the classes, then the numbers."""
        y = np.concatenate([window.classes.astype(np.float32), window.numbers], 1)
        return self.update(window.states[site], y, gram_slots(window))

    def merge(self, other: Gram) -> Gram:
        """Both must have the same centre and scale."""
        sums = {name: getattr(self, name).merge(getattr(other, name)) for name in _SUMS}
        return self._replace(**sums)

    def finalize(self) -> GramSummary:
        return GramSummary(
            np.asarray(self.centre, np.float64),
            np.asarray(self.scale, np.float64),
            *(getattr(self, name).value() for name in _SUMS),
        )


_SUMS = ("xx", "xy", "y", "yy")


class GramSummary(NamedTuple):
    """Finished sums in host float64; axes as in Gram."""

    centre: np.ndarray  # (H,)
    scale: np.ndarray  # (H,)
    xx: np.ndarray  # (S, H, H)
    xy: np.ndarray  # (S, H, 1 + L)
    y: np.ndarray  # (S, 1 + L)
    yy: np.ndarray  # (S, 1 + L)

    def of(self, slots) -> GramSummary:
        """The sum over some slots (an index of the slot axis), without that axis."""
        sums = {name: getattr(self, name)[slots].sum(0) for name in _SUMS}
        return self._replace(**sums)

    def covariance(self, slots) -> np.ndarray:
        """(H, H) of the raw states over the rows of these slots, divided by their number."""
        part = self.of(slots)
        mean = part.xy[:, 0] / part.y[0]
        return (part.xx / part.y[0] - np.outer(mean, mean)) * np.outer(self.scale, self.scale)

    def mean(self, slots) -> np.ndarray:
        """(H,) of the raw states over the rows of these slots."""
        part = self.of(slots)
        return self.centre + self.scale * part.xy[:, 0] / part.y[0]


@jax.jit(donate_argnums=0)
def _update(gram: Gram, x_NH, y_NL, blocks: Blocks) -> Gram:
    x_NH = (x_NH - gram.centre) / gram.scale
    y_NL = jnp.concatenate([jnp.ones_like(y_NL[:, :1]), y_NL], 1)

    def terms(rows: jax.Array) -> tuple[jax.Array, ...]:
        counted = (rows >= 0)[:, None]
        x, y = x_NH[rows] * counted, y_NL[rows] * counted
        products = (jnp.matmul(x.T, part, precision="highest") for part in (x, y))
        return *products, y.sum(0), (y * y).sum(0)

    sums = added([getattr(gram, name) for name in _SUMS], terms, blocks)
    return gram._replace(**dict(zip(_SUMS, sums, strict=True)))
