"""Where each byte of a text went when it was cleaned.

A step of cleaning is a list of edits of characters; steps are joined by looking one map up in the
next.
"""

# n raw bytes, N characters

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Cleaned(NamedTuple):
    """A cleaned text.

    `offsets` rise from the border before the first raw byte to the one after the last. A span
    [start, stop) of raw bytes is [offsets[start], offsets[stop]) of `data`; a state after raw byte
    i is the one after byte offsets[i + 1] - 1, which is -1 where nothing is kept up to there.
    """

    data: bytes
    offsets: np.ndarray  # (n + 1,) int64: places in data; of what was removed the next kept place


class Edit(NamedTuple):
    """Characters [start, stop) of a text, one or more, that become others."""

    start: int
    stop: int
    made: str


class Edited(NamedTuple):
    """A text in the making: `places` (N + 1,) are those of the raw characters' borders in it."""

    text: str
    places: np.ndarray


def begin(text: str) -> Edited:
    return Edited(text, np.arange(len(text) + 1))


def edit(edited: Edited, edits: Iterable[Edit]) -> Edited:
    """The text after edits, in the order of their places. Borders inside what became something
    else are at its end."""
    text, sizes = edited.text, np.ones(len(edited.text), np.int64)
    pieces, end = [], 0
    for start, stop, made in edits:
        pieces += [text[end:start], made]
        sizes[start:stop] = 0
        sizes[start] = len(made)
        end = stop
    if not pieces:
        return edited
    borders = np.concatenate([[0], np.cumsum(sizes)])
    return Edited("".join([*pieces, text[end:]]), borders[edited.places])


def finish(raw: bytes, text: str, edited: Edited, front: str = "", back: str = "") -> Cleaned:
    """The cleaned text of `raw`, which was decoded to `text`, between `front` and `back`.

    A border inside a character of several bytes is as far into what became of it, or at its end.
    """
    raw_sizes = byte_sizes(text)
    of_made = np.concatenate([[0], np.cumsum(byte_sizes(edited.text))])
    borders = of_made[edited.places]
    inside = np.arange(len(raw)) - np.repeat(np.cumsum(raw_sizes) - raw_sizes, raw_sizes)
    places = np.minimum(
        np.repeat(borders[:-1], raw_sizes) + inside, np.repeat(borders[1:], raw_sizes)
    )
    before = front.encode()
    data = before + edited.text.encode("utf-8", "surrogateescape") + back.encode()
    return Cleaned(data, len(before) + np.append(places, borders[-1]))


def byte_sizes(text: str) -> np.ndarray:
    """(N,) int64: bytes of each character in UTF-8; an escaped byte is one."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    sizes = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    sizes[(codes >= 0xDC80) & (codes <= 0xDCFF)] = 1
    return sizes
