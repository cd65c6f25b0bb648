"""Bits per byte of the whole held-out text, with state carried through it."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mlstm import devices
from mlstm.corpus.reading import Split
from mlstm.corpus.stream import Batch, Stream
from mlstm.model import scoring
from mlstm.training import setup as setups
from mlstm.training.config import Config


class Validation:
    """The held-out text read as streams side by side, every byte but the first a target once.

    Each stream is warmed up on the text before it, and no window is left out, so that one shape is
    compiled and the figure depends little on the number of streams. A short text gets shorter
    windows, then fewer streams. The mesh has no say in either: streams that it needs beyond them
    are empty.
    """

    def __init__(self, config: Config, split: Split, mesh: Mesh) -> None:
        window = min(config.train.validation_window, max(1, split.length - 1))
        streams = config.train.validation_batch or config.data.batch
        streams = min(streams, max(1, (split.length - 1) // window))
        self.stream = Stream(split, streams, window, context=window)
        groups = config.mesh.data
        self._windows = _Filled(self.stream, -(-streams // groups) * groups)
        self._model, self._mesh = config.model, mesh
        self._resets = setups.resets_inside(split)

    def bits_per_byte(
        self, parameters: Any, asked: Callable[[], bool] = lambda: False
    ) -> float | None:
        """Reads the whole split once; None where `asked`, called for each window, ends it."""

        def poll(*_: int) -> None:
            if asked():
                raise _Asked

        try:
            score = scoring.bits_per_byte(
                self._model, parameters, self._windows, place=self._place, progress=poll
            )
        except _Asked:
            return None
        return score.bits_per_byte

    def _place(self, tree: Any) -> Any:
        """Onto the mesh: a batch, or the first state."""
        if isinstance(tree, Batch):
            return setups.place(tree, self._mesh, resets=self._resets)
        return jax.device_put(tree, devices.carry_sharding(self._mesh))


class _Asked(Exception):
    """Somebody waits for the end of a validation."""


class _Filled:
    """The windows of a stream, with empty streams behind its own: as many as the mesh divides."""

    def __init__(self, stream: Stream, batch_size: int) -> None:
        self.windows, self.batch_size, self._stream = stream.windows, batch_size, stream

    def batch(self, epoch: int, window: int) -> Batch:
        batch = self._stream.batch(epoch, window)
        empty = self.batch_size - self._stream.batch_size
        return Batch(*(np.pad(part, ((0, 0), (0, empty))) for part in batch))
