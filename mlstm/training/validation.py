"""Bits per byte of the whole held-out text, with state carried through it."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mlstm import devices
from mlstm.corpus.reading import Split
from mlstm.corpus.stream import Batch, Stream
from mlstm.model import language_model
from mlstm.model.scoring import score_window
from mlstm.training import setup as setups
from mlstm.training.config import Config
from mlstm.training.state import each_model


class Validation:
    """The held-out text read as streams side by side, every token but the first a target once.

    Each stream is warmed up on the text before it, and no window is left out, so that one shape is
    compiled and the figure depends little on the number of streams. A short text gets shorter
    windows, then fewer streams. The mesh has no say in either: streams that it needs beyond them
    are empty. The models of a population are scored in one reading. Where they are computed side by
    side, what that takes on a device grows with their number, and shrinks with
    config.train.validation_batch and validation_window.
    """

    def __init__(self, config: Config, split: Split, mesh: Mesh) -> None:
        window = min(config.train.validation_window, max(1, split.length - 1))
        streams = config.train.validation_batch or config.data.batch
        streams = min(streams, max(1, (split.length - 1) // window))
        self.stream = Stream(split, streams, window, context=window)
        self._spelled = split.spelled(1)  # every token but the first is a target
        self._mesh, self._resets = mesh, setups.resets_inside(split)
        self._empty = -streams % mesh.shape["data"]
        self._rows = devices.local_rows(mesh, streams + self._empty)
        carry = devices.carry_sharding(mesh)

        def begin(parameters: Any) -> Any:
            dtype = language_model.dtype_of(parameters)
            return language_model.initial_state(config.model, streams + self._empty, dtype)

        self._begin = jax.jit(each_model(config, begin), out_shardings=carry)
        self._score = jax.jit(
            each_model(config, partial(score_window, config.model), (0, 0, None)),
            out_shardings=(carry, devices.by_model(mesh)),
            donate_argnums=1,
        )

    def bits_per_byte(
        self, parameters: Any, asked: Callable[[], bool] = lambda: False
    ) -> np.ndarray | None:
        """Reads the whole split once: a number for each model, as an array of their axis; None
        where `asked`, called for each window, ends it."""
        state, nats = self._begin(parameters), []
        for window in range(self.stream.windows):
            state, of_window = self._score(parameters, state, self._batch(window))
            nats.append(of_window)
            if window >= 2:  # windows are dispatched ahead of the devices by this many
                jax.block_until_ready(nats[window - 2])
            if asked():
                return None
        whole = np.apply_along_axis(math.fsum, 0, np.array(devices.fetch(nats), np.float64))
        return (whole + self._spelled.nats) / self._spelled.bytes / math.log(2)

    def _batch(self, window: int) -> Batch:
        """With empty streams behind the others: as many as the mesh divides."""
        streams, rows = self.stream.batch_size, self._rows
        real = slice(min(rows.start, streams), min(rows.stop, streams))
        batch = self.stream.batch(0, window, real)
        empty = (rows.stop - rows.start) - (real.stop - real.start)
        batch = Batch(*(np.pad(part, ((0, 0), (0, empty))) for part in batch))
        return setups.place(batch, self._mesh, streams + self._empty, rows, resets=self._resets)
