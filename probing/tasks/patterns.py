"""Concepts of one's own: what a regular expression matches, or what a Python function marks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from mlstm.errors import InputError
from probing.tasks.documents import Source, cleaning_of, documents
from probing.tasks.labelled import LabelledData, LabelledDocument, Labels, every_byte
from probing.tasks.marking_functions import marking_function

_NAMED = re.compile(r"([A-Za-z][\w -]*)=(.+)", re.DOTALL)
_FUNCTION = re.compile(r"(.+\.py):(\w+)")

Columns = dict[str, np.ndarray]  # concept: (bytes,) bool of a class, float32 of a number


class _Pattern(NamedTuple):
    text: str  # as it was given
    mark: Callable[[bytes, str], Columns]  # of a document's bytes and its name


def patterns(source: Source, *, patterns: str | Sequence[str]) -> LabelledData:
    """Label every byte of any text by patterns.

    source: a file, a folder of files, a prepared corpus (its test split is taken), or an open
        split of one.
    patterns: each is a regular expression over UTF-8 bytes, whose class is the bytes inside its
        matches; or "file.py:function", a function of a document's bytes that returns an array
        with a bool (class) or a number for each byte, or a dictionary of them by name. Either may
        have a name before it: "year=[12][0-9]{3}". A name is letters, digits, spaces, _ and -; an
        expression that begins like one has to be named itself.
    InputError where a pattern cannot be used, or there is no text.
    """
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    if not given:
        raise InputError("no pattern given: patterns is a list of NAME=REGEX or FILE.py:FUNCTION")
    each = [_pattern(text) for text in given]
    origin, found = documents(source)
    texts = list(found)
    example = next(((name, data) for name, data in texts if data), None)
    if example is None:
        raise InputError(f"{origin}: no text to label; every document is empty")
    concepts, meaning = _concepts(each, *example)
    return LabelledData(
        "patterns",
        origin,
        "byte",
        tuple(name for name, is_class in concepts.items() if is_class),
        tuple(name for name, is_class in concepts.items() if not is_class),
        tuple(
            LabelledDocument(name, data, partial(_labels, each, concepts, data, name))
            for name, data in texts
        ),
        cleaning=cleaning_of(source),
        meaning=meaning,
        judge=partial(_labels, each, concepts),
    )


def _concepts(
    each: Sequence[_Pattern], name: str, data: bytes
) -> tuple[dict[str, bool], dict[str, str]]:
    """What the patterns mark in a document: whether each concept is a class, and its pattern."""
    concepts: dict[str, bool] = {}
    meaning: dict[str, str] = {}
    for pattern in each:
        for concept, column in pattern.mark(data, name).items():
            if concept in concepts:
                raise InputError(
                    f"patterns {meaning[concept]!r} and {pattern.text!r} are both named "
                    f"{concept!r}; write NAME=PATTERN"
                )
            concepts[concept] = _is_class(column)
            meaning[concept] = pattern.text
    return concepts, meaning


def _labels(
    each: Sequence[_Pattern], concepts: dict[str, bool], data: bytes, name: str = "a text"
) -> Labels:
    columns: Columns = {}
    for pattern in each if data else ():
        columns |= pattern.mark(data, name)
    found = {concept: _is_class(column) for concept, column in columns.items()}
    if data and found != concepts:
        raise InputError(
            f"{name}: marked as {_words(found)}, but the first document as {_words(concepts)}; "
            "a function has to return the same names and types for every text"
        )
    classes = np.zeros((len(data), sum(concepts.values())), bool)
    numbers = np.zeros((len(data), len(concepts) - classes.shape[1]), np.float32)
    places = {True: iter(classes.T), False: iter(numbers.T)}
    for concept, is_class in concepts.items():
        next(places[is_class])[:] = columns.get(concept, 0)
    return every_byte(classes, numbers)


def _is_class(column: np.ndarray) -> bool:
    return column.dtype.kind == "b"


def _words(concepts: dict[str, bool]) -> str:
    return ", ".join(
        f"{name} ({'class' if is_it else 'number'})" for name, is_it in concepts.items()
    )


def _pattern(text: str) -> _Pattern:
    named = _NAMED.fullmatch(text)
    name, rest = (named[1], named[2]) if named else ("", text)
    if function := _FUNCTION.fullmatch(rest):
        return _Pattern(text, marking_function(function[1], function[2], name))
    if not rest:
        raise InputError("an empty pattern marks nothing; write NAME=REGEX or FILE.py:FUNCTION")
    try:
        expression = re.compile(rest.encode())
    except (re.error, OverflowError, RecursionError) as error:
        place = getattr(error, "pos", None)
        where = "" if place is None else f" at its byte {place}"
        reason = getattr(error, "msg", str(error))
        raise InputError(f"pattern {rest!r} is no regular expression: {reason}{where}") from None
    return _Pattern(text, partial(_matches, expression, name or text))


def _matches(expression: re.Pattern[bytes], name: str, data: bytes, _: str) -> Columns:
    inside = np.zeros(len(data), bool)
    for match in expression.finditer(data):
        inside[match.start() : match.end()] = True
    return {name: inside}
