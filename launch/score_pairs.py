"""Pairs of texts, two fields of each row: which is cheaper, and what else would say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from launch.rows import Texts, told_by_line, written
from mlstm import pairs
from mlstm.errors import InputError, TextError
from mlstm.pairs import PairScores

if TYPE_CHECKING:
    from pathlib import Path

    from mlstm.corpus.texts import Record
    from mlstm.text_scores import TextScores
    from mlstm.trained import Model


def added(fields: Sequence[str]) -> list[str]:
    """The names of what a row gets."""
    return [*(f"bits_{name}" for name in fields), "cheaper"]


def score_pairs(
    model: Model,
    twin: Model | None,
    texts: Texts,
    fields: Sequence[str],
    by: str | None,
    score: Callable[[Model, list[bytes]], TextScores],
    charged: Callable[[bytes], bytes],
    output: Path | None,
    progress: Callable[[int, int], None] | None,
) -> PairScores:
    """The two fields of every row compared, in groups of the field `by`, and the rows written with
    `added`. With the model's twin, and only so, what else would choose is beside it, of what is
    `charged` of each text. Pairs of which a text has nothing that is charged have no bits per byte.

    Raises InputError for a field that there is not, or that is no text.
    """
    first, second = fields
    for name in (second, by):
        if name is not None and name not in texts.names:
            raise InputError(f'{texts.file}: no field "{name}" (fields: {", ".join(texts.names)})')
    letters = pairs.ByteCounts()
    if twin:
        for piece in texts.pieces():
            for text in _charged(texts, piece, _both(texts, piece, second), charged):
                letters.add(text)
    costs: dict[str, list[np.ndarray]] = {}
    groups: list[str] = []
    read = 0
    with written(output, texts) as write:
        for piece in texts.pieces():
            both = _both(texts, piece, second)
            with told_by_line(texts.file, piece):
                found = score(model, both)
            here = {"bits": found.bits, "bits per byte": found.per_byte}
            if twin:
                read_of = _charged(texts, piece, both, charged)
                here["shorter"] = np.array([len(text) for text in read_of])
                here["letters alone"] = np.array([letters.bits(text) for text in read_of])
                here["untrained twin"] = score(twin, both).bits
            whole = (found.bytes > 0).reshape(2, -1).all(0)
            for name, values in here.items():
                pair = values.reshape(2, -1)
                pair = pair[:, whole] if name == "bits per byte" else pair
                costs.setdefault(name, []).append(pair)
            bits = found.bits.reshape(2, -1)
            tied = pairs.ties(*bits)
            for k, (record, a, b) in enumerate(zip(piece, *bits.tolist(), strict=True)):
                cheaper = "tie" if tied[k] else first if a < b else second
                write(record, dict(zip(added(fields), (a, b, cheaper), strict=True)))
                if by:
                    groups.append(_group(texts, record, by))
            read += sum(len(record.text) for record in piece)
            if progress:
                progress(read, texts.bytes)
    joined = {name: np.concatenate(parts, 1) for name, parts in costs.items()}
    joined = joined or {"bits": np.zeros((2, 0))}
    return pairs.compare(
        (first, second),
        {name: (values[0], values[1]) for name, values in joined.items()},
        groups if by else None,
    )


def _group(texts: Texts, record: Record, by: str) -> str:
    value = dict(record.fields).get(by)
    if value is None:
        raise InputError(f'{texts.file}:{record.line}: no field "{by}", which says the group')
    return str(value)


def _charged(
    texts: Texts, piece: list[Record], both: list[bytes], charged: Callable[[bytes], bytes]
) -> list[bytes]:
    found = []
    with told_by_line(texts.file, piece):
        for number, text in enumerate(both):
            try:
                found.append(charged(text))
            except InputError as error:
                raise TextError(number, str(error)) from None
    return found


def _both(texts: Texts, piece: list[Record], second: str) -> list[bytes]:
    """The first texts of the pairs, then the second ones."""
    others = []
    for record in piece:
        value = dict(record.fields).get(second)
        if not isinstance(value, str):
            raise InputError(
                f'{texts.file}:{record.line}: field "{second}" beside {record.text[:40]!r} is '
                f"{value!r:.40}, no text"
            )
        try:
            others.append(value.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise InputError(
                f'{texts.file}:{record.line}: field "{second}" beside {record.text[:40]!r} has '
                "half of a surrogate pair"
            ) from None
    return [*(record.text for record in piece), *others]
