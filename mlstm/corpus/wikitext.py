"""WikiText's files: articles one after another, each begun by a heading of the first level."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Long = TypeVar("Long")


def is_heading(line: bytes) -> bool:
    """Of any level: " = Title = ", " = = Part = = "."""
    text = line.strip()
    return len(text) > 4 and text.startswith(b"= ") and text.endswith(b" =")


def is_title(line: bytes) -> bool:
    """A heading of the first level."""
    return is_heading(line) and not line.strip().startswith(b"= =")


def articles(
    lines: Iterable[bytes | Long], *, headings: bool = True, longest: int = sys.maxsize
) -> Iterator[tuple[int, bytes | Long]]:
    """Each article and the number of its first line. Lines come with their ends and keep them; what
    stands for a line is handed on by itself.

    What is before the first title is an article of its own if it is more than blank lines. One of
    more than `longest` bytes is cut at the ends of lines to several. headings: whether headings and
    blank lines are kept; an article that is nothing else is empty.
    """
    kept: list[bytes] = []
    begun, number, size = 1, 0, 0
    for number, line in enumerate(lines, 1):
        if not isinstance(line, bytes):
            yield number, line
            continue
        title = is_title(line)
        if title or size + len(line) > longest:
            if b"".join(kept).strip() or (title and begun > 1):
                yield begun, b"".join(kept)
            kept, begun, size = [], number, 0
        if headings or not (is_heading(line) or not line.strip()):
            kept.append(line)
            size += len(line)
    if number and (b"".join(kept).strip() or begun > 1):
        yield begun, b"".join(kept)
