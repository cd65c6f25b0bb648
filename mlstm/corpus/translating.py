"""A corpus of bytes as ids of another vocabulary: the same splits, documents and resets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlstm.corpus import manifest as manifests
from mlstm.corpus.cutting import BLOCK, blocks_of
from mlstm.corpus.fitting import Fit
from mlstm.corpus.folders import writing
from mlstm.corpus.reading import Corpus, Split
from mlstm.corpus.vocabulary import Vocabulary
from mlstm.corpus.writing import SplitWriter
from mlstm.errors import InputError

Progress = Callable[[int, int], None]
_CHUNK = 1 << 20
_TOGETHER = 1 << 18
"""Bytes of small documents that are read at once."""


class _Documents(NamedTuple):
    """Documents next to each other: of small ones the texts, of a large one, alone, its place."""

    texts: list[bytes]
    start: int
    stop: int


def _documents(split: Split, shard: int) -> Iterator[_Documents]:
    """Those that begin in a shard of a corpus of bytes."""
    starts, end = split.starts_of(shard)
    stops = np.append(starts[1:], end)
    large = np.flatnonzero(stops - starts > BLOCK)
    first = 0
    while first < len(starts):
        start = int(starts[first])
        at = int(np.searchsorted(large, first))
        last = int(large[at]) if at < len(large) else len(starts)
        if last == first:
            yield _Documents([], start, int(stops[first]))
            first += 1
            continue
        last = min(last, int(np.searchsorted(stops, start + _TOGETHER, side="right")))
        places = [0, *(stops[first:last] - start).tolist()]
        text = split.text(start, start + places[-1])
        yield _Documents(
            [text[low:high] for low, high in itertools.pairwise(places)], start, start + places[-1]
        )
        first = last


def _chunks(split: Split, start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, _CHUNK):
        yield split.text(at, min(at + _CHUNK, stop))


def blocks(split: Split, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """The text of a split, document by document, as `cutting` cuts each. `progress` is called with
    the bytes so far."""
    for shard in range(split.shards):
        for found in _documents(split, shard):
            yield from found.texts or blocks_of(_chunks(split, found.start, found.stop))
            if progress:
                progress(found.stop)


def fitted(
    vocabulary: Vocabulary | Fit, corpus: Corpus, progress: Callable[[int], None] | None = None
) -> Vocabulary:
    """A vocabulary that is to be made, made from the train split of a corpus of bytes."""
    if not isinstance(vocabulary, Fit):
        return vocabulary
    if "train" not in corpus.splits:
        raise InputError("a vocabulary is made from the train split, and there is no text in it")
    return vocabulary.fit(blocks(corpus.split("train"), progress))


def translate(
    corpus: Corpus,
    folder: Path,
    vocabulary: Vocabulary | Fit,
    *,
    output: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes all of a corpus but its ids anew to `folder`, which is there and empty; the manifest.

    A shard begins where one of `corpus` does, at the start of a document. `output` is the folder
    that errors name. `progress` is called with the bytes read so far and in all: train's are read
    twice where a vocabulary is made of them. Raises InputError, of which CannotWrite names
    `output`.
    """
    output = output or folder
    sizes = {name: part["ids"] for name, part in corpus.manifest["splits"].items()}
    done, empty = sizes["train"] if isinstance(vocabulary, Fit) else 0, 0
    total = done + sum(sizes.values())

    def report(place: int) -> None:
        if progress:
            progress(place, total)

    wanted, vocabulary = vocabulary, fitted(vocabulary, corpus, report)
    written: dict[str, list[dict[str, Any]]] = {split: [] for split in corpus.manifest["splits"]}
    for name in corpus.splits:
        split = corpus.split(name)
        largest = max(shard["ids"] for shard in corpus.manifest["splits"][name]["shards"])
        writer = SplitWriter(folder, name, largest * vocabulary.dtype().itemsize, vocabulary)
        try:
            for shard in range(split.shards):
                names, first = split.names_of(shard), shard > 0
                for found in _documents(split, shard):
                    titles = list(itertools.islice(names, len(found.texts) or 1))
                    if len(titles) < (len(found.texts) or 1):
                        raise InputError(
                            f"{corpus.folder}: names of {name} are missing; prepare it again"
                        )
                    with writing(output):
                        if found.texts:
                            empty += writer.write_each(titles, found.texts, new_shard=first)
                            report(done + found.stop)
                        else:
                            writer.begin(titles[0], new_shard=first)
                            place = found.start
                            for chunk in _chunks(split, found.start, found.stop):
                                writer.write(chunk)
                                place += len(chunk)
                                report(done + place)
                            if not writer.end():
                                writer.take_back()
                                empty += 1
                    first = False
            done += split.length
            with writing(output):
                written[name] = writer.close()
        finally:
            writer.abandon()
    made = manifests.make(
        written,
        vocabulary=vocabulary,
        cleaning=corpus.cleaning,
        reset=corpus.reset,
        source=corpus.manifest["source"],
        fractions=corpus.manifest["fractions"],
        skipped=_with_empty(corpus.manifest["skipped"], empty),
        fitted=wanted.to_json() if isinstance(wanted, Fit) else None,
    )
    with writing(output):
        manifests.write(made, folder)
    return made


def _with_empty(skipped: dict[str, Any], more: int) -> dict[str, Any]:
    return skipped | {"empty": skipped.get("empty", 0) + more} if more else skipped
