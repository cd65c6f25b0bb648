"""Text to ids and back. A vocabulary is saved with every corpus and with every model."""

import dataclasses
import functools
import string
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlstm.corpus.characters import Characters
from mlstm.corpus.sentencepieces import SentencePieces
from mlstm.corpus.tokens import Tokens, of_bytes
from mlstm.corpus.words import Words
from mlstm.errors import InputError

_AMINO_ACIDS = "MRHKDESTNQCUGPAVIFYWLOX"


@dataclass(frozen=True)
class Bytes:
    """The 256 byte values are the ids: any file is text, and nothing is ever unknown."""

    kind: ClassVar[str] = "bytes"
    size: ClassVar[int] = 256
    dtype: ClassVar[type] = np.uint8
    encodes: ClassVar[bool] = True
    told: ClassVar[bool] = True
    bytewise: ClassVar[bool] = True
    unknown: ClassVar[None] = None

    def encode(self, data: bytes) -> np.ndarray:
        """The ids of `data`: uint8 (len(data),), read-only, sharing its memory."""
        return np.frombuffer(data, np.uint8)

    def tokens(self, data: bytes) -> Tokens:
        return of_bytes(self.encode(data))

    def spelling(self, data: bytes, tokens: Tokens) -> np.ndarray:
        """(n,) zeros: nothing is unknown."""
        return np.zeros(len(tokens.ids))

    def decode(self, ids: Any) -> bytes:
        """The bytes of `ids`, integers in [0, 256) of any integer type. Raises InputError."""
        array = np.asarray(ids)
        if array.size and (array.min() < 0 or array.max() >= self.size):
            raise InputError(
                f"ids between {array.min()} and {array.max()} are not all bytes (0 to 255)"
            )
        return array.astype(np.uint8).tobytes()

    @property
    def beginning(self) -> np.ndarray:
        """(1,) the id that is read where there is no text to begin with: a line end."""
        return self.encode(b"\n")

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def __str__(self) -> str:
        return "bytes"


@dataclass(frozen=True)
class Table:
    """Any symbols: an id is a place in `symbols`. Those of a text are one for each of its bytes.

    A symbol is bytes, or None where it has no text: padding, or what a file does not tell.
    """

    symbols: tuple[bytes | None, ...]
    unknown: int | None = None
    """The id of a byte that is no symbol; None refuses it."""
    aliases: tuple[tuple[bytes, int], ...] = ()
    """Other bytes that are read as a symbol, and never written."""
    name: str = dataclasses.field(default="table", compare=False)

    kind: ClassVar[str] = "table"
    bytewise: ClassVar[bool] = True
    """Whether each token of a text is one byte of it."""

    def __post_init__(self):
        def is_id(number) -> bool:
            return type(number) is int and 0 <= number < len(self.symbols)

        fit = self.symbols and all(
            symbol is None or (isinstance(symbol, bytes) and symbol) for symbol in self.symbols
        )
        if not fit:
            raise InputError(
                f"vocabulary {self.name!r}: one symbol or more is needed, each bytes or None"
            )
        if not (self.unknown is None or is_id(self.unknown)) or not all(
            isinstance(text, bytes) and len(text) == 1 and is_id(number)
            for text, number in self.aliases
        ):
            raise InputError(
                f"vocabulary {self.name!r}: unknown and aliases have to be ids from 0 to "
                f"{len(self.symbols) - 1}, an alias of one byte"
            )

    @property
    def size(self) -> int:
        return len(self.symbols)

    @property
    def dtype(self) -> type:
        """The least type of numpy that has all ids."""
        return next(
            kind for kind in (np.uint8, np.uint16, np.uint32) if self.size - 1 <= np.iinfo(kind).max
        )

    @functools.cached_property
    def encodes(self) -> bool:
        """Whether a text has ids: some symbols are one byte, none is more."""
        sizes = {len(symbol) for symbol in self.symbols if symbol is not None}
        return sizes == {1}

    @functools.cached_property
    def told(self) -> bool:
        """Whether any id has text."""
        return any(symbol is not None for symbol in self.symbols)

    def encode(self, data: bytes) -> np.ndarray:
        """The ids of `data`, one for each byte: (len(data),) of `dtype`.

        Raises InputError for a byte that is no symbol, and where symbols are no bytes.
        """
        if not self.encodes:
            raise InputError(f"its symbols are {self._lack}, so that a text has no ids: give ids")
        ids = self._ids[np.frombuffer(data, np.uint8)]
        if self.unknown is None and len(ids):
            place = int(np.argmax(ids == self.size))
            if ids[place] == self.size:
                raise InputError(
                    f"{data[place : place + 1]!r} at byte {place} is no symbol of the vocabulary "
                    f"{self}"
                )
        return ids.astype(self.dtype)

    def tokens(self, data: bytes) -> Tokens:
        """As `encode`, with the places of the tokens in the text."""
        return of_bytes(self.encode(data))

    def spelling(self, data: bytes, tokens: Tokens) -> np.ndarray:
        """(n,) zeros: bytes that are read as another symbol are not told apart."""
        return np.zeros(len(tokens.ids))

    def decode(self, ids: Any) -> bytes:
        """The text of `ids`; those without text have none. Raises InputError for what is no id."""
        array = np.asarray(ids).reshape(-1)
        if array.size and (array.min() < 0 or array.max() >= self.size):
            raise InputError(
                f"ids between {array.min()} and {array.max()} are not all symbols of the "
                f"vocabulary {self.name!r} (0 to {self.size - 1})"
            )
        if not self.encodes:
            return b"".join(self.symbols[number] or b"" for number in array.tolist())
        codes, told = self._codes
        return codes[array][told[array]].tobytes()

    @property
    def beginning(self) -> np.ndarray:
        """(1,) the id that is read where there is no text to begin with: a line end, else the
        first that has text, else the first."""
        told = [k for k, symbol in enumerate(self.symbols) if symbol is not None]
        ends = [k for k in told if self.symbols[k] == b"\n"]
        return np.array([*ends, *told, 0][:1], self.dtype)

    @functools.cached_property
    def _ids(self) -> np.ndarray:
        """(256,) the id of each byte; `size` where it has none. Of equal symbols the first is."""
        found = np.full(256, self.size if self.unknown is None else self.unknown, np.int64)
        for text, number in self.aliases:
            found[text[0]] = number
        for number in reversed(range(self.size)):
            symbol = self.symbols[number]
            if symbol is not None:
                found[symbol[0]] = number
        return found

    @functools.cached_property
    def _codes(self) -> tuple[np.ndarray, np.ndarray]:
        """(size,) the byte of each id, and whether it has one."""
        return (
            np.array([symbol[0] if symbol else 0 for symbol in self.symbols], np.uint8),
            np.array([symbol is not None for symbol in self.symbols]),
        )

    @property
    def _lack(self) -> str:
        longer = next((s for s in self.symbols if s is not None and len(s) > 1), None)
        return "not told" if longer is None else f"longer than a byte, as {longer[:40]!r} is"

    def to_json(self) -> dict[str, Any]:
        """JSON has no bytes: each is the character of the same number."""
        return {
            "kind": self.kind,
            "name": self.name,
            "symbols": [symbol and symbol.decode("latin-1") for symbol in self.symbols],
            "unknown": self.unknown,
            "aliases": [[text.decode("latin-1"), number] for text, number in self.aliases],
        }

    @classmethod
    def from_json(cls, description: dict[str, Any]) -> "Table":
        return cls(
            tuple(None if s is None else s.encode("latin-1") for s in description["symbols"]),
            description["unknown"],
            tuple((text.encode("latin-1"), number) for text, number in description["aliases"]),
            str(description["name"]),
        )

    def __str__(self) -> str:
        told = sum(symbol is not None for symbol in self.symbols)
        without = f", {self.size - told} without text" if told < self.size else ""
        return f"{self.name!r} ({self.size} symbols{without})"


