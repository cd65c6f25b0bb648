"""Which bytes of a labelled span carry its label: those after which a model's state is read."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from mlstm.errors import InputError

Position = Literal["last", "every", "first"]
POSITIONS: tuple[str, ...] = get_args(Position)


def check_position(rule: str) -> None:
    """InputError unless it is one of POSITIONS."""
    if rule not in POSITIONS:
        raise InputError(f"position {rule!r}: it is one of {', '.join(POSITIONS)}")


def place(starts: np.ndarray, ends: np.ndarray, rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Labelled positions of the spans [start, end), starts and ends (n,) with start < end.

    Returns (positions, of): (m,) int32 bytes of the text, and (m,) which span each is of.
    "last": the last byte, when the model has read the whole of it; "first": the first byte;
    "every": each byte.
    """
    of = np.arange(len(starts))
    if rule == "last":
        return (ends - 1).astype(np.int32), of
    if rule == "first":
        return starts.astype(np.int32), of
    lengths = ends - starts
    of = np.repeat(of, lengths)
    before = np.cumsum(lengths) - lengths
    return (np.arange(len(of)) - before[of] + starts[of]).astype(np.int32), of
