"""Documents to splits: each where its source or its name says, one alone cut by bytes."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mlstm.corpus.cleaned import CleanedDocument
from mlstm.corpus.cut_by_bytes import FilePart
from mlstm.corpus.cutting import character_border
from mlstm.corpus.folders import CannotWrite, writing
from mlstm.corpus.sources import FRACTIONS, SPLITS, Document, TextFile, split_by_name
from mlstm.corpus.writing import SplitWriter
from mlstm.errors import InputError


def fractions(splits: Sequence[float] | None) -> tuple[float, ...]:
    """The fractions of train, validation and test, checked. Raises InputError."""
    parts = FRACTIONS if splits is None else tuple(float(part) for part in splits)
    fit = len(parts) == 3 and all(0 <= part <= 1 for part in parts)
    if not fit or not math.isclose(sum(parts), 1, abs_tol=1e-6) or not parts[0]:
        raise InputError(
            f"splits are {', '.join(f'{part:g}' for part in parts)}; three fractions of train, "
            "validation and test are wanted that sum to 1, train's above 0"
        )
    return parts


def write(
    documents: Iterable[Document | TextFile | FilePart | CleanedDocument],
    writers: dict[str, SplitWriter],
    output: Path,
    *,
    splits: Sequence[float] | None,
    strict: bool,
    progress: Callable[[int], None] | None,
) -> tuple[bool, dict[str, Any]]:
    """Whether the source fixed the split, and what was left out.

    Raises InputError, of which CannotWrite names `output`; errors of `documents` and `progress`
    pass as they are.
    """
    parts = fractions(splits)
    stream = iter(documents)
    head = list(itertools.islice(stream, 2))
    if not head:
        raise InputError("there are no documents to prepare")
    empty, unreadable, fixed, done = 0, [], False, 0
    if len(head) == 1 and head[0].split is None:
        write_cut(head[0], writers, output, parts, progress)
        return False, {"empty": 0, "unreadable": []}
    for document in itertools.chain(head, stream):
        fixed = fixed or document.split is not None
        if document.split is not None and splits is not None:
            raise InputError("this source fixes its own split; leave the fractions out")
        writer = writers[document.split or split_by_name(document.name, parts)]
        with writing(output):
            writer.begin(document.name)
        try:
            length = 0
            for data, consumed in document.chunks():
                with writing(output):
                    writer.write(data)
                length += len(data)
                if progress:
                    progress(done + consumed)
            with writing(output):
                if not writer.end():  # a vocabulary may have no ids for white space
                    length = 0
        except CannotWrite:
            raise
        except InputError as error:
            if strict:
                raise
            unreadable.append({"name": document.name, "error": str(error)})
            length = 0
        else:
            empty += not length
        if not length:
            with writing(output):
                writer.take_back()
        done += document.size
    return fixed, {"empty": empty, "unreadable": unreadable}


def write_cut(
    document: Document | TextFile | FilePart | CleanedDocument,
    writers: dict[str, SplitWriter],
    output: Path,
    parts: Sequence[float],
    progress: Callable[[int], None] | None,
) -> None:
    """One document to contiguous pieces, the splits' shares of its bytes. A compressed one is read
    twice: its length has to be known first."""
    length, halves = document.length(), False
    if length is None:
        length, halves = 0, True
        for data, consumed in document.chunks():
            length += len(data)
            if progress:
                progress(consumed // 2)
    # The addition outweighs the rounding of the sum, so that .6 + .3 + .1 is 1.
    borders = [int(length * border + 1e-3) for border in itertools.accumulate(parts)]
    last = max(number for number, part in enumerate(parts) if part)
    borders[last:] = [length] * (len(SPLITS) - last)
    cut = _Cut(writers, document.name, borders)
    for data, consumed in document.chunks():
        with writing(output):
            cut.write(data)
        if progress:
            progress((document.size + consumed) // 2 if halves else consumed)
    with writing(output):
        cut.close()
    if cut.position != length:
        raise InputError(f"{document.name} changed while it was read; try again")


class _Cut:
    """Writes one text to the splits, each up to its border, or up to three bytes before it where
    it would be inside of a UTF-8 character."""

    def __init__(self, writers: dict[str, SplitWriter], name: str, borders: list[int]):
        self._writers, self._name, self._borders = writers, name, borders
        self._found = 0  # borders that are where characters end
        self._rest = b""  # three bytes that a border may still move before
        self._begun: set[str] = set()
        self.position = 0  # of what is written

    def write(self, data: bytes) -> None:
        data = self._rest + data
        while self._found < len(self._borders):
            place = self._borders[self._found] - self.position
            if place >= len(data):
                break
            self._borders[self._found] = self.position + character_border(data, place)
            self._found += 1
        kept = max(0, len(data) - 3)
        self._rest = data[kept:]
        self._put(data[:kept])

    def close(self) -> None:
        rest, self._rest = self._rest, b""
        self._put(rest)
        for split in self._begun:
            self._writers[split].end()

    def _put(self, data: bytes) -> None:
        for split, border in zip(SPLITS, self._borders, strict=True):
            size = max(0, border - self.position)
            piece, data = data[:size], data[size:]
            if piece:
                if split not in self._begun:
                    self._begun.add(split)
                    self._writers[split].begin(self._name)
                self._writers[split].write(piece)
                self.position += len(piece)
        self.position += len(data)  # more than there was: the file has grown


def check_filled(
    written: dict[str, list], fractions: Sequence[float] | None, skipped: dict[str, Any]
) -> None:
    """Raises InputError where there is no text, or none in a split that should have some."""
    count = sum(shard["documents"] for shards in written.values() for shard in shards)
    if not count:
        bad = skipped["unreadable"]
        or_copy = " or a copy of a held-out one" if skipped.get("duplicates") else ""
        said = f"there is no text: every document is empty{or_copy}"
        raise InputError(bad[0]["error"] if bad else said)
    for split, wanted in zip(SPLITS, fractions or (1, 0, 0), strict=True):
        if wanted and not written[split]:
            raise InputError(
                f"the {split} split comes out empty: {count} documents are too few for these "
                "fractions; give others (--splits=1,0,0 is train alone), or join the text to one "
                "file, which is cut by bytes"
            )
