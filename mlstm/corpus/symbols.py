"""What vocabularies of characters and of words share: pieces of text with ids, and the unknown.

A piece is text of which each byte that is no UTF-8 is a character of its own (Python's
"surrogateescape"), so that any bytes are text.
"""

# n tokens

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from mlstm.corpus.spelling import Spelling
from mlstm.corpus.tokens import Tokens
from mlstm.errors import InputError

UNSEEN = {"unknown": 1, "bytes": 256, "refuse": 0}
"""What becomes of a piece that the vocabulary has not: one symbol for all, with a spelling; a
symbol for each of its 256 bytes; an error."""


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


class Cut(NamedTuple):
    """A block of text as a corpus keeps it."""

    ids: np.ndarray  # (n,)
    unknown: list[bytes]  # the bytes of each unknown one, in order
    changed: int  # bytes, at the least, that are not what they were


class Cuts(NamedTuple):
    """Several texts, each cut by itself."""

    ids: np.ndarray  # (n,) of all of them
    counts: list[int]  # how many of the ids each has
    unknown: list[list[bytes]]  # of each, the bytes of its unknown ones
    changed: list[int]


class Pieces:
    """Ids that stand for pieces of text of any size: what they share wherever they come from.

    Each kind has `kind`, `size`, `texts` (of each id), `unknown` (the id of all that has none, or
    None), `spelling_code`, and makes `tokens`.
    """

    kind: ClassVar[str]
    encodes: ClassVar[bool] = True
    told: ClassVar[bool] = True
    bytewise: ClassVar[bool] = False

    if TYPE_CHECKING:

        @property
        def size(self) -> int: ...
        @property
        def texts(self) -> tuple[bytes, ...]: ...
        @property
        def unknown(self) -> int | None: ...
        @property
        def spelling_code(self) -> Spelling: ...

    @property
    def dtype(self) -> type:
        """The least type of numpy that has all ids."""
        return next(
            kind for kind in (np.uint8, np.uint16, np.uint32) if self.size - 1 <= np.iinfo(kind).max
        )

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """(size,) int64, bytes of the text of each id; 0 for the unknown, which has its own."""
        lengths = np.array([len(text) for text in self.texts], np.int64)
        if self.unknown is not None:
            lengths[self.unknown] = 0
        return lengths

    def tokens(self, data: bytes) -> Tokens:
        """The tokens of a text. Raises InputError for what is unseen and refused."""
        raise NotImplementedError

    def encode(self, data: bytes) -> np.ndarray:
        """(n,) ids. Raises InputError for what is unseen and refused."""
        return self.tokens(data).ids

    def cut(self, data: bytes) -> Cut:
        """A block of text as a corpus keeps it."""
        tokens = self.tokens(data)
        unknown = [token for _, token in unknown_tokens(self.unknown, data, tokens)]
        return Cut(tokens.ids, unknown, 0)

    def cut_each(self, texts: Sequence[bytes]) -> Cuts:
        """What `cut` makes of each of several texts, none longer than a block."""
        cuts = [self.cut(text) for text in texts]
        return Cuts(
            np.concatenate([np.empty(0, self.dtype), *(each.ids for each in cuts)]),
            [len(each.ids) for each in cuts],
            [each.unknown for each in cuts],
            [each.changed for each in cuts],
        )

    def decode(self, ids: Any) -> bytes:
        """The text of `ids`, the replacement for an unknown. Raises InputError for no id."""
        array = np.asarray(ids).reshape(-1)
        if array.size and (array.min() < 0 or array.max() >= self.size):
            raise InputError(
                f"ids between {array.min()} and {array.max()} are not all symbols of the "
                f"vocabulary {self} (0 to {self.size - 1})"
            )
        return b"".join(map(self.texts.__getitem__, array.tolist()))

    def spelling(self, data: bytes, tokens: Tokens) -> np.ndarray:
        """(n,) nats that each unknown token's bytes cost; 0 for all others."""
        nats = np.zeros(len(tokens.ids))
        for place, token in unknown_tokens(self.unknown, data, tokens):
            nats[place] = self.spelling_code.nats(token)
        return nats


