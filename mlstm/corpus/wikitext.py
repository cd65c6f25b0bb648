"""WikiText's files: articles one after another, each begun by a heading of the first level."""

from collections.abc import Iterable, Iterator


def is_heading(line: bytes) -> bool:
    """Of any level: " = Title = ", " = = Part = = "."""
    text = line.strip()
    return len(text) > 4 and text.startswith(b"= ") and text.endswith(b" =")


def is_title(line: bytes) -> bool:
    """A heading of the first level."""
    return is_heading(line) and not line.strip().startswith(b"= =")


def articles(lines: Iterable[bytes], *, headings: bool = True) -> Iterator[tuple[int, bytes]]:
    """Each article and the number of its first line. Lines come with their ends and keep them.

    What is before the first title is an article of its own if it is more than blank lines.
    headings: whether headings and blank lines are kept; an article that is nothing else is empty.
    """
    kept: list[bytes] = []
    begun, number = 1, 0
    for number, line in enumerate(lines, 1):
        if is_title(line):
            if b"".join(kept).strip() or begun > 1:
                yield begun, b"".join(kept)
            kept, begun = [], number
        if headings or not (is_heading(line) or not line.strip()):
            kept.append(line)
    if number and (b"".join(kept).strip() or begun > 1):
        yield begun, b"".join(kept)
