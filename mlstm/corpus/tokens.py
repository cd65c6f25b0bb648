"""A text as a vocabulary cuts it: ids, and where in the text each of them ends."""

from typing import NamedTuple

import numpy as np


class Tokens(NamedTuple):
    """The tokens of one text, which is their spellings one after another, byte for byte."""

    ids: np.ndarray  # (n,) of the vocabulary's dtype
    ends: np.ndarray  # (n,) int64, ascending: the byte after each token, up to the text's size

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Of each byte position, the token that holds it."""
        return np.searchsorted(self.ends, positions, side="right")

    def read_with(self, counts: np.ndarray) -> np.ndarray:
        """How many tokens are read with the first so many bytes: also one that goes on behind."""
        return np.where(counts > 0, self.at(np.maximum(counts, 1) - 1) + 1, 0)


class Charged(NamedTuple):
    """What is charged for the tokens of one text beside what a model says."""

    sizes: np.ndarray  # (n,) int64, the bytes that each spells
    nats: np.ndarray  # (n,) the spelling of unknown ones, else 0
    changed: int  # bytes of the text, at the least, that the tokens spell otherwise


def of_bytes(ids: np.ndarray) -> Tokens:
    """Tokens of one byte each."""
    return Tokens(ids, np.arange(1, len(ids) + 1))
