"""A text for programs that measure what does not depend on what is written."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlstm.corpus.reading import Corpus
from mlstm.corpus.shards import open_source


@contextlib.contextmanager
def random_corpus(batch: int, window: int) -> Iterator[Corpus]:
    """Random bytes, two windows of them for each of `batch` streams; gone behind the with
    statement."""
    ids = np.random.default_rng(0).integers(0, 256, 2 * batch * (window + 1), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text").write_bytes(ids.tobytes())
        yield open_source(Path(folder) / "text", Path(folder) / "corpus", splits=(1, 0, 0))
