"""What texts cost under a model: the bits of each, of all its bytes, and of each token if asked."""

# N texts

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jax.sharding import Mesh

from mlstm.corpus.cleaning import check_recipe, clean
from mlstm.corpus.sentencepieces import SentencePieces
from mlstm.corpus.tokens import Charged, Tokens
from mlstm.errors import InputError, TextError, check_one
from mlstm.model import encoding, text_costs
from mlstm.model.edits import Edit, make_edits
from mlstm.output import to_json

if TYPE_CHECKING:
    from mlstm.corpus.vocabulary import Vocabulary
    from mlstm.trained import Model

WINDOW = 128
FIRST = ("charged", "free")


@dataclass(frozen=True, eq=False)
class TextScores:
    """The costs of texts, in their order. Bits are of the model, and of the spelling of tokens
    that it does not know."""

    bits: np.ndarray
    """(N,) of each text, all its charged bytes together."""
    bytes: np.ndarray
    """(N,) int64: how many bytes are charged. Those of a text as it is read: after cleaning, and as
    the tokens of a SentencePiece model spell it."""
    unknown: np.ndarray
    """(N,) int64: how many of its tokens are unknown to the vocabulary, and charged by spelling."""
    changed: np.ndarray
    """(N,) int64: how many of its bytes, at the least, its tokens do not spell as they were."""
    tokens: list[np.ndarray] | None = None
    """Of each text the bits of each of its tokens; nan for a first one that is not charged."""
    ends: list[np.ndarray] | None = None
    """Beside `tokens`, the byte of the text after each of them."""

    @property
    def per_byte(self) -> np.ndarray:
        """(N,) bits per byte; nan where no byte is charged."""
        return np.divide(self.bits, self.bytes, np.full(len(self), np.nan), where=self.bytes > 0)

    @property
    def bits_per_byte(self) -> float:
        """Of all texts together; nan where no byte is charged."""
        size = int(self.bytes.sum())
        return math.fsum(self.bits) / size if size else math.nan

    def __len__(self) -> int:
        return len(self.bits)

    def to_json(self) -> str:
        each = {"bits": self.bits, "bytes": self.bytes, "unknown": self.unknown}
        each |= {"changed": self.changed} if self.changed.any() else {}
        return to_json(
            {
                "format_version": 1,
                "texts": len(self),
                "bits_per_byte": self.bits_per_byte,
                **{name: values.tolist() for name, values in each.items()},
            }
        )

    def __str__(self) -> str:
        size, unknown = int(self.bytes.sum()), int(self.unknown.sum())
        told = f", {unknown:,} unknown tokens charged by spelling" if unknown else ""
        if changed := int(self.changed.sum()):
            told += f"; the vocabulary has changed {changed:,} bytes or more"
        mean = f"{math.fsum(self.bits) / len(self):.2f} bits a text, " if len(self) else ""
        return (
            f"{len(self):,} texts, {size:,} bytes: {mean}{self.bits_per_byte:.4f} bits per byte"
            f"{told}"
        )


def score(
    model: Model,
    texts: Iterable[str | bytes],
    *,
    context: str | bytes = b"",
    cleaning: str | None = None,
    first: str = "charged",
    tokens: bool = False,
    edits: str | Edit | Iterable[Edit | str] = (),
    streams: int | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TextScores:
    """What `Model.score` says."""
    check_one(model)
    if first not in FIRST:
        raise InputError(f'first is "{first}"; it may be {", ".join(FIRST)}')
    if streams is not None and streams < 1:
        raise InputError(f"streams is {streams}; it must be 1 or more")
    made = make_edits(model.config, edits)
    found, charged = _read(model, texts, check_recipe(cleaning or model.cleaning))
    before = _before(model.vocabulary, context, first)
    # A text without a token has no first one that could be left out.
    read = [np.concatenate([before, each.ids]) if len(each.ids) else each.ids for each in found]
    if streams is None:
        lengths = [max(0, len(each) - 1) for each in read]
        streams = encoding.choose_streams(lengths, WINDOW, mesh=mesh)
    nats = [each.nats.copy() for each in charged]
    done, total = 0, sum(max(0, len(each) - 1) for each in read)
    for costs in text_costs.stream_nats(
        model.config,
        model.parameters,
        read,
        begins=[len(before)] * len(read),
        streams=streams,
        window=WINDOW,
        edits=made,
        mesh=mesh,
    ):
        place = costs.position - len(before)
        for number in np.unique(costs.text).tolist():
            here = (costs.text == number) & (place >= 0)
            nats[number][place[here]] += costs.nats[here]
        done += costs.read
        if progress:
            progress(done, total)
    return _scores(found, charged, nats, first == "free", tokens)


def joined(parts: Sequence[TextScores]) -> TextScores:
    """The scores of several lists of texts as those of one; without the tokens."""
    return TextScores(
        np.concatenate([np.zeros(0), *(part.bits for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.bytes for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.unknown for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.changed for part in parts)]),
    )


def _read(
    model: Model, texts: Iterable[str | bytes], recipe: str
) -> tuple[list[Tokens], list[Charged]]:
    """The tokens of each text, cleaned, and what is charged for them. InputError says which of them
    is no text."""
    if isinstance(texts, str | bytes):
        raise InputError("texts is one text; a list of them is needed: score([text])")
    found, charged = [], []
    for number, text in enumerate(texts):
        if not isinstance(text, str | bytes):
            raise InputError(f"texts[{number}] is a {type(text).__name__}; it must be str or bytes")
        try:
            data = clean(text, recipe).data
            found.append(model.vocabulary.tokens(data))
            charged.append(_charged(model.vocabulary, data, found[-1]))
        except InputError as error:
            raise TextError(number, str(error)) from None
    return found, charged


def _charged(vocabulary: Vocabulary, data: bytes, tokens: Tokens) -> Charged:
    if isinstance(vocabulary, SentencePieces):
        return vocabulary.charged(data)
    sizes = np.diff(tokens.ends, prepend=0)
    return Charged(sizes, vocabulary.spelling(data, tokens), 0)


def _before(vocabulary: Vocabulary, context: str | bytes, first: str) -> np.ndarray:
    """The ids that are read before each text and not charged."""
    data = context.encode() if isinstance(context, str) else context
    if data:
        try:
            return vocabulary.tokens(data).ids
        except InputError as error:
            raise InputError(f"context: {error}") from None
    return vocabulary.beginning if first == "charged" else vocabulary.beginning[:0]


def _scores(
    found: Sequence[Tokens],
    charged: Sequence[Charged],
    nats: Sequence[np.ndarray],
    free: bool,
    tokens: bool,
) -> TextScores:
    start = 1 if free else 0
    bits = [each / math.log(2) for each in nats]
    if free:
        for each in bits:
            each[:1] = math.nan
    return TextScores(
        np.array([math.fsum(each[start:]) for each in bits], np.float64),
        np.array([each.sizes[start:].sum() for each in charged], np.int64),
        np.array([np.count_nonzero(each.nats[start:]) for each in charged], np.int64),
        np.array([each.changed for each in charged], np.int64),
        bits if tokens else None,
        [each.ends for each in found] if tokens else None,
    )
