"""What is done to one text before it becomes ids: recipes by name, and where each byte went.

A recipe is a function of a text that tells what it made and an offset map, so that what is known
of places in the raw text can be said of the cleaned one. Where no places are known, `clean_whole`
makes the same bytes several times faster.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator

import numpy as np

from mlstm.corpus import offset_maps
from mlstm.corpus.folding import ascii_of, ascii_of_character
from mlstm.corpus.offset_maps import Cleaned, Edit
from mlstm.errors import InputError

# What may be a character reference in HTML 5, with or without the semicolon at its end.
_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")
# Python reads no number of more than some thousand digits; the largest character has seven.
_LONG_NUMBER = re.compile(r"&#([0-9]{8,})")
_TAG = re.compile("<[^\n>]*>")
_SPACE, _NOT_ASCII, _LINE_END = re.compile(r"\s+"), re.compile(r"[^\x00-\x7f]"), re.compile("\n")


def none(raw: bytes) -> Cleaned:
    """The bytes as they are."""
    return Cleaned(raw, np.arange(len(raw) + 1))


def openai(raw: bytes) -> Cleaned:
    """What Radford et al. (2017) put a text through before their model read it.

    HTML's character references become characters, line ends become spaces, white space around the
    text goes, "\\n " is put before it and " " after. Bytes that are not UTF-8 stay as they are.
    """
    text = raw.decode("utf-8", "surrogateescape")
    made = offset_maps.begin(text)
    for step in (_references, _line_ends, _outer_space):
        made = offset_maps.edit(made, step(made.text))
    return offset_maps.finish(raw, text, made, "\n ", " ")


def nvidia(raw: bytes) -> Cleaned:
    """What NVIDIA's sentiment-discovery (2018) did: tags, `<...>` within a line, become spaces, the
    text ASCII (see `corpus.folding`), HTML's character references characters, which need not be
    ASCII; white space is squeezed to one space; "\\n " is put before it and " " after."""
    text = raw.decode("utf-8", "surrogateescape")
    made = offset_maps.begin(text)
    for step in (_tags, _foldings, _references, _outer_space, _squeezed):
        made = offset_maps.edit(made, step(made.text))
    return offset_maps.finish(raw, text, made, "\n ", " ")


def concept_neurons(raw: bytes) -> Cleaned:
    """As Carvalho's concept_neurons (2018) wrote its reviews: line ends become spaces, white space
    around the text goes, "\\n " is put before it and "\\n" after. References stay."""
    text = raw.decode("utf-8", "surrogateescape")
    made = offset_maps.begin(text)
    for step in (_line_ends, _outer_space):
        made = offset_maps.edit(made, step(made.text))
    return offset_maps.finish(raw, text, made, "\n ", "\n")


def openai_reproduction(raw: bytes) -> Cleaned:
    """As openai_reproduction (Donnelly, 2018) wrote its shards: HTML's character references become
    characters and a line end is put after the text."""
    text = raw.decode("utf-8", "surrogateescape")
    made = offset_maps.begin(text)
    return offset_maps.finish(raw, text, offset_maps.edit(made, _references(text)), "", "\n")


def unirep(raw: bytes) -> Cleaned:
    """A protein's letters as UniRep reads them (Alley et al. 2019): capitals, without white space
    and the gaps of an alignment ("-", "."), after the start of a sequence, which
    `vocabulary.amino_acids` writes as a line end."""
    codes = np.frombuffer(raw.upper(), np.uint8)
    kept = ~np.isin(codes, np.frombuffer(b" \t\n\r\v\f-.", np.uint8))
    offsets = 1 + np.concatenate([[0], np.cumsum(kept)])
    return Cleaned(b"\n" + codes[kept].tobytes(), offsets)


RECIPES = {
    "none": none,
    "openai": openai,
    "unirep": unirep,
    "nvidia": nvidia,
    "concept_neurons": concept_neurons,
    "openai_reproduction": openai_reproduction,
}

_WHOLE = {
    "openai": lambda text: f"\n {_unescaped(text).replace(chr(10), ' ').strip()} ",
    "nvidia": lambda text: f"\n {' '.join(_unescaped(ascii_of(_without_tags(text))).split())} ",
    "concept_neurons": lambda text: f"\n {text.replace(chr(10), ' ').strip()}\n",
    "openai_reproduction": lambda text: f"{_unescaped(text)}\n",
}


def clean(text: str | bytes, recipe: str) -> Cleaned:
    """A text cleaned by a recipe of that name; a str is cleaned as its UTF-8 bytes.

    Raises InputError for a recipe that there is not, and a str with half of a surrogate pair.
    """
    check_recipe(recipe)
    return RECIPES[recipe](_encoded(text) if isinstance(text, str) else text)


def clean_whole(text: str | bytes, recipe: str) -> bytes:
    """The bytes of `clean`, without the map. Raises InputError."""
    return whole_cleaner(recipe)(text)


def whole_cleaner(recipe: str) -> Callable[[str | bytes], bytes]:
    """`clean_whole` for many texts of one recipe. Raises InputError."""
    check_recipe(recipe)
    if recipe not in _WHOLE:
        return lambda text: clean(text, recipe).data
    made = _WHOLE[recipe]

    def cleaned(text: str | bytes) -> bytes:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        return _encoded(made(text))

    return cleaned


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


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text has {text[error.start]!r} at character {error.start}, which UTF-8 cannot "
            "write; give bytes"
        ) from None


def _references(text: str) -> Iterator[Edit]:
    for match in _REFERENCE.finditer(text):
        said, character = match.group(), _unescaped(match.group())
        if said == character:
            continue
        # A name that is followed by more letters, "&notit;", leaves these as they are.
        while said and character and said[-1] == character[-1]:
            said, character = said[:-1], character[:-1]
        yield Edit(match.start(), match.start() + len(said), character)


def _line_ends(text: str) -> Iterator[Edit]:
    return (Edit(*match.span(), " ") for match in _LINE_END.finditer(text))


def _outer_space(text: str) -> Iterator[Edit]:
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    if first:
        yield Edit(0, first, "")
    if first <= last < len(text):
        yield Edit(last, len(text), "")


def _squeezed(text: str) -> Iterator[Edit]:
    return (Edit(*match.span(), " ") for match in _SPACE.finditer(text) if match.group() != " ")


def _foldings(text: str) -> Iterator[Edit]:
    return (
        Edit(*match.span(), ascii_of_character(match.group()))
        for match in _NOT_ASCII.finditer(text)
    )


def _tags(text: str) -> Iterator[Edit]:
    """Behind the last ">" of a line nothing is looked for: many "<" there would take for ever."""
    start = 0
    for line in text.split("\n"):
        stop = start + line.rfind(">") + 1
        for match in _TAG.finditer(text, start, stop):
            yield Edit(*match.span(), " ")
        start += len(line) + 1


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    pieces, end = [], 0
    for start, stop, made in _tags(text):
        pieces += [text[end:start], made]
        end = stop
    return "".join([*pieces, text[end:]])


def _unescaped(text: str) -> str:
    if "&" not in text:
        return text
    try:
        return html.unescape(text)
    except ValueError:
        return html.unescape(_LONG_NUMBER.sub(_shortened, text))


def _shortened(match: re.Match) -> str:
    """The reference with a number that stands for the same: U+FFFD where it is out of range."""
    digits = match[1].lstrip("0") or "0"
    return f"&#{digits if len(digits) < 8 else '9' * 7}"
