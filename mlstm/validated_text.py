"""Which text a run is validated on, and whether two splits are of one text, whatever vocabularies
they are in."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from mlstm.corpus.reading import Corpus, Split
from mlstm.errors import InputError
from mlstm.runs import corpus_of

_CHUNK = 1 << 20


def text_digest(split: Split) -> str:
    """sha256 of the bytes of a split, as they were after cleaning."""
    found = hashlib.sha256()
    for start in range(0, split.length, _CHUNK):
        found.update(split.text(start, min(start + _CHUNK, split.length)))
    return found.hexdigest()


def same_text(one: Split, other: Split) -> bool:
    """Whether two splits hold the same bytes."""
    return one.bytes == other.bytes and text_digest(one) == text_digest(other)


def of_run(folder: Path) -> str | None:
    """Of the text that a run is validated on; None where its corpus is not there to say, and ""
    where it has no such text."""
    try:
        corpus = Corpus.open(corpus_of(folder))
        return _validation(corpus.folder, corpus.digest)
    except InputError:
        return None


@functools.lru_cache(maxsize=64)
def _validation(folder: Path, digest: str) -> str:
    corpus = Corpus.open(folder)
    return text_digest(corpus.split("validation")) if "validation" in corpus.splits else ""
