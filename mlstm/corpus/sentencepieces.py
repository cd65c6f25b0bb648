"""SentencePiece models as vocabularies (Kudo & Richardson 2018): needs the extra `sentencepiece`.

A model may normalise what it reads: white space, forms of letters. What is prepared with it is the
text that its ids spell, with a space for each of its marks "▁", and at least so many bytes of it
are told to be others than there were. Of any other text its tokens are the places.
"""

# n tokens

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mlstm.corpus.cutting import blocks
from mlstm.corpus.files import user_path
from mlstm.corpus.spelling import Spelling
from mlstm.corpus.symbols import Cut, Pieces, bytes_of, codes_of, sizes_of, text_of
from mlstm.corpus.tokens import Charged, Tokens
from mlstm.errors import InputError

LARGEST = 64 << 20
"""Bytes of a model: larger ones are none."""
_MARK = "▁"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class SentencePieces(Pieces):
    """`model` is the file's bytes. What it does not know is one symbol, unless it falls back to
    bytes. Raises InputError for a model that cannot be read."""

    model: bytes = field(repr=False)
    spelling_code: Spelling = field(default_factory=Spelling, repr=False)

    kind: ClassVar[str] = "sentencepieces"

    def __post_init__(self):
        if not isinstance(self.model, bytes) or not 0 < len(self.model) <= LARGEST:
            raise InputError(f"a SentencePiece model has from 1 to {LARGEST:,} bytes")
        if not self.texts or not any(self.texts):
            raise InputError("the SentencePiece model has no piece with text")

    @functools.cached_property
    def _processor(self) -> Any:
        try:
            import sentencepiece
        except ImportError as error:
            raise InputError(
                "this vocabulary is a SentencePiece model, and sentencepiece is missing "
                f"({error}): pip install 'mlstm[sentencepiece]'"
            ) from None
        processor = sentencepiece.SentencePieceProcessor()
        try:
            read = processor.LoadFromSerializedProto(self.model)
        except Exception as error:  # the package raises what its C++ code does
            raise InputError(
                f"not a SentencePiece model, or a damaged one ({str(error) or repr(error):.100})"
            ) from None
        if read is False:
            raise InputError("not a SentencePiece model, or a damaged one")
        return processor

    @functools.cached_property
    def texts(self) -> tuple[bytes, ...]:
        """(size,) the text of each id; that of a control symbol is empty."""
        model, texts = self._processor, []
        for number in range(model.GetPieceSize()):
            piece = model.IdToPiece(number)
            if model.IsControl(number):
                texts.append(b"")
            elif model.IsUnknown(number):
                texts.append(b"<unk>")
            elif model.IsByte(number):
                texts.append(bytes.fromhex(piece[3:5]))
            else:
                texts.append(_spelled(piece))
        return tuple(texts)

    @property
    def size(self) -> int:
        return len(self.texts)

    @functools.cached_property
    def unknown(self) -> int | None:
        """The id of what has no piece; None where all is spelled in bytes."""
        model = self._processor
        whole = {model.IdToPiece(n) for n in range(self.size) if model.IsByte(n)}
        return None if len(whole) == 256 else model.unk_id()

    def tokens(self, data: bytes) -> Tokens:
        """Each ends where what it stands for does, the last with the text. Of a character that is
        spelled in bytes or in several pieces the last has it all, the others nothing."""
        ids, ends, begin = [], [], 0
        for block in blocks(data):
            for number, end in self._places(block):
                ids.append(number)
                ends.append(begin + end)
            begin += len(block)
            if ends:
                ends[-1] = begin
        return Tokens(np.array(ids, self.dtype), np.array(ends, np.int64))

    def _places(self, block: bytes) -> Iterator[tuple[int, int]]:
        """Of each piece its id and its end among the bytes of the block."""
        text = text_of(block)
        valid = _NOT_UTF8.sub("\ufffd", text)
        described = self._processor.Encode(valid, out_type="serialized_proto")
        pieces = [dict(_fields(piece)) for number, piece in _fields(described) if number == 2]
        ends = np.array([piece.get(5, 0) for piece in pieces], np.int64)
        if valid is not text and len(ends):
            read, here = (np.cumsum(sizes_of(codes_of(each))) for each in (valid, text))
            ends = np.concatenate([[0], here])[np.searchsorted(read, ends, side="right")]
        for piece, end in zip(pieces, np.maximum.accumulate(ends).tolist(), strict=True):
            yield piece.get(2, 0), end

    def encode(self, data: bytes) -> np.ndarray:
        return np.concatenate(
            [np.empty(0, self.dtype), *(self._ids(block) for block in blocks(data))]
        )

    def _ids(self, block: bytes) -> np.ndarray:
        valid = _NOT_UTF8.sub("\ufffd", text_of(block))
        return np.array(self._processor.Encode(valid, out_type=int), self.dtype)

    def cut(self, data: bytes) -> Cut:
        """Of a block: the ids, and the text that they spell in its place."""
        ids, unknown = self._ids(data), []
        if self.unknown is not None and (ids == self.unknown).any():
            valid = _NOT_UTF8.sub("\ufffd", text_of(data))
            pieces = self._processor.Encode(valid, out_type=str)
            unknown = [
                _spelled(piece)
                for piece, number in zip(pieces, ids.tolist(), strict=True)
                if number == self.unknown
            ]
        left = iter(unknown)
        made = b"".join(
            next(left) if number == self.unknown else self.texts[number] for number in ids.tolist()
        )
        before, after = (
            np.bincount(np.frombuffer(text, np.uint8), minlength=256) for text in (data, made)
        )
        more = after - before
        return Cut(ids, unknown, int(max(more[more > 0].sum(), -more[more < 0].sum())))

    def charged(self, data: bytes) -> Charged:
        """What the tokens of a text spell, as a corpus of it would hold it."""
        cuts = [self.cut(block) for block in blocks(data)]
        ids = np.concatenate([np.empty(0, self.dtype), *(each.ids for each in cuts)])
        sizes, nats = self.lengths[ids], np.zeros(len(ids))
        if spelled := [token for each in cuts for token in each.unknown]:
            sizes[ids == self.unknown] = list(map(len, spelled))
            nats[ids == self.unknown] = list(map(self.spelling_code.nats, spelled))
        return Charged(sizes, nats, sum(each.changed for each in cuts))

    @functools.cached_property
    def beginning(self) -> np.ndarray:
        """(1,) the id that is read where there is no text to begin with: a line end, or a space,
        else the first that has text."""
        found = [*self.encode(b"\n")[-1:].tolist(), self._processor.PieceToId(_MARK)]
        unknown = self._processor.unk_id()
        first = next(number for number, text in enumerate(self.texts) if text and number != unknown)
        return np.array([next((n for n in found if n != unknown), first)], self.dtype)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "model": base64.b64encode(self.model).decode(),
            "spelling": list(self.spelling_code.counts),
        }

    @classmethod
    def from_json(cls, description: dict[str, Any]) -> SentencePieces:
        try:
            model = base64.b64decode(description["model"], validate=True)
        except binascii.Error as error:
            raise InputError(f"a vocabulary of {cls.kind} is damaged ({error})") from None
        return cls(model, Spelling.from_json(description["spelling"]))

    def __str__(self) -> str:
        unseen = "unknown" if self.unknown is not None else "bytes"
        return f"{self.kind} ({self.size:,} symbols, what is unseen: {unseen})"


