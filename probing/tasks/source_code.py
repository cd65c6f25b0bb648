"""Source code: what each byte is, exact in bytes; Python in any encoding and line ending, and C.

Classes overlap where the language does: a docstring is also a string, a comment within brackets
is also inside brackets. White space outside tokens belongs to no lexical class.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import tokenize
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from mlstm.errors import InputError
from probing.tasks import c_lexer
from probing.tasks.documents import Source, cleaning_of, documents
from probing.tasks.labelled import (
    LabelledData,
    LabelledDocument,
    Labels,
    every_byte,
    skipped_line,
)
from probing.tasks.python_lexer import LexError, Tokens, lex
from probing.tasks.python_recovery import lex_any

LEXICAL = ("string", "comment", "docstring", "keyword", "name", "operator", "number")
NUMBERS = ("indentation depth", "bracket depth", "position in line")
# Depths as classes too, so that a neuron that switches has an AUC and not only a correlation.
LEVELS = (
    ("indentation depth", 1),
    ("indentation depth", 2),
    ("indentation depth", 3),
    ("bracket depth", 1),
    ("bracket depth", 2),
    ("position in line", 40),
)
CLASSES = LEXICAL + tuple(f"{number} >= {level}" for number, level in LEVELS)
MEANING = (
    ("string", "string literals with prefix and quotes; of an f-string, all but its fields"),
    ("comment", "from # to the end of the line"),
    ("docstring", "the string that is a module's, class's or function's first statement"),
    ("keyword", "the 35 reserved words (match, case, type and _ are names)"),
    ("name", "identifiers that are not keywords"),
    ("operator", "operators, brackets and punctuation"),
    ("number", "number literals"),
    ("indentation depth", "blocks around the line; empty and comment lines keep the depth above"),
    ("bracket depth", "open ( [ { around the byte, f-string fields too; the brackets are inside"),
    ("position in line", "bytes since the line began"),
)


C_NUMBERS = ("brace depth", "parenthesis depth", "position in line")
C_LEVELS = (
    ("brace depth", 1),
    ("brace depth", 2),
    ("brace depth", 3),
    ("parenthesis depth", 1),
    ("parenthesis depth", 2),
    ("position in line", 40),
)
C_CLASSES = c_lexer.KINDS + tuple(f"{number} >= {level}" for number, level in C_LEVELS)
C_MEANING = (
    ("string", "string literals with prefix and quotes"),
    ("char literal", "character constants with prefix and quotes"),
    ("comment", "/* to */, and // to the end of the line"),
    ("preprocessor", "directives from # to the end of the line, but for comments in them"),
    ("keyword", "the reserved words of C23"),
    ("name", "identifiers that are not keywords"),
    ("operator", "operators, brackets and punctuation"),
    ("number", "number literals"),
    ("brace depth", "open { around the byte, the braces inside; none are counted in directives"),
    ("parenthesis depth", "open ( around the byte, the parentheses inside"),
    ("position in line", "bytes since the line began"),
)


class Unreadable(ValueError):
    """A document that is not of its language; the message says why and in which line."""


class _Language(NamedTuple):
    title: str
    suffixes: tuple[str, ...]
    classes: tuple[str, ...]
    numbers: tuple[str, ...]
    meaning: tuple[tuple[str, str], ...]
    labels: Callable[[bytes], Labels]
    judge: Callable[[bytes], Labels]  # the same of what is of the language, and of any other text


def source_code(source: Source, language: str | None = None) -> LabelledData:
    """Label Python or C source.

    source: a folder of .py files (or .c and .h), one file, a prepared corpus (its test split is
        taken), or an open split of one. Documents that are not of the language are left out and
        named in `.skipped`.
    language: "python" or "c"; unless given, what the names of the documents say, and Python where
        they say nothing.
    InputError where there is no such thing, nothing in it that can be labelled, or both languages.
    """
    if language is not None and language not in _LANGUAGES:
        raise InputError(f"language {language!r}: there are {', '.join(_LANGUAGES)}")
    chosen = _LANGUAGES.values() if language is None else [_LANGUAGES[language]]
    origin, found = documents(source, tuple(s for each in chosen for s in each.suffixes))
    return dataclasses.replace(label(found, origin, language), cleaning=cleaning_of(source))


def label(
    documents: Iterable[tuple[str, bytes]], origin: str, language: str | None = None
) -> LabelledData:
    """Label (name, bytes) pairs; those that are not of the language are skipped and named."""
    documents = list(documents)
    spoken = [_language_of(name) for name, _ in documents]
    if language is None:
        language, *others = sorted(set(spoken) - {None}, key=str) or ["python"]
        if others:
            raise InputError(f"{origin}: both Python and C source; say language=python or c")
    read = _LANGUAGES[str(language)]
    labelled, skipped = [], []
    for (name, data), its in zip(documents, spoken, strict=True):
        try:
            if its not in (None, language):
                raise Unreadable(f"its name is one of {_LANGUAGES[its].title}")
            read.labels(data)
        except Unreadable as error:
            skipped.append((name, str(error)))
        else:
            labelled.append(LabelledDocument(name, data, partial(read.labels, data)))
    if not any(len(document.data) for document in labelled):
        raise InputError(f"{origin}: no {read.title} source to label{skipped_line(tuple(skipped))}")
    return LabelledData(
        "source_code",
        origin,
        "byte",
        read.classes,
        read.numbers,
        tuple(labelled),
        skipped=tuple(skipped),
        meaning=dict(read.meaning),
        judge=read.judge,
    )


def _language_of(name: str) -> str | None:
    """By the last suffix that is one of source code, so that kernel.c.txt is C."""
    for suffix in reversed(PurePath(name).suffixes):
        for language, its in _LANGUAGES.items():
            if suffix in its.suffixes:
                return language
    return None


def labels(data: bytes) -> Labels:
    """Labels of every byte of one Python module.

    Raises Unreadable with the reason and the line.
    """
    text, widths, skipped = _decode(data)
    try:
        tokens = lex(text)
    except LexError as error:
        line = text.count("\n", 0, error.place) + 1
        raise Unreadable(f"line {line}: {error}") from None
    except RecursionError:
        raise Unreadable("f-strings nested too deeply") from None

    return _labels(data, tokens, text, widths, skipped)


def any_labels(data: bytes) -> Labels:
    """Labels of every byte of any text, read as Python as far as it can be: `labels` of a module,
    and of one that was cut off or that a model wrote what `python_recovery` makes of it."""
    try:
        text, widths, skipped = _decode(data)
    except Unreadable:
        # What is no UTF-8 is one character for each byte, in no token.
        text, skipped = data.decode("utf-8", "surrogateescape"), 0
        widths = np.array([len(c.encode("utf-8", "surrogateescape")) for c in text], int)
        text = text.replace("\r", "\n")
    return _labels(data, lex_any(text), text, widths, skipped)


def _labels(data: bytes, tokens: Tokens, text: str, widths: np.ndarray, skipped: int) -> Labels:
    """text, widths, skipped: as of `_decode`."""
    lexical, depths = _by_character(text, tokens)
    classes = np.zeros((len(data), len(CLASSES)), bool)
    numbers = np.zeros((len(data), len(NUMBERS)), np.int32)
    classes[skipped:, : len(LEXICAL)] = np.repeat(lexical, widths, axis=0)
    numbers[skipped:, :2] = np.repeat(depths, widths, axis=0)
    numbers[:, 2] = _position_in_line(data)
    for k, (number, level) in enumerate(LEVELS):
        classes[:, len(LEXICAL) + k] = numbers[:, NUMBERS.index(number)] >= level
    return every_byte(classes, numbers)


def c_labels(data: bytes, strict: bool = True) -> Labels:
    """Labels of every byte of a text in C.

    strict: raise Unreadable, with the reason and the line, where it is none; else what cannot be
        is in no token.
    """
    try:
        tokens = c_lexer.lex(data, strict)
    except c_lexer.LexError as error:
        line = data.count(b"\n", 0, error.place) + 1
        raise Unreadable(f"line {line}: {error}") from None
    kinds, starts, ends = np.array(tokens.spans, int).reshape(-1, 3).T
    borders = np.stack([starts, ends], 1).ravel()  # outside, token, outside, token, ... outside
    kind_of = np.full(2 * len(kinds) + 1, -1)
    kind_of[1::2] = kinds
    kind_at = np.repeat(kind_of, np.diff(borders, prepend=0, append=len(data)))
    levels = np.array([(0, 0, 0), *tokens.levels], int)
    depths = np.repeat(levels[:, 1:], np.diff(levels[:, 0], append=len(data)), axis=0)
    numbers = np.column_stack([depths, _position_in_line(data)])
    classes = np.zeros((len(data), len(C_CLASSES)), bool)
    classes[:, : len(c_lexer.KINDS)] = kind_at[:, None] == np.arange(len(c_lexer.KINDS))
    for k, (number, level) in enumerate(C_LEVELS):
        classes[:, len(c_lexer.KINDS) + k] = numbers[:, C_NUMBERS.index(number)] >= level
    return every_byte(classes, numbers)


def _decode(data: bytes) -> tuple[str, np.ndarray, int]:
    """Text with "\\n" line ends, the bytes that each of its characters took, bytes before it."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        skipped = 3 if encoding == "utf-8-sig" else 0
        encoding = "utf-8" if skipped else encoding
        text = data[skipped:].decode(encoding)
    except (SyntaxError, ValueError, LookupError) as error:
        raise Unreadable(f"cannot be decoded: {error}") from None
    if encoding == "utf-8":
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        widths = 1 + np.sum([points >= first for first in (0x80, 0x800, 0x10000)], axis=0)
    elif len(text) == len(data):
        widths = np.ones(len(text), int)
    else:
        widths = np.array([len(character.encode(encoding)) for character in text], int)
    if widths.sum() != len(data) - skipped:
        raise Unreadable(f"cannot place characters of {encoding} in bytes")

    characters = np.array(list(text), dtype="U1")
    returns = characters == "\r"
    if returns.any():
        pairs = returns & np.append(characters[1:] == "\n", False)
        widths[1:][pairs[:-1]] += 1
        widths = widths[~pairs]
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, widths, skipped


