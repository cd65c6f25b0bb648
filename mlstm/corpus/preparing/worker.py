"""A process that makes pieces of the blocks that it is told of, until nobody tells it any more.

It is started as a program of its own, so that it imports what it needs and nothing that its
starter has: neither jax nor the starter's main module. Pickles go through its standard input and
output, from and to the process that started it.
"""

from __future__ import annotations

import pickle
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

from mlstm.corpus.preparing import duplicates, pieces
from mlstm.corpus.preparing.blocks import Block, unexpected
from mlstm.corpus.preparing.making import FileOf, Recipe, make
from mlstm.errors import InputError


class Make(NamedTuple):
    """A block that is to become the piece at `path`."""

    block: Block
    file: FileOf
    recipe: Recipe
    path: Path

    @property
    def place(self) -> str:
        return f"{self.file.path}:{self.block.line}"

    def do(self) -> Made:
        try:
            piece = make(self.block, self.file, self.recipe)
        except InputError as error:
            return Made(self.block.file, self.block.number, self.block.size, error=str(error))
        pieces.write(piece, self.path)
        return Made(
            self.block.file,
            self.block.number,
            self.block.size,
            piece.records,
            piece.broken,
            piece.examples,
        )


class Made(NamedTuple):
    """What is known of a piece that is there."""

    file: int
    number: int
    size: int  # of the file on disk
    records: int = 0
    broken: int = 0
    examples: list[list] = []  # noqa: RUF012  (a constant)
    error: str | None = None


class Compare(NamedTuple):
    """A piece whose documents are to be compared with held-out ones; the answer is at `path`."""

    piece: Path
    held_out: Path
    path: Path
    share: float
    vocabulary: dict[str, Any]
    border: int | None
    split: str

    @property
    def place(self) -> str:
        return str(self.piece)

    def do(self) -> int:
        """Bytes of the piece."""
        return duplicates.compare(
            self.piece,
            self.held_out,
            self.path,
            self.share,
            self.vocabulary,
            self.border,
            self.split,
        )


def serve() -> None:
    """Reads tasks and answers each with ("done", result) or ("failed", why)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starter's to answer
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            task = pickle.load(source)
        except EOFError:
            return
        try:
            answer = ("done", task.do())
        except OSError as error:
            where = error.filename or "a piece"
            answer = ("failed", f"{where}: cannot be written: {error.strerror or error}")
        except InputError as error:
            answer = ("failed", str(error))
        except Exception as error:
            answer = ("failed", str(unexpected(task.place, error)))
        try:
            pickle.dump(answer, target)
            target.flush()
        except BrokenPipeError:
            return
