"""Bits per byte of a whole text: a model's, and those of bz2 and xz on the same bytes.

Legend: T time, B streams or blocks side by side.
"""

from __future__ import annotations

import bz2
import dataclasses
import json
import lzma
import os
from collections.abc import Callable, Iterable
from typing import Any, overload

import numpy as np
from jax.sharding import Mesh

from mlstm.corpus import manifest, named, shards, sources
from mlstm.corpus.files import user_path
from mlstm.corpus.reading import Split
from mlstm.corpus.stream import Batch, Stream
from mlstm.errors import InputError, check_one
from mlstm.model import scoring
from mlstm.model.edits import Edit, make_edits
from mlstm.model.scoring import Score
from mlstm.output import to_json
from mlstm.trained import Model

Progress = Callable[[int, int], None]
WINDOW, CELLS = 128, 8192  # steps of a window at the most, and of all that lie side by side


def open_text(
    source: str | os.PathLike, split: str | None = None, model: Model | None = None
) -> tuple[Split, str]:
    """A text to score, and its name for people.

    source: a prepared corpus, "python_stdlib" or a public one by name, of which `split` is taken
        ("test" unless given); or a file or folder of text, all of it. Raises InputError, also for a
        split of the latter.
    model: whose vocabulary and cleaning a text gets that is not prepared; bytes as they are
        without one.
    """
    given: dict[str, Any] = (
        {"vocabulary": model.vocabulary, "cleaning": model.cleaning} if model else {}
    )
    cleaned = f", cleaned as {model.cleaning}" if model and model.cleaning != "none" else ""
    prepared = _is_prepared(source)
    if has_splits(source):
        split = split or "test"
        corpus = shards.open_source(source) if prepared else shards.open_source(source, **given)
        return corpus.split(split), f"{source} ({split}){'' if prepared else cleaned}"
    if split is not None:
        raise InputError(f"{source} is not a prepared corpus: it is scored whole, not its {split}")
    corpus = shards.open_source(source, splits=(1, 0, 0), **given)
    return corpus.split("train"), f"{source}{cleaned}"


def has_splits(source: str | os.PathLike) -> bool:
    """Whether a source is in splits before it is asked for any: a prepared corpus, or one with a
    name."""
    return (
        _is_prepared(source) or str(source) == sources.PYTHON_STDLIB or named.is_name(str(source))
    )


def _is_prepared(source: str | os.PathLike) -> bool:
    return manifest.is_in(user_path(source))


