"""Python source: what each byte is, exact in bytes for any encoding and line ending.

Classes overlap where the language does: a docstring is also a string, a comment within brackets
is also inside brackets. White space outside tokens belongs to no lexical class.
"""

from __future__ import annotations

import io
import itertools
import os
import tokenize
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from mlstm.corpus.files import user_path
from mlstm.errors import InputError
from probing.tasks.labelled import (
    LabelledData,
    LabelledDocument,
    Labels,
    every_byte,
    skipped_line,
)
from probing.tasks.python_lexer import LexError, Tokens, lex

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


class Unreadable(ValueError):
    """A document that is not Python; the message says why and in which line."""


class _Documents(Protocol):
    @property
    def names(self) -> list[str]: ...
    def document(self, i: int) -> bytes: ...


def source_code(source: str | os.PathLike | _Documents) -> LabelledData:
    """Label Python source.

    source: a folder of .py files, one .py file, a prepared corpus (its test split is taken), or an
        open split of one. Documents that are not Python are left out and named in `.skipped`.
    InputError where there is no such thing, or nothing in it that can be labelled.
    """
    if isinstance(source, (str, os.PathLike)):
        origin, found = _find(user_path(source))
    else:
        origin = "corpus split"
        found = ((name, source.document(i)) for i, name in enumerate(source.names))
    return label(found, origin)


def label(documents: Iterable[tuple[str, bytes]], origin: str) -> LabelledData:
    """Label (name, bytes) pairs; those that are not Python are skipped and named."""
    labelled, skipped = [], []
    for name, data in documents:
        try:
            labels(data)
        except Unreadable as error:
            skipped.append((name, str(error)))
        else:
            labelled.append(LabelledDocument(name, data, partial(labels, data)))
    if not any(len(document.data) for document in labelled):
        raise InputError(f"{origin}: no Python source to label{skipped_line(tuple(skipped))}")
    return LabelledData(
        "source_code",
        origin,
        "byte",
        CLASSES,
        NUMBERS,
        tuple(labelled),
        skipped=tuple(skipped),
        meaning=dict(MEANING),
    )


def _find(path: Path) -> tuple[str, Iterator[tuple[str, bytes]]]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_file():
        return str(path), iter([(path.name, path.read_bytes())])
    if (path / "manifest.json").is_file():
        from mlstm.corpus.shards import Corpus

        split = Corpus.open(path).split("test")
        return f"{path} (test split)", (
            (name, split.document(i)) for i, name in enumerate(split.names)
        )
    files = sorted(p for p in path.rglob("*.py") if p.is_file())
    if not files:
        raise InputError(f"{path}: no .py files in this folder")
    return str(path), ((p.relative_to(path).as_posix(), p.read_bytes()) for p in files)


def labels(data: bytes) -> Labels:
    """Labels of every byte of one module.

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

    lexical, depths = _by_character(text, tokens)
    classes = np.zeros((len(data), len(CLASSES)), bool)
    numbers = np.zeros((len(data), len(NUMBERS)), np.int32)
    classes[skipped:, : len(LEXICAL)] = np.repeat(lexical, widths, axis=0)
    numbers[skipped:, :2] = np.repeat(depths, widths, axis=0)
    numbers[:, 2] = _position_in_line(data)
    for k, (number, level) in enumerate(LEVELS):
        classes[:, len(LEXICAL) + k] = numbers[:, NUMBERS.index(number)] >= level
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
