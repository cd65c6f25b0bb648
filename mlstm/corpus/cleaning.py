"""What is done to one text before it becomes ids: recipes by name, and where each byte went.

A recipe is a function of a text that tells what it made and an offset map, so that what is known
of places in the raw text can be said of the cleaned one.
"""

# n raw bytes

from __future__ import annotations

import html
import re
from typing import NamedTuple

import numpy as np

from mlstm.errors import InputError

# What may be a character reference in HTML 5, with or without the semicolon at its end.
_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")


class Cleaned(NamedTuple):
    """A cleaned text.

    `offsets` rise from the border before the first raw byte to the one after the last. A span
    [start, stop) of raw bytes is [offsets[start], offsets[stop]) of `data`; a state after raw byte
    i is the one after byte offsets[i + 1] - 1, which is -1 where nothing is kept up to there.
    """

    data: bytes
    offsets: np.ndarray  # (n + 1,) int64: places in data; of what was removed the next kept place


def none(raw: bytes) -> Cleaned:
    """The bytes as they are."""
    return Cleaned(raw, np.arange(len(raw) + 1))


def openai(raw: bytes) -> Cleaned:
    """What Radford et al. (2017) put a text through before their model read it.

    HTML's character references become characters, line ends become spaces, white space around the
    text goes, "\\n " is put before it and " " after. Bytes that are not UTF-8 stay as they are.
    """
    text = raw.decode("utf-8", "surrogateescape")
    pieces: list[str] = []
    raw_sizes, sizes = _sizes(text), _sizes(text)  # of each character: bytes, and bytes made of it
    end = 0
    for match in _REFERENCE.finditer(text):
        said, character = match.group(), html.unescape(match.group())
        if said == character:
            continue
        # A name that is followed by more letters, "&notit;", leaves these as they are.
        while said and character and said[-1] == character[-1]:
            said, character = said[:-1], character[:-1]
        start, stop = match.start(), match.start() + len(said)
        pieces += [text[end:start], character]
        sizes[start:stop] = 0
        sizes[start] = _sizes(character).sum()
        end = stop
    made = "".join([*pieces, text[end:]]).replace("\n", " ")
    kept = made.strip()
    data = kept.encode("utf-8", "surrogateescape")
    leading = len(made) - len(made.lstrip())
    dropped = int(_sizes(made[:leading]).sum())
    borders = np.concatenate([[0], np.cumsum(sizes)])
    inside = np.arange(len(raw)) - np.repeat(np.cumsum(raw_sizes) - raw_sizes, raw_sizes)
    places = np.minimum(
        np.repeat(borders[:-1], raw_sizes) + inside, np.repeat(borders[1:], raw_sizes)
    )
    offsets = 2 + np.clip(np.append(places, borders[-1]) - dropped, 0, len(data))
    return Cleaned(b"\n " + data + b" ", offsets)


def unirep(raw: bytes) -> Cleaned:
    """A protein's letters as UniRep reads them (Alley et al. 2019): capitals, without white space
    and the gaps of an alignment ("-", "."), after the start of a sequence, which
    `vocabulary.amino_acids` writes as a line end."""
    codes = np.frombuffer(raw.upper(), np.uint8)
    kept = ~np.isin(codes, np.frombuffer(b" \t\n\r\v\f-.", np.uint8))
    offsets = 1 + np.concatenate([[0], np.cumsum(kept)])
    return Cleaned(b"\n" + codes[kept].tobytes(), offsets)


RECIPES = {"none": none, "openai": openai, "unirep": unirep}


def clean(text: str | bytes, recipe: str) -> Cleaned:
    """A text cleaned by a recipe of that name; a str is cleaned as its UTF-8 bytes.

    Raises InputError for a recipe that there is not, and a str with half of a surrogate pair.
    """
    check_recipe(recipe)
    if isinstance(text, str):
        try:
            text = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise InputError(
                f"a text has {text[error.start]!r} at character {error.start}, which UTF-8 cannot "
                "write; give bytes"
            ) from None
    return RECIPES[recipe](text)


def check_recipe(name: str) -> str:
    """The name; InputError where no recipe has it."""
    if name not in RECIPES:
        raise InputError(f'no cleaning "{name}"; there are {", ".join(RECIPES)}')
    return name


def otherwise(text: str, model: str) -> str:
    """A line for people where a text was cleaned by another recipe than a model's; else ""."""
    if text == model:
        return ""
    return f"note: the text was cleaned as {text}, the model's texts as {model}"


def _sizes(text: str) -> np.ndarray:
    """(characters,) int64: bytes of each in UTF-8; an escaped byte is one."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    sizes = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    sizes[(codes >= 0xDC80) & (codes <= 0xDCFF)] = 1
    return sizes