@dataclass(frozen=True)
class Symbols(Pieces):
    """Ids in this order: "unknown" or 256 bytes, where `unseen` is that; then `pieces`.

    With "bytes" a piece of one byte is the symbol of that byte, and stands there alone.
    """

    pieces: tuple[str, ...]
    unseen: str = "unknown"
    spelling_code: Spelling = field(default_factory=Spelling, repr=False)

    replacement: ClassVar[str]
    """The text of an unknown id."""

    def __post_init__(self):
        if self.unseen not in UNSEEN:
            raise InputError(f"unseen is {self.unseen!r}; it may be {', '.join(UNSEEN)}")
        if not all(isinstance(piece, str) and piece for piece in self.pieces):
            raise InputError(f"a vocabulary of {self.kind} holds pieces of text, none empty")
        if len(set(self.pieces)) < len(self.pieces):
            raise InputError(f"a vocabulary of {self.kind} holds a piece twice")
        if not self.size:
            raise InputError(f"a vocabulary of {self.kind} is empty")
        try:
            small = any(len(bytes_of(piece)) < 2 for piece in self.pieces)
        except UnicodeEncodeError as error:
            raise InputError(
                f"a vocabulary of {self.kind} holds {error.object[:40]!r}, which is no text"
            ) from None
        if small and self.unseen == "bytes":
            raise InputError(
                f'a vocabulary of {self.kind} with unseen "bytes" has all pieces of one byte by '
                "itself, and holds one twice"
            )

    @property
    def size(self) -> int:
        return self._first + len(self.pieces)

    @property
    def _first(self) -> int:
        """The id of the first piece."""
        return UNSEEN[self.unseen]

    @property
    def unknown(self) -> int | None:
        """The id of all that is not in the vocabulary; None where each piece has an own one."""
        return 0 if self.unseen == "unknown" else None

    @functools.cached_property
    def texts(self) -> tuple[bytes, ...]:
        """(size,) the text of each id."""
        before = {
            "unknown": (bytes_of(self.replacement),),
            "bytes": tuple(bytes([byte]) for byte in range(256)),
            "refuse": (),
        }[self.unseen]
        return (*before, *map(bytes_of, self.pieces))

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece."""
        found = {piece: self._first + k for k, piece in enumerate(self.pieces)}
        if self.unseen == "bytes":
            found |= {text_of(bytes([byte])): byte for byte in range(256)}
        return found

    @property
    def beginning(self) -> np.ndarray:
        """(1,) the id that is read where there is no text to begin with: a line end, else the
        first piece."""
        return np.array([self.ids.get("\n", min(self._first, self.size - 1))], self.dtype)

    def tokens_of(self, texts: Sequence[str], data: bytes) -> Tokens:
        """The tokens of several texts, each cut by itself, whose bytes are `data` together."""
        raise NotImplementedError

    def cut_each(self, texts: Sequence[bytes]) -> Cuts:
        data = b"".join(texts)
        tokens = self.tokens_of([text_of(text) for text in texts], data)
        stops = np.cumsum([len(text) for text in texts])
        counts = np.diff(np.searchsorted(tokens.ends, stops, side="right"), prepend=0).tolist()
        unknown: list[list[bytes]] = [[] for _ in texts]
        if self.unknown is not None:
            found = unknown_tokens(self.unknown, data, tokens)
            owners = np.repeat(np.arange(len(texts)), counts)[[place for place, _ in found]]
            for owner, (_, token) in zip(owners.tolist(), found, strict=True):
                unknown[owner].append(token)
        return Cuts(tokens.ids, counts, unknown, [0] * len(texts))

    def _refuse(self, start: int, piece: bytes) -> InputError:
        shown = text_of(piece[:60])
        return InputError(f"{shown!r} at byte {start} is not in the vocabulary of {self.kind}")

    def to_json(self) -> dict[str, Any]:
        """The pieces have each byte that is no UTF-8 as half of a surrogate pair; JSON's escapes
        keep it."""
        return {
            "kind": self.kind,
            "unseen": self.unseen,
            "spelling": list(self.spelling_code.counts),
        }

    def __str__(self) -> str:
        return f"{self.kind} ({self.size:,} symbols, what is unseen: {self.unseen})"


def unknown_tokens(unknown: int | None, data: bytes, tokens: Tokens) -> list[tuple[int, bytes]]:
    """Of each unknown token its place among the tokens, and its bytes."""
    if unknown is None:
        return []
    places = np.flatnonzero(tokens.ids == unknown)
    stops = tokens.ends[places]
    starts = np.where(places > 0, tokens.ends[places - 1], 0)
    return [
        (place, data[start:stop])
        for place, start, stop in zip(places.tolist(), starts.tolist(), stops.tolist(), strict=True)
    ]


def spelled_in_bytes(data: bytes, tokens: Tokens, unseen: int) -> Tokens:
    """The tokens with each of those that have the id `unseen` cut to its bytes, whose ids they are.

    `tokens.ids` are int64."""
    sizes = np.diff(tokens.ends, prepend=0)
    cut = tokens.ids == unseen
    if not cut.any():
        return tokens
    parts = np.where(cut, sizes, 1)
    ids = np.repeat(tokens.ids, parts)
    starts = np.repeat(tokens.ends - sizes, parts)
    nth = np.arange(len(ids)) - np.repeat(np.cumsum(parts) - parts, parts)
    of_cut = np.repeat(cut, parts)
    codes = np.frombuffer(data, np.uint8)
    ids[of_cut] = codes[(starts + nth)[of_cut]]
    ends = np.where(of_cut, starts + nth + 1, np.repeat(tokens.ends, parts))
    return Tokens(ids, ends)


def ends_in_bytes(text: str, data: bytes, ends: np.ndarray) -> np.ndarray:
    """Places among the characters of a text, as places among its bytes."""
    if len(text) == len(data):
        return ends
    return np.concatenate([[0], np.cumsum(sizes_of(codes_of(text)))])[ends]


def codes_of(text: str) -> np.ndarray:
    """(characters,) uint32 code points; of a byte that is no UTF-8 its half of a pair."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def sizes_of(codes: np.ndarray) -> np.ndarray:
    """(characters,) int64 bytes of each in UTF-8."""
    sizes = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    sizes[(codes >= 0xDC80) & (codes <= 0xDCFF)] = 1
    return sizes


def described(description: dict[str, Any]) -> tuple[str, Spelling]:
    """`unseen` and the spelling of what `to_json` made. Raises InputError, KeyError, TypeError."""
    return description["unseen"], Spelling.from_json(description["spelling"])


def sorted_by_count(counts: dict[str, int], minimum: int) -> Sequence[str]:
    """The pieces seen often enough: the more frequent first, equal ones by their bytes."""
    kept = [piece for piece, count in counts.items() if count >= minimum]
    return sorted(kept, key=lambda piece: (-counts[piece], bytes_of(piece)))