def _by_character(text: str, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """(characters, LEXICAL) bool, and (characters, 2): indentation and bracket depth."""
    lexical = np.zeros((len(text), len(LEXICAL)), bool)
    for kind, start, end in tokens.spans:
        lexical[start:end, LEXICAL.index(kind)] = True
    for start, end in tokens.docstrings:
        lexical[start:end, LEXICAL.index("docstring")] = lexical[start:end, LEXICAL.index("string")]
    depths = np.zeros((len(text), 2), np.int32)
    change = np.zeros(len(text) + 1, np.int32)
    for opening, closing in tokens.brackets:
        change[opening] += 1
        change[closing + 1] -= 1
    depths[:, 1] = np.cumsum(change)[:-1]
    blocks = [*tokens.blocks, (len(text), 0)]
    for (start, depth), (end, _) in itertools.pairwise(blocks):
        depths[start:end, 0] = depth
    return lexical, depths


def _position_in_line(data: bytes) -> np.ndarray:
    ids = np.frombuffer(data, np.uint8)
    places = np.arange(len(ids))
    ends = ids == ord("\n")
    ends |= (ids == ord("\r")) & ~np.append(ends[1:], False)[: len(ids)]
    begins = np.append(True, ends)[: len(ids)]
    return places - np.maximum.accumulate(np.where(begins, places, 0)) if len(ids) else places


_LANGUAGES = {
    "python": _Language("Python", (".py",), CLASSES, NUMBERS, MEANING, labels, any_labels),
    "c": _Language(
        "C",
        (".c", ".h"),
        C_CLASSES,
        C_NUMBERS,
        C_MEANING,
        c_labels,
        partial(c_labels, strict=False),
    ),
}
