"""A vocabulary for tests, of bytes and of longer pieces, and models that read it."""

import dataclasses
from typing import ClassVar

import jax
import numpy as np

from mlstm.corpus.tokens import Tokens
from mlstm.trained import Model


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The 256 bytes, then longer pieces; the longest that fits is taken."""

    longer: tuple[bytes, ...] = ()
    kind: ClassVar[str] = "pieces"
    dtype: ClassVar[type] = np.uint16
    encodes: ClassVar[bool] = True
    told: ClassVar[bool] = True
    bytewise: ClassVar[bool] = False

    @property
    def size(self) -> int:
        return 256 + len(self.longer)

    @property
    def beginning(self) -> np.ndarray:
        return np.array([ord("\n")], self.dtype)

    def tokens(self, data: bytes) -> Tokens:
        ids, ends, place = [], [], 0
        while place < len(data):
            fit = [piece for piece in self.longer if data.startswith(piece, place)]
            piece = max(fit, key=len) if fit else data[place : place + 1]
            place += len(piece)
            ids.append(256 + self.longer.index(piece) if fit else piece[0])
            ends.append(place)
        return Tokens(np.array(ids, self.dtype), np.array(ends, np.int64))

    def encode(self, data: bytes) -> np.ndarray:
        return self.tokens(data).ids

    def decode(self, ids) -> bytes:
        every = [bytes([byte]) for byte in range(256)] + list(self.longer)
        return b"".join(every[number] for number in np.asarray(ids).reshape(-1).tolist())

    def spelling(self, data: bytes, tokens: Tokens) -> np.ndarray:
        """Two nats for each byte "?"."""
        return 2.0 * (tokens.ids == ord("?"))


def in_pieces(model: Model, *longer: bytes) -> Model:
    """A model of bytes as one of pieces: each of these is read, and written, as its last byte."""
    vocabulary = Pieces(longer)
    last = [piece[-1] for piece in longer]
    parameters = jax.tree.map(np.array, model.parameters)
    rows = [*range(256), *last]
    parameters["embedding"] = parameters["embedding"][rows]
    parameters["readout"]["w"] = parameters["readout"]["w"][:, rows]
    parameters["readout"]["b"] = parameters["readout"]["b"][rows]
    config = dataclasses.replace(model.config, vocabulary=vocabulary.size)
    return dataclasses.replace(model, config=config, parameters=parameters, vocabulary=vocabulary)
