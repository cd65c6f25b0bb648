"""Labels as they would be if the text did not matter: what p values are taken from.

What may be exchanged depends on what a label is given to. Documents: labels are permuted within
strata of length. Bytes: labels come in runs, so those of a document are shifted in a circle.
Words: labels depend on the word, so word types of like frequency take each other's labels; labels
that are a function of the type stay one.
"""

# n labelled positions of a document, R draws, C concepts (classes, then numbers)

from __future__ import annotations

import zlib
from typing import Protocol

import numpy as np

from probing.tasks.labelled import LabelledData, Labels

STRATUM = 20  # documents of like length
TYPES = 8  # word types of like frequency, at least
WHOLE = slice(None)


class NullLabels(Protocol):
    """Permuted labels, one document at a time; the same whatever is asked first."""

    def of(self, document: int, rows: slice = WHOLE) -> np.ndarray:
        """(R, n, C) float32, of those rows of the document's labels."""
        ...


def null_labels(data: LabelledData, documents: np.ndarray, draws: int, seed: int) -> NullLabels:
    """Draws of the labels of some documents, exchanged among these alone."""
    kind = {"document": _Exchanged, "byte": _Shifted, "token": _Retyped}[data.unit]
    return kind(data, np.asarray(documents), draws, seed)


def _all(labels: Labels) -> np.ndarray:
    return np.concatenate([labels.classes, labels.numbers], 1, dtype=np.float32)


def _generator(data: LabelledData, document: int, seed: int) -> np.random.Generator:
    """Seeded by the document: the draws do not depend on which process reads it."""
    name = data.documents[document].name.encode("utf-8", "surrogatepass")
    return np.random.default_rng([seed, int(data.hashes[document]), zlib.crc32(name)])


class _Exchanged:
    """Documents of like length have each other's labels."""

    def __init__(self, data: LabelledData, documents: np.ndarray, draws: int, seed: int):
        self.rows = [_all(data.labels(int(i))) for i in documents]
        lengths = np.array([len(data.documents[i].data) for i in documents])
        keys = np.array([_generator(data, int(i), seed).random(draws) for i in documents])
        self.place = {int(i): nth for nth, i in enumerate(documents)}
        self.other = np.empty((len(documents), draws), int)
        labelled = np.flatnonzero([len(rows) for rows in self.rows])
        by_length = labelled[np.lexsort((data.hashes[documents[labelled]], lengths[labelled]))]
        for stratum in np.array_split(by_length, max(1, len(by_length) // STRATUM)):
            self.other[stratum] = stratum[np.argsort(keys[stratum], axis=0)]

    def of(self, document: int, rows: slice = WHOLE) -> np.ndarray:
        nth = self.place[document]
        own = self.rows[nth][rows]
        if not len(own):
            return np.zeros((self.other.shape[1], *own.shape), np.float32)
        drawn = np.stack([self.rows[i][-1] for i in self.other[nth]])
        return np.repeat(drawn[:, None], len(own), axis=1)


class _Shifted:
    """Labels of a document, each draw begun at a random place of it. That may be where it begins:
    shifts are a group, and a test by a part of one is exact only if the whole is drawn from."""

    def __init__(self, data: LabelledData, documents: np.ndarray, draws: int, seed: int):
        self.data, self.draws, self.seed = data, draws, seed
        self.open: dict[int, np.ndarray] = {}  # labels twice over, of documents read in part

    def of(self, document: int, rows: slice = WHOLE) -> np.ndarray:
        twice = self.open.get(document)
        if twice is None:
            own = _all(self.data.labels(document))
            twice = self.open[document] = np.concatenate([own, own])
        size = len(twice) // 2
        if not size:
            return np.zeros((self.draws, 0, twice.shape[1]), np.float32)
        start, stop, _ = rows.indices(size)
        if stop == size:
            del self.open[document]
        shifts = _generator(self.data, document, self.seed).integers(0, size, self.draws)
        return np.stack([twice[shift + start : shift + stop] for shift in shifts])


class _Retyped:
    """Every occurrence of a word type has the label of a random occurrence of another type.

    Kept are a number of 4 bytes for each occurrence and each draw of a type, and the labels that
    differ from each other.
    """

    def __init__(self, data: LabelledData, documents: np.ndarray, draws: int, seed: int):
        self.data, self.draws, self.seed = data, draws, seed
        numbers: dict[bytes, int] = {}
        codes: dict[bytes, int] = {}
        self.types_of: dict[int, np.ndarray] = {}
        codes_of = []
        for i in documents.tolist():
            labels, text = data.labels(i), data.documents[i].data
            spans = zip(labels.starts.tolist(), labels.ends.tolist(), strict=True)
            found = [numbers.setdefault(text[start:end], len(numbers)) for start, end in spans]
            self.types_of[i] = np.array(found, np.int32)
            own = [codes.setdefault(row.tobytes(), len(codes)) for row in _all(labels)]
            codes_of.append(np.array(own, np.int32))
        types = np.concatenate([self.types_of[i] for i in documents.tolist()])
        self.counts = np.bincount(types, minlength=len(numbers))
        self.rows = np.frombuffer(b"".join(codes), np.float32).reshape(-1, len(data.concepts))
        self.codes = np.concatenate(codes_of)[np.argsort(types, kind="stable")]
        self.first = np.cumsum(self.counts) - self.counts
        self.other = np.empty((draws, len(numbers)), np.int32)
        names = np.array([zlib.crc32(name) for name in numbers])
        for nth, stratum in enumerate(_strata(self.counts, names)):
            draw = np.random.default_rng([seed, nth])
            for r in range(draws):
                self.other[r, stratum] = draw.permutation(stratum)

    def of(self, document: int, rows: slice = WHOLE) -> np.ndarray:
        every = len(self.types_of[document])
        types = self.types_of[document][rows]
        chance = _generator(self.data, document, self.seed).random((self.draws, every))[:, rows]
        other = self.other[:, types]
        place = self.first[other] + (chance * self.counts[other]).astype(int)
        return self.rows[self.codes[place]]


def _strata(counts: np.ndarray, names: np.ndarray) -> list[np.ndarray]:
    """Types by octaves of their counts, the most frequent first; few are joined with the next."""
    order = np.lexsort((names, -counts))
    octave = np.log2(counts[order]).astype(int)
    cuts = [0]
    for place in np.flatnonzero(np.diff(octave)) + 1:
        if place - cuts[-1] >= TYPES:
            cuts.append(int(place))
    if len(cuts) > 1 and len(order) - cuts[-1] < TYPES:
        cuts.pop()
    return np.split(order, cuts[1:])
