"""Bits per byte of the whole held-out text, with state carried through it."""

from typing import Any

import jax
from jax.sharding import Mesh

from mlstm import devices
from mlstm.corpus.reading import Split
from mlstm.corpus.stream import Batch, Stream
from mlstm.model import scoring
from mlstm.training.config import Config


class Validation:
    """The held-out text read as streams side by side, every byte but the first a target once.

    Each stream is warmed up on the text before it, and no window is left out, so that one shape is
    compiled and the figure depends little on the number of streams. A short text gets fewer
    streams, then shorter windows.
    """

    def __init__(self, config: Config, split: Split, mesh: Mesh) -> None:
        groups = config.mesh.data
        window = min(config.train.validation_window, max(1, (split.length - 1) // groups))
        streams = config.train.validation_batch or config.data.batch
        streams = min(streams, max(1, (split.length - 1) // window))
        streams = max(groups, streams - streams % groups)
        self.stream = Stream(split, streams, window, context=window)
        self._model = config.model
        self._resets = bool((split.reset_points > 0).any())
        self._rows, self._carry = devices.batch_sharding(mesh), devices.carry_sharding(mesh)

    def bits_per_byte(self, parameters: Any) -> float:
        """Reads the whole split once."""
        return scoring.bits_per_byte(
            self._model, parameters, self.stream, place=self._place
        ).bits_per_byte

    def _place(self, tree: Any) -> Any:
        """Onto the mesh: a batch, or the first state."""
        if not isinstance(tree, Batch):
            return jax.device_put(tree, self._carry)
        if not self._resets:
            tree = tree._replace(resets=None)  # pyright: ignore[reportArgumentType]
        return jax.device_put(tree, self._rows)
