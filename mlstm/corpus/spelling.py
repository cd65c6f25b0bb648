"""What an unknown token costs: its bytes and an end under a code of single bytes.

A model that knows a symbol "unknown" has not said what was there. Only together with the spelling
do its nats describe the whole text, so that vocabularies compare in bits per byte.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlstm.errors import InputError

END = 256
"""The symbol behind the last byte of a spelling."""


@dataclass(frozen=True)
class Spelling:
    """A code of 257 symbols, the bytes and an end, from how often each was seen, plus one."""

    counts: tuple[int, ...] = (0,) * (END + 1)

    def __post_init__(self):
        fit = len(self.counts) == END + 1 and all(
            type(count) is int and 0 <= count < 2**62 for count in self.counts
        )
        if not fit:
            raise InputError(
                f"a spelling has {END + 1} counts, of the bytes and an end, from 0 to 2^62"
            )

    @functools.cached_property
    def costs(self) -> np.ndarray:
        """(257,) nats of each symbol."""
        counts = np.array(self.counts, np.float64) + 1
        return np.log(counts.sum()) - np.log(counts)

    def nats(self, token: bytes) -> float:
        """Of one token."""
        return float(self.costs[np.frombuffer(token, np.uint8)].sum() + self.costs[END])

    @classmethod
    def fitted(cls, byte_counts: np.ndarray, tokens: int) -> Spelling:
        """From (256,) counts of the bytes of a text, and how many tokens it has."""
        return cls((*map(int, byte_counts), int(tokens)))

    @classmethod
    def from_json(cls, described: Any) -> Spelling:
        if not isinstance(described, list):
            raise InputError("a vocabulary's spelling is no list of counts")
        return cls(tuple(described))
