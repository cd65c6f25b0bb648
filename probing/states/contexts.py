"""Where each neuron takes values of each band of its range: contexts to read, not only the top."""

# B streams, T steps of a window, H units, D bands, C contexts kept

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probing.states.activations import LabelledWindow

BANDS = (0.01, 0.1, 0.4, 0.6, 0.9, 0.99)
"""Quantiles of a neuron's values between its bands: 7, from lowest to highest."""


class TopContexts(NamedTuple):
    """Some places of each band: the lowest and the highest of all, a random sample of the others.

    Of each stream of a window and each band at most one place is a candidate, so that contexts
    are not neighbours. Random numbers are those of the place: merging is exact.
    """

    edges: jax.Array  # (H, D - 1), ascending
    key: jax.Array  # (H, D, C) float32, descending: the value, its negative, or a random number
    value: jax.Array  # (H, D, C) float32
    document: jax.Array  # (H, D, C) int32, -1 none
    position: jax.Array  # (H, D, C) int32

    @staticmethod
    def nbytes(units: int, kept: int) -> int:
        """What `init` will take on the device."""
        return 4 * units * (len(BANDS) + 4 * (len(BANDS) + 1) * kept)

    @staticmethod
    def init(pilot: np.ndarray, kept: int = 16) -> TopContexts:
        """pilot: (rows, H) states that say where the values lie."""
        edges = jnp.asarray(np.quantile(pilot, BANDS, axis=0).T, jnp.float32)
        shape = (len(edges), len(BANDS) + 1, kept)
        return TopContexts(
            edges,
            jnp.full(shape, -jnp.inf, jnp.float32),
            jnp.zeros(shape, jnp.float32),
            jnp.full(shape, -1, jnp.int32),
            jnp.full(shape, -1, jnp.int32),
        )

    def update(
        self, x_TBH: jax.Array, document_TB: jax.Array, position_TB: jax.Array
    ) -> TopContexts:
        """document -1: the cell does not count."""
        band_TBH = (x_TBH[..., None] > self.edges).sum(-1)
        draw_TB1 = _random(document_TB, position_TB)[..., None]
        bands = self.edges.shape[1] + 1
        found = []
        for band in range(bands):
            key = -x_TBH if band == 0 else x_TBH if band == bands - 1 else draw_TB1
            counted = (band_TBH == band) & (document_TB >= 0)[..., None]
            key_TBH = jnp.where(counted, key, -jnp.inf)
            step_BH = key_TBH.argmax(0)
            stream_B1 = jnp.arange(x_TBH.shape[1])[:, None]
            key_BH = key_TBH.max(0)
            value_BH = jnp.take_along_axis(x_TBH, step_BH[None], 0)[0]
            places = [part[step_BH, stream_B1] for part in (document_TB, position_TB)]
            found.append([key_BH, value_BH, *places])
        parts = [jnp.stack([f[k] for f in found], 0).transpose(2, 0, 1) for k in range(4)]
        return self._keep(*parts)

    def _keep(self, *more: jax.Array) -> TopContexts:
        """The best of what is there and more: key, value, document, position of (H, D, any)."""
        parts = [jnp.concatenate([a, b], -1) for a, b in zip(self[1:], more, strict=True)]
        key, best = jax.lax.top_k(parts[0], self.key.shape[-1])
        value, document, position = (jnp.take_along_axis(p, best, -1) for p in parts[1:])
        document = jnp.where(key > -jnp.inf, document, -1)
        return TopContexts(self.edges, key, value, document, position)

    def take(self, window: LabelledWindow, site: str) -> TopContexts:
        """Every step of the window, labelled or not; a token's place is its last byte."""
        every = window.every
        return update(self, every.states[site], every.text, window.places)

    def merge(self, other: TopContexts) -> TopContexts:
        """Both must have the same edges."""
        return self._keep(*other[1:])

    def finalize(self) -> Contexts:
        return Contexts(*(np.asarray(part) for part in (self.value, self.document, self.position)))


class Contexts(NamedTuple):
    """Bands from the lowest values (0) to the highest (D - 1); the most extreme come first."""

    value: np.ndarray  # (H, D, C)
    document: np.ndarray  # (H, D, C) int32, -1 none
    position: np.ndarray  # (H, D, C) int32: the value is the one after this byte


def _random(document: jax.Array, position: jax.Array) -> jax.Array:
    """A number in [0, 1) of each place, the same in every run (the finaliser of MurmurHash3)."""
    h = document.astype(jnp.uint32) * jnp.uint32(0x9E3779B1) + position.astype(jnp.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = (h ^ (h >> shift)) * jnp.uint32(factor)
    h = h ^ (h >> 16)
    return (h >> 8).astype(jnp.float32) / (1 << 24)


update = jax.jit(TopContexts.update, donate_argnums=0)