Vocabulary = Bytes | Table | Characters | Words | SentencePieces
KINDS: dict[str, type] = {
    kind.kind: kind for kind in (Bytes, Table, Characters, Words, SentencePieces)
}


def from_json(description: Any) -> Vocabulary:
    """The vocabulary that `to_json` described. Raises InputError for an unknown one."""
    kind = description.get("kind") if isinstance(description, dict) else description
    if kind == Bytes.kind:
        return Bytes()
    if not isinstance(description, dict) or not isinstance(kind, str) or kind not in KINDS:
        raise InputError(
            f"vocabulary {kind!r} is unknown; this version reads {', '.join(map(repr, KINDS))}"
        )
    try:
        return KINDS[kind].from_json(description)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"a vocabulary of kind {kind!r} is damaged ({error!r:.200})") from None


def offset_bytes(first: int = 1, pad: int = 0) -> Table:
    """Bytes whose ids begin at `first`; before them, and `pad` behind, are ids without text."""
    symbols = (None,) * first + tuple(bytes([byte]) for byte in range(256)) + (None,) * pad
    return Table(symbols, name=f"bytes + {first}")


def printable() -> Table:
    """The 100 characters of Python's string.printable; any other byte is read as the first, "0"."""
    return Table(
        tuple(character.encode() for character in string.printable), unknown=0, name="printable"
    )


def amino_acids() -> Table:
    """The 26 ids of UniRep: padding, which no text has, letters of amino acids, a sequence's start
    as a line end, its stop "*".

    B, Z and J, which stand for two amino acids each, are read as X. A gap, "-", is refused: UniRep
    never puts the padding out, so that its loss would be without bounds.
    """
    letters = (None, *(letter.encode() for letter in _AMINO_ACIDS))
    unclear = letters.index(b"X")
    return Table(
        (*letters, b"\n", b"*"),
        aliases=tuple((letter, unclear) for letter in (b"Z", b"B", b"J")),
        name="amino acids",
    )


def untold(size: int) -> Table:
    """`size` symbols of which nothing is known but their ids."""
    return Table((None,) * size, name="untold")