def evaluate(
    model: Model,
    split: Split,
    *,
    reset_every: int = 0,
    edits: Iterable[Edit | str] = (),
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Score:
    """Score every token of a split but the first, exactly once; tokens are bytes where the
    vocabulary is. The spelling of unknown ones is in the score.

    The text is read as streams side by side, each warmed up on the 512 tokens before it, and the
    state is carried on. `reset_every` = N forgets it before each N tokens instead, as a model with
    a context of N does whose windows do not overlap. On a `mesh`, that of `devices.mesh`, the
    streams are the same, and the score but for rounding; every process of a job gets it.

    Raises InputError for a text of fewer than two tokens, edits that the model cannot have, a
    list of models, or a mesh that does not divide the hidden units.
    """
    check_one(model)
    if split.vocabulary != model.vocabulary:
        raise InputError(
            f"the text was prepared with the vocabulary {split.vocabulary}, the model's is "
            f"{model.vocabulary}: prepare it with launch.prepare --vocabulary_of=MODEL"
        )
    if split.length < 2:
        unit = "bytes" if split.vocabulary.bytewise else "tokens"
        raise InputError(f"the text has {split.length} {unit}; at least 2 are needed to score it")
    if reset_every < 0:
        raise InputError(f"reset_every is {reset_every}; it must be 1 or more, or 0 for never")
    if reset_every:
        windows = Blocks(split, reset_every)
    else:
        # More streams than this would spend a good part of the work on warming up.
        windows = Stream(split, min(64, max(1, split.length // 2048)), 128, context=512)
    score = scoring.bits_per_byte(
        model.config,
        model.parameters,
        windows,
        edits=make_edits(model.config, edits),
        mesh=mesh,
        progress=progress,
    )
    return in_bytes(score, split)


def in_bytes(score: Score, split: Split) -> Score:
    """The score of all tokens of a split but the first, which counted each as a byte."""
    return score if split.vocabulary.bytewise else score.spelled(*split.spelled(1))


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
        return to_json(
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
        lines = [
            *_heading(self.model, self.text, self.score, self.reset_every),
            _row("model", self.score),
        ]
        lines += [f"{name:8}{bits:14.4f}" for name, bits in self.compressed.items()]
        if self.score.bytes_per_second:
            lines.append(f"{'rate':8}{self.score.bytes_per_second:14,.0f} bytes/s")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class PopulationEvaluation:
    """The scores of a population's models on one text, by seed, and what compressors need."""

    model: str
    text: str
    scores: dict[int, Score]
    compressed: dict[str, float]
    """Bits per byte of each compressor, over the whole text."""
    reset_every: int

    @property
    def mean(self) -> float:
        """Of the models' bits per byte; nan where one of these is."""
        return float(np.mean([score.bits_per_byte for score in self.scores.values()]))

    @property
    def standard_deviation(self) -> float:
        """Of the models' bits per byte: the estimate from a sample, divided by N - 1."""
        return float(np.std([score.bits_per_byte for score in self.scores.values()], ddof=1))

    def to_json(self) -> str:
        return to_json(
            {
                "format_version": 1,
                "model": self.model,
                "text": self.text,
                "reset_every": self.reset_every,
                "bits_per_byte": self.mean,
                "standard_deviation": self.standard_deviation,
                "seeds": [
                    {"seed": seed, **json.loads(score.to_json())}
                    for seed, score in self.scores.items()
                ],
                "compressed_bits_per_byte": self.compressed,
            },
            indent=2,
        )

    def __str__(self) -> str:
        first = next(iter(self.scores.values()))
        lines = _heading(self.model, self.text, first, self.reset_every)
        lines += [_row(f"seed {seed}", score) for seed, score in self.scores.items()]
        figures = {"mean": self.mean, "std": self.standard_deviation, **self.compressed}
        return "\n".join(lines + [f"{name:8}{bits:14.4f}" for name, bits in figures.items()])


def _heading(model: str, text: str, score: Score, reset_every: int) -> list[str]:
    unit = "bytes" if score.tokens is None else "tokens"
    state = f"reset every {reset_every} {unit}" if reset_every else "carried"
    scored, columns = f"{score.bytes:,} bytes", f"{'bits per byte':>14}{'nats per byte':>15}"
    if score.tokens is not None:
        share = score.unknown / score.tokens
        scored += f" in {score.tokens:,} tokens ({share:.4%} unknown)"
        columns += f"{'nats per token':>16}{'perplexity':>14}"
    return [
        f"{'model':8}{model}",
        f"{'text':8}{text}, {scored} scored, state {state}",
        f"{'':8}{columns}",
    ]


def _row(name: str, score: Score) -> str:
    row = f"{name:8}{score.bits_per_byte:14.4f}{score.nats_per_byte:15.4f}"
    if score.tokens is not None:
        row += f"{score.nats_per_token:16.4f}{score.perplexity:14,.2f}"
    return row


@overload
def compare(
    model: Model,
    split: Split,
    *,
    text: str = "text",
    reset_every: int = 0,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Evaluation: ...


@overload
def compare(
    model: list[Model],
    split: Split,
    *,
    text: str = "text",
    reset_every: int = 0,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> PopulationEvaluation: ...


def compare(
    model: Model | list[Model],
    split: Split,
    *,
    text: str = "text",
    reset_every: int = 0,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Evaluation | PopulationEvaluation:
    """Score a split as `evaluate` does, and compress the same bytes with bz2 and xz.

    `model` is what `mlstm.load` returned: of a population each is scored. `text` names the split
    for people; `progress` is called with the bytes read so far and in all: each is read once for
    every model, and once more.

    Raises InputError as `evaluate` does, and for a list of fewer than two models or without a seed
    for each.
    """
    models = model if isinstance(model, list) else [model]
    seeds = _seeds(model) if isinstance(model, list) else []
    size, readings = split.bytes, len(models) + 1

    def reading(number: int) -> Progress:
        def read(done: int, total: int) -> None:
            if progress:
                progress(size * number + size * done // total, size * readings)

        return read

    scores = [
        evaluate(one, split, reset_every=reset_every, mesh=mesh, progress=reading(number))
        for number, one in enumerate(models)
    ]
    packed = compressed(split, reading(len(models)))
    if isinstance(model, Model):
        return Evaluation(model.origin, text, scores[0], packed, reset_every)
    return PopulationEvaluation(
        f"{models[0].origin} to {models[-1].seed}",
        text,
        dict(zip(seeds, scores, strict=True)),
        packed,
        reset_every,
    )


def _seeds(models: list[Model]) -> list[int]:
    """Of a population's models; they are its names for them."""
    seeds = [model.seed for model in models if model.seed is not None]
    if len(models) < 2 or len(set(seeds)) < len(models):
        raise InputError(
            "a comparison takes one model, or a list of two or more that differ in their seeds; "
            f"the seeds of this one are {[model.seed for model in models]}"
        )
    return seeds


class Blocks:
    """A split in blocks of `length` ids that know nothing of each other, B of them side by side.

    A block that is longer than a window goes on in the next one, with its state carried.
    """

    def __init__(self, split: Split, length: int):
        self.split, self.length = split, min(length, split.length - 1)
        blocks = -(-(split.length - 1) // self.length)
        self._pieces = -(-self.length // WINDOW)  # windows that a block takes
        self.window = -(-self.length // self._pieces)
        self.batch_size = min(blocks, CELLS // self.window)
        self.windows = -(-blocks // self.batch_size) * self._pieces

    def batch(self, epoch: int, window: int) -> Batch:
        """Window `window` (all epochs are alike); what no block fills has weight 0."""
        group, piece = divmod(window, self._pieces)
        shape = self.window, self.batch_size
        ids_TB, targets_TB = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        weights_TB, resets_TB = np.zeros(shape, np.float32), np.zeros(shape, bool)
        resets_TB[0] = piece == 0
        for b in range(self.batch_size):
            block = (group * self.batch_size + b) * self.length
            start = block + piece * self.window
            stop = min(start + self.window, block + self.length, self.split.length - 1)
            count = stop - start
            if count <= 0:
                continue
            found = self.split.read(start, stop + 1)
            ids_TB[:count, b], targets_TB[:count, b] = found[:-1], found[1:]
            weights_TB[:count, b] = 1
            low, high = np.searchsorted(self.split.reset_points, [start, stop])
            resets_TB[self.split.reset_points[low:high] - start, b] = True
        return Batch(ids_TB, targets_TB, weights_TB, resets_TB)


def compressed(split: Split, progress: Progress | None = None) -> dict[str, float]:
    """Bits per byte of bz2 (level 9) and xz (preset 9 extreme) over the whole split."""
    compressors = {
        "bz2": bz2.BZ2Compressor(9),
        "xz": lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME),
    }
    sizes, chunk = dict.fromkeys(compressors, 0), 1 << 18
    for start in range(0, split.length, chunk):
        stop = min(start + chunk, split.length)
        data = split.text(start, stop)
        for name, compressor in compressors.items():
            sizes[name] += len(compressor.compress(data))
        if progress:
            progress(stop, split.length)
    return {
        name: 8 * (sizes[name] + len(compressor.flush())) / split.bytes
        for name, compressor in compressors.items()
    }
