"""The unknown tokens of a shard, kept as they were spelled: the text is whole, and is charged so.

A file beside the ids holds a line of JSON for each, in their order: its bytes, as the characters of
the same numbers.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError

_STRIDE = 1 << 20


class Spelled(NamedTuple):
    """What stands behind a number of tokens."""

    tokens: int
    bytes: int
    unknown: int
    nats: float
    """What the spelling of the unknown ones costs."""

    def __add__(self, other: Any) -> Spelled:  # pyright: ignore[reportIncompatibleMethodOverride]
        sums: Any = (a + b for a, b in zip(self, other, strict=True))
        return Spelled(*sums)

    def __sub__(self, other: Spelled) -> Spelled:
        left: Any = (a - b for a, b in zip(self, other, strict=True))
        return Spelled(*left)


NOTHING = Spelled(0, 0, 0, 0.0)


class UnknownWriter:
    """Writes the file of one shard, and counts what the shard spells."""

    def __init__(self, path: Path, vocabulary: Vocabulary):
        self.path, self.vocabulary = path, vocabulary
        self.spelled, self.changed = NOTHING, 0
        self._stream, self._hash = path.open("wb"), hashlib.sha256()

    def write(self, ids: np.ndarray, unknown: list[bytes], changed: int = 0) -> list[bytes]:
        """`ids` of the shard, and the unknown ones among them and behind: these are returned. So
        many bytes of their text were others."""
        vocabulary: Any = self.vocabulary
        count = 0
        if vocabulary.unknown is not None:
            count = int(np.count_nonzero(ids == vocabulary.unknown))
        here = unknown[:count]
        lines = "".join(json.dumps(token.decode("latin-1")) + "\n" for token in here).encode()
        self._stream.write(lines)
        self._hash.update(lines)
        size = int(vocabulary.lengths[ids].sum()) + sum(map(len, here))
        nats = sum(map(vocabulary.spelling_code.nats, here))
        self.changed += changed
        self.spelled += Spelled(len(ids), size, count, nats)
        return unknown[count:]

    def write_each(self, ids: np.ndarray, unknown: list[list[bytes]], changed: list[int]) -> None:
        """`ids` of whole documents, and of each of these what `write` takes."""
        vocabulary: Any = self.vocabulary
        spelled = [token for each in unknown for token in each]
        before = self.spelled.nats
        self.write(ids, spelled, sum(changed))
        nats = before  # added as they would be one by one: sums of floats depend on the order
        for each in filter(None, unknown):
            nats += sum(map(vocabulary.spelling_code.nats, each))
        self.spelled = self.spelled._replace(nats=nats)

    def mark(self) -> Any:
        """A place to go back to."""
        return self._stream.tell(), self._hash.copy(), self.spelled, self.changed

    def take_back(self, mark: Any) -> None:
        place, self._hash, self.spelled, self.changed = mark
        self._stream.seek(place)
        self._stream.truncate()

    def close(self) -> dict[str, Any]:
        """The file as a manifest describes it."""
        size = self._stream.tell()
        self._stream.close()
        return {"size": size, "sha256": self._hash.hexdigest()}

    def abandon(self) -> None:
        self._stream.close()


class UnknownTokens:
    """Those of a shard, read when they are needed."""

    def __init__(self, path: Path, ids: np.ndarray, vocabulary: Any, count: int):
        self._path, self._ids, self._vocabulary, self._count = path, ids, vocabulary, count

    @functools.cached_property
    def places(self) -> np.ndarray:
        """Where they stand among the ids of the shard, ascending."""
        if not self._count:
            return np.empty(0, np.int64)
        starts = range(0, len(self._ids), _STRIDE)
        unknown = self._vocabulary.unknown
        found = [np.flatnonzero(self._ids[s : s + _STRIDE] == unknown) + s for s in starts]
        return np.concatenate(found)

    @functools.cached_property
    def texts(self) -> list[bytes]:
        """Their bytes. Raises InputError where the file is damaged."""
        try:
            lines = self._path.read_bytes().splitlines()
            texts = [json.loads(line).encode("latin-1") for line in lines]
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{self._path}: damaged ({error!r:.200}); prepare the corpus again"
            ) from error
        if len(texts) != len(self.places) or not all(texts):
            raise InputError(
                f"{self._path}: damaged: {len(texts)} spellings for {len(self.places)} unknown "
                "tokens, or an empty one; prepare the corpus again"
            )
        return texts

    def between(self, start: int, stop: int) -> list[tuple[int, bytes]]:
        """(place - start, bytes) of each in [start, stop)."""
        low, high = np.searchsorted(self.places, [start, stop]).tolist()
        if low == high:
            return []
        places = (self.places[low:high] - start).tolist()
        return list(zip(places, self.texts[low:high], strict=True))

    def spelled(self, start: int, stop: int) -> Spelled:
        """Of the ids in [start, stop)."""
        vocabulary, size = self._vocabulary, 0
        for at in range(start, stop, _STRIDE):
            size += int(vocabulary.lengths[self._ids[at : min(at + _STRIDE, stop)]].sum())
        texts = [text for _, text in self.between(start, stop)]
        nats = sum(map(vocabulary.spelling_code.nats, texts))
        return Spelled(stop - start, size + sum(map(len, texts)), len(texts), nats)

    def text(self, start: int, stop: int) -> bytes:
        """Of the ids in [start, stop), exactly."""
        pieces, at = [], start
        for place, spelled in self.between(start, stop):
            pieces += [self._vocabulary.decode(self._ids[at : start + place]), spelled]
            at = start + place + 1
        return b"".join([*pieces, self._vocabulary.decode(self._ids[at:stop])])
