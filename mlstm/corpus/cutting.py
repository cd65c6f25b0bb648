"""Text in blocks whose borders depend on the text alone, not on the pieces in which it is read.

A vocabulary cuts each block by itself, so that what it makes of a text is the same however the text
comes, and takes bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

BLOCK = 1 << 16
"""The most bytes of a block: enough for nearly all lines."""


def character_border(data: bytes, limit: int) -> int:
    """The last place, at `limit` or up to three bytes before it, where no UTF-8 character is cut.

    Only what stands before it is looked at. Bytes that are no UTF-8 may be cut anywhere.
    """
    for back in range(1, min(4, limit + 1)):
        byte = data[limit - back]
        if byte & 0xC0 == 0x80:  # inside a character
            continue
        size = 2 if 0xC0 <= byte < 0xE0 else 3 if 0xE0 <= byte < 0xF0 else 4
        whole = byte < 0x80 or byte >= 0xF8 or size <= back
        return limit if whole else limit - back
    return limit


def block_end(data: bytes, start: int) -> int:
    """Where the block ends that begins at `start`, of which BLOCK bytes are there: behind its last
    line end, or, where a line is longer, at the last border of a character."""
    line = data.rfind(b"\n", start, start + BLOCK)
    return line + 1 if line >= 0 else character_border(data, start + BLOCK)


def blocks(data: bytes) -> Iterator[bytes]:
    """The blocks of a whole text."""
    start = 0
    while len(data) - start > BLOCK:
        stop = block_end(data, start)
        yield data[start:stop]
        start = stop
    if start < len(data):
        yield data[start:]


def blocks_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same blocks, of a text that comes in chunks."""
    cutter = Cutter()
    for chunk in chunks:
        yield from cutter.push(chunk)
    yield from cutter.end()


class Cutter:
    """The same blocks, as text is pushed."""

    def __init__(self):
        self._rest = b""

    def push(self, data: bytes) -> Iterator[bytes]:
        """What is whole so far."""
        data, start = self._rest + data if self._rest else data, 0
        while len(data) - start > BLOCK:
            stop = block_end(data, start)
            yield data[start:stop]
            start = stop
        self._rest = data[start:]

    def end(self) -> Iterator[bytes]:
        """The last one of the text; another may begin."""
        rest, self._rest = self._rest, b""
        if rest:
            yield rest
