"""The power of neurons by frequency: what is periodic in them, as the width of lines."""

# B streams, T steps of a window, H units

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probing.states.activations import LabelledWindow
from probing.states.sums import Sum


class Spectrum(NamedTuple):
    """Periodograms averaged over stretches of one document (Welch 1967).

    A stretch is a stream of a window that one document fills; stretches do not overlap, each has
    its mean taken away and a Hann window over it.
    """

    power: Sum  # (T // 2 + 1, H)
    stretches: jax.Array  # () int32

    @staticmethod
    def nbytes(units: int, steps: int) -> int:
        """What `init` will take on the device."""
        return 8 * (steps // 2 + 1) * units + 4

    @staticmethod
    def init(units: int, steps: int) -> Spectrum:
        """steps: T, an even number."""
        return Spectrum(Sum.zeros((steps // 2 + 1, units)), jnp.zeros((), jnp.int32))

    def update(self, x_TBH: jax.Array, document_TB: jax.Array) -> Spectrum:
        steps = len(x_TBH)
        whole_B = (document_TB[0] >= 0) & (document_TB == document_TB[0]).all(0)
        hann_T = 0.5 - 0.5 * jnp.cos(2 * jnp.pi * jnp.arange(steps) / steps)
        shown = (x_TBH - x_TBH.mean(0)) * hann_T[:, None, None]
        power = jnp.abs(jnp.fft.rfft(shown, axis=0)) ** 2 / (hann_T**2).sum()
        power = power.at[1:-1].multiply(2)  # the negative frequencies
        return Spectrum(
            self.power.add((power * whole_B[:, None]).sum(1)), self.stretches + whole_B.sum()
        )

    def take(self, window: LabelledWindow, site: str) -> Spectrum:
        """Every step of the window, labelled or not."""
        every = window.every
        return update(self, every.states[site], every.text)

    def merge(self, other: Spectrum) -> Spectrum:
        return Spectrum(self.power.merge(other.power), self.stretches + other.stretches)

    def finalize(self) -> Power:
        bins = len(self.power.total)
        count = int(self.stretches)
        return Power(
            np.arange(bins) / (2 * (bins - 1)), self.power.value() / (count or np.nan), count
        )


class Power(NamedTuple):
    """Power spectral density; frequency 0 to 1/2 is in cycles per step: per byte, or per token of
    a model that reads longer ones."""

    frequency: np.ndarray  # (T // 2 + 1,)
    density: np.ndarray  # (T // 2 + 1, H); NaN without a stretch
    stretches: int


update = jax.jit(Spectrum.update, donate_argnums=0)
