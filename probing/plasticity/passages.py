"""What a neuron is about, in words: those at its top contexts, and how alike two such lists are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from mlstm.corpus.files import user_path
from mlstm.errors import InputError

WORD = re.compile(rb"[0-9A-Za-z_\x80-\xff]")
BEFORE = 23  # bytes of a passage before the one at which the neuron is extreme
SHOWN = 5  # words
GRAMS = (1, 4)  # lengths of the character n-grams
SPACES = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def passage(data: bytes, position: int) -> str:
    """The bytes up to and with that at the position."""
    return data[max(0, position - BEFORE) : position + 1].decode("latin-1")


def word(data: bytes, position: int) -> str:
    """The word around a position, or, where that is no letter, digit or underline, its one byte."""
    if not WORD.match(data, position):
        one = data[position : position + 1].decode("latin-1")
        return SPACES.get(one, one)
    start, end = position, position + 1
    while start and WORD.match(data, start - 1):
        start -= 1
    while end < len(data) and WORD.match(data, end):
        end += 1
    return data[start:end].decode("utf-8", "replace")


def top_words(words: Sequence[str]) -> list[str]:
    """The first different ones, at most `SHOWN`."""
    return list(dict.fromkeys(words))[:SHOWN]


class Similarity:
    """Cosines of character n-gram TF-IDF between the passages of neurons, frequencies being those
    of one model's neurons."""

    def __init__(self, passages: Sequence[Sequence[str]]) -> None:
        """passages: of each neuron of the first model."""
        self._vectors = TfidfVectorizer(
            analyzer="char", ngram_range=GRAMS, lowercase=False, sublinear_tf=True
        )
        self.first = self._vectors.fit_transform(_joined(passages))

    def of(self, passages: Sequence[Sequence[str]]):
        """Unit vectors of other neurons, sparse; none where a neuron has no passage."""
        return self._vectors.transform(_joined(passages))

    @staticmethod
    def cosines(a, b) -> np.ndarray:
        """(neurons,) of the rows of two such matrices, one by one."""
        return np.asarray(a.multiply(b).sum(1)).ravel()


def _joined(passages: Sequence[Sequence[str]]) -> list[str]:
    return ["\x00".join(of) for of in passages]


class WordVectors:
    """Vectors of words from a text file: a word and its numbers on a line, as word2vec, GloVe and
    fastText write them; a first line of two numbers is their heading."""

    def __init__(self, path: str | os.PathLike) -> None:
        path = user_path(path)
        self._of: dict[str, np.ndarray] = {}
        width = None
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    name, *values = line.rstrip().split(" ")
                    if number == 1 and len(values) == 1:
                        continue
                    try:
                        vector = np.array(values, np.float32)
                    except ValueError:
                        raise InputError(f"{path}:{number}: not a word and its numbers") from None
                    if width not in (None, len(vector)) or not len(vector):
                        raise InputError(f"{path}:{number}: {len(vector)} numbers, not {width}")
                    width = len(vector)
                    self._of[name] = vector
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        if not self._of:
            raise InputError(f"{path}: no vector of a word in it")

    def cosine(self, a: Sequence[str], b: Sequence[str]) -> float:
        """Of the mean vectors of two lists of words; NaN where the file has none of a list's."""
        means = []
        for words in (a, b):
            names = [w if w in self._of else w.lower() for w in words]
            known = [self._of[name] for name in names if name in self._of]
            if not known:
                return float("nan")
            means.append(np.mean(known, 0))
        norms = np.linalg.norm(means[0]) * np.linalg.norm(means[1])
        return float(means[0] @ means[1] / norms) if norms else float("nan")