@dataclass(frozen=True)
class FitSentencePieces:
    """A SentencePiece model, whose spelling of what it does not know is still to be made."""

    model: bytes = field(repr=False)
    name: str = ""

    kind: ClassVar[str] = SentencePieces.kind

    @classmethod
    def read(cls, place: str) -> FitSentencePieces:
        """From a file. Raises InputError where it is none."""
        path = user_path(place)
        try:
            if path.stat().st_size > LARGEST:
                raise InputError(f"{path} is too large for a SentencePiece model")
            model = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
        try:
            SentencePieces(model)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        return cls(model, Path(path).name)

    def fit(self, texts: Iterable[bytes]) -> SentencePieces:
        """`texts` are blocks, as `cutting` makes them."""
        vocabulary = SentencePieces(self.model)
        if vocabulary.unknown is None:
            return vocabulary
        of_bytes, total = np.zeros(256, np.int64), 0
        for block in texts:
            of_bytes += np.bincount(np.frombuffer(block, np.uint8), minlength=256)
            total += len(vocabulary.encode(block))
        return SentencePieces(self.model, Spelling.fitted(of_bytes, total))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "model": hashlib.sha256(self.model).hexdigest()}

    def __str__(self) -> str:
        return f"SentencePiece model {self.name}"


def _spelled(piece: str) -> bytes:
    return bytes_of(piece.replace(_MARK, " "))


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message in the wire format of protocol buffers: numbers and bytes."""
    place = 0
    while place < len(message):
        key, place = _number(message, place)
        value, place = _number(message, place)
        if key & 7 == 2:
            value, place = message[place : place + value], place + value
        yield key >> 3, value


def _number(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
