"""A corpus of bytes as ids of another vocabulary: the same splits, documents and resets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlstm.corpus import manifest as manifests
from mlstm.corpus.cutting import blocks_of
from mlstm.corpus.fitting import Fit
from mlstm.corpus.folders import writing
from mlstm.corpus.reading import Corpus, Split
from mlstm.corpus.vocabulary import Vocabulary
from mlstm.corpus.writing import SplitWriter
from mlstm.errors import InputError


def blocks(split: Split) -> Iterator[bytes]:
    """The text of a split, document by document, as `cutting` cuts each."""
    for number in range(split.documents):
        yield from blocks_of(split.document_chunks(number))


def fitted(vocabulary: Vocabulary | Fit, corpus: Corpus) -> Vocabulary:
    """A vocabulary that is to be made, made from the train split of a corpus of bytes."""
    if not isinstance(vocabulary, Fit):
        return vocabulary
    if "train" not in corpus.splits:
        raise InputError("a vocabulary is made from the train split, and there is no text in it")
    return vocabulary.fit(blocks(corpus.split("train")))


def translate(
    corpus: Corpus,
    folder: Path,
    vocabulary: Vocabulary | Fit,
    *,
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Writes all of a corpus but its ids anew to `folder`, which is there and empty; the manifest.

    A shard begins where one of `corpus` does, at the start of a document. `output` is the folder
    that errors name. Raises InputError, of which CannotWrite names `output`.
    """
    output = output or folder
    wanted, vocabulary = vocabulary, fitted(vocabulary, corpus)
    written: dict[str, list[dict[str, Any]]] = {split: [] for split in corpus.manifest["splits"]}
    total = sum(part["ids"] for part in corpus.manifest["splits"].values())
    done, empty = 0, 0
    for name in corpus.splits:
        split = corpus.split(name)
        largest = max(shard["ids"] for shard in corpus.manifest["splits"][name]["shards"])
        writer = SplitWriter(folder, name, largest * vocabulary.dtype().itemsize, vocabulary)
        shards = split.shard_of(split.starts).tolist()
        try:
            for number, title in enumerate(split.names):
                with writing(output):
                    new_shard = number > 0 and shards[number] > shards[number - 1]
                    writer.begin(title, new_shard=new_shard)
                    for chunk in split.document_chunks(number):
                        writer.write(chunk)
                        done += len(chunk)
                        if progress:
                            progress(done, total)
                    if not writer.end():
                        writer.take_back()
                        empty += 1
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
