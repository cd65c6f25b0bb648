"""Bits per byte of a whole text: a model's, and those of bz2 and xz on the same bytes.

Legend: T time, B streams.
"""

from __future__ import annotations

import bz2
import dataclasses
import json
import lzma
from collections.abc import Callable, Iterable

import numpy as np

from mlstm.corpus.reading import Split
from mlstm.corpus.stream import Batch, Stream
from mlstm.errors import InputError
from mlstm.loading import Model
from mlstm.model import scoring
from mlstm.model.edits import Edit
from mlstm.model.edits import edits as edit_arrays
from mlstm.model.scoring import Score

Progress = Callable[[int, int], None]


def evaluate(
    model: Model,
    split: Split,
    *,
    reset_every: int = 0,
    edits: Iterable[Edit | str] = (),
    progress: Progress | None = None,
) -> Score:
    """Score every byte of a split but the first, exactly once.

    The text is read as streams side by side, each warmed up on the 512 bytes before it, and the
    state is carried on. `reset_every` = N forgets it before each N bytes instead, as a model with
    a context of N does whose windows do not overlap.

    Raises InputError for a text of fewer than two bytes, or edits that the model cannot have.
    """
    if split.length < 2:
        raise InputError(f"the text has {split.length} bytes; at least 2 are needed to score it")
    if reset_every < 0:
        raise InputError(f"reset_every is {reset_every}; it must be 1 or more, or 0 for never")
    if reset_every:
        windows = Blocks(split, reset_every)
    else:
        # More streams than this would spend a good part of the work on warming up.
        windows = Stream(split, min(64, max(1, split.length // 2048)), 128, context=512)
    return scoring.bits_per_byte(
        model.config,
        model.parameters,
        windows,
        edits=edit_arrays(model.config, edits),
        progress=progress,
    )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A model's score on a text, and what general compressors need for the same bytes."""

    model: str
    text: str
    score: Score
    compressed: dict[str, float]
    """Bits per byte of each compressor, over the whole text."""
    reset_every: int

    def to_json(self) -> str:
        return json.dumps(
            {
                "format_version": 1,
                "model": self.model,
                "text": self.text,
                "reset_every": self.reset_every,
                **json.loads(self.score.to_json()),
                "compressed_bits_per_byte": self.compressed,
            },
            indent=2,
        )

    def __str__(self) -> str:
        state = f"reset every {self.reset_every} bytes" if self.reset_every else "carried"
        lines = [
            f"{'model':8}{self.model}",
            f"{'text':8}{self.text}, {self.score.bytes:,} bytes scored, state {state}",
            f"{'':8}{'bits per byte':>14}{'nats per byte':>15}",
            f"{'model':8}{self.score.bits_per_byte:14.4f}{self.score.nats_per_byte:15.4f}",
        ]
        lines += [f"{name:8}{bits:14.4f}" for name, bits in self.compressed.items()]
        if self.score.bytes_per_second:
            lines.append(f"{'rate':8}{self.score.bytes_per_second:14,.0f} bytes/s")
        return "\n".join(lines)


def compare(
    model: Model,
    split: Split,
    *,
    text: str = "text",
    reset_every: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a split as `evaluate` does, and compress the same bytes with bz2 and xz.

    `text` names the split for people; `progress` is called with the bytes read so far and in all:
    each is read twice.
    """
    size = split.length

    def scored(done: int, total: int) -> None:
        if progress:
            progress(size * done // total, 2 * size)

    def packed(done: int, total: int) -> None:
        if progress:
            progress(size + done, 2 * size)

    score = evaluate(model, split, reset_every=reset_every, progress=scored)
    return Evaluation(model.origin, text, score, compressed(split, packed), reset_every)


class Blocks:
    """A split in blocks of T ids that know nothing of each other, B of them in each window."""

    def __init__(self, split: Split, length: int):
        self.split, self.length = split, min(length, split.length - 1)
        blocks = -(-(split.length - 1) // self.length)
        self.batch_size = min(blocks, max(1, 8192 // self.length))
        self.windows = -(-blocks // self.batch_size)

    def batch(self, epoch: int, window: int) -> Batch:
        """Window `window` (all epochs are alike); the last one is filled up at weight 0."""
        size = self.batch_size * self.length
        start = window * size
        found = self.split.read(start, min(start + size + 1, self.split.length))
        ids = np.zeros(size + 1, np.int32)
        ids[: len(found)] = found
        resets = np.zeros(size, bool)
        resets[:: self.length] = True
        points = self.split.reset_points
        resets[points[(points >= start) & (points < start + size)] - start] = True
        counted = np.arange(size) < len(found) - 1
        return Batch(
            self._shaped(ids[:-1]),
            self._shaped(ids[1:]),
            self._shaped(counted.astype(np.float32)),
            self._shaped(resets),
        )

    def _shaped(self, flat: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(flat.reshape(self.batch_size, self.length).T)


def compressed(split: Split, progress: Progress | None = None) -> dict[str, float]:
    """Bits per byte of bz2 (level 9) and xz (preset 9 extreme) over the whole split."""
    compressors = {
        "bz2": bz2.BZ2Compressor(9),
        "xz": lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME),
    }
    sizes, chunk = dict.fromkeys(compressors, 0), 1 << 18
    for start in range(0, split.length, chunk):
        stop = min(start + chunk, split.length)
        data = split.vocabulary.decode(split.read(start, stop))
        for name, compressor in compressors.items():
            sizes[name] += len(compressor.compress(data))
        if progress:
            progress(stop, split.length)
    return {
        name: 8 * (sizes[name] + len(compressor.flush())) / split.length
        for name, compressor in compressors.items()
    }
