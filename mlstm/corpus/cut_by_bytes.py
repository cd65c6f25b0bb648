"""One file as three documents: its first bytes are train, those after validation, the last test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlstm.corpus.sources import SPLITS, TextFile
from mlstm.errors import InputError


@dataclass(frozen=True)
class FilePart:
    """Bytes [start, stop) of the text of a file, which has `length` of them."""

    file: TextFile
    start: int
    stop: int
    split: str
    length_wanted: int

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def size(self) -> int:
        """About its share of what is on the disk."""
        return self.file.size * (self.stop - self.start) // max(1, self.length_wanted)

    @property
    def data(self) -> bytes:
        return b"".join(data for data, _ in self.chunks())

    def length(self) -> int:
        return self.stop - self.start

    def chunks(self) -> Iterator[tuple[bytes, int]]:
        """Yields (bytes, source bytes read so far). Raises InputError, too where the file has
        fewer bytes, or, of the last part, more."""
        place = 0
        for data, _ in self.file.chunks():
            begin, place = place, place + len(data)
            found = data[max(0, self.start - begin) : max(0, self.stop - begin)]
            if found:
                done = (begin + len(data) - self.start) * self.size // max(1, self.length())
                yield found, min(self.size, done)
            if place > self.stop and self.stop < self.length_wanted:
                return
        if place != self.length_wanted:
            raise InputError(
                f"{self.file.path} has {place:,} bytes of text and the splits "
                f"{self.length_wanted:,}: they have to be all of it (--splits_bytes)"
            )


def parts(file: TextFile, splits_bytes: Sequence[int]) -> list[FilePart]:
    """The parts of a file that are not empty. Raises InputError."""
    sizes = list(splits_bytes)
    if len(sizes) != len(SPLITS) or min(sizes) < 0 or not sizes[0]:
        raise InputError(
            f"splits of {', '.join(map(str, sizes))} bytes; three numbers are wanted, of train, "
            "validation and test, train's above 0"
        )
    length, total = file.length(), sum(sizes)
    if length is not None and length != total:
        raise InputError(
            f"{file.path} has {length:,} bytes of text and the splits {total:,}: they have to be "
            "all of it (--splits_bytes)"
        )
    found, start = [], 0
    for split, size in zip(SPLITS, sizes, strict=True):
        if size:
            found.append(FilePart(file, start, start + size, split, total))
        start += size
    return found
