"""Where a byte stands in its text, of any language: inside what, how deep, how far from where.

What Karpathy, Johnson and Fei-Fei 2016 found single cells to follow (quotes, comments, brackets,
indentation, position in line), as functions of the bytes alone. Quotes and parentheses are matched
within a paragraph, so that one without a partner (a smiley, an inch) does not reach beyond it.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from mlstm.errors import InputError
from probing.tasks.documents import Source, cleaning_of, documents
from probing.tasks.labelled import LabelledData, LabelledDocument, Labels, every_byte

LEVELS = (1, 2, 3)
CLASSES = ("inside quotes", "inside parentheses", "comment")
CLASSES += (*(f"indentation >= {level}" for level in LEVELS), "capital")
NUMBERS = (
    "parenthesis depth",
    "indentation depth",
    "position in line",
    "since newline",
    "since space",
    "since sentence end",
)
MEANING = {
    "inside quotes": 'from " to the next " of the paragraph, both included',
    "inside parentheses": "between ( and the ) that closes it in the paragraph, both included",
    "comment": "C's: /* to */, and // to the end of the line unless : is before it",
    **{
        f"indentation >= {level}": f"lines of indentation depth {level} or more" for level in LEVELS
    },
    "capital": "A to Z",
    "parenthesis depth": "parentheses around the byte, those at its ends included",
    "indentation depth": "of the line: its leading tabs, and spaces by the text's usual step",
    "position in line": "bytes since the line began",
    "since newline": "bytes since the last newline, 0 at one; counted from before the text",
    "since space": "bytes since the last white space, 0 at one",
    "since sentence end": "bytes since the last . ! or ? that white space follows, 0 at one; "
    "closing quotes and parentheses may stand between",
}

_BORDER = re.compile(rb"\n[ \t\r]*(?=\n)")  # of paragraphs
_COMMENT = re.compile(rb"(?<!:)//[^\n]*|/\*(?s:.)*?(?:\*/|\Z)")
_SENTENCE_END = re.compile(rb"[.!?](?=['\")\]]*+(?:\s|\Z))")
_WHITE = np.isin(np.arange(256), np.frombuffer(b" \t\n\v\f\r", np.uint8))


def text_position(source: Source) -> LabelledData:
    """Label every byte of any text by where it stands.

    source: a file, a folder of files, a prepared corpus (its test split is taken), or an open
        split of one.
    InputError where there is no such thing, or no byte in it.
    """
    origin, found = documents(source)
    labelled = tuple(LabelledDocument(name, data, partial(labels, data)) for name, data in found)
    if not any(len(document.data) for document in labelled):
        raise InputError(f"{origin}: no text to label; every document is empty")
    return LabelledData(
        "text_position",
        origin,
        "byte",
        CLASSES,
        NUMBERS,
        labelled,
        cleaning=cleaning_of(source),
        meaning=MEANING,
        judge=labels,
    )


def labels(data: bytes) -> Labels:
    """Labels of every byte of any text."""
    ids = np.frombuffer(data, np.uint8)
    borders = np.array([match.start() for match in _BORDER.finditer(data)], int)
    parentheses = _depth_of_pairs(len(ids), *_parentheses(ids, borders))
    indentation = _indentation(ids)
    comment = _depth_of_pairs(len(ids), *_spans(_COMMENT, data))
    ends = np.zeros(len(ids), bool)
    ends[[match.start() for match in _SENTENCE_END.finditer(data)]] = True
    newline = ids == ord("\n")
    begins = np.append(True, newline)[: len(ids)]
    classes = [
        _depth_of_pairs(len(ids), *_quotes(ids, borders)) > 0,
        parentheses > 0,
        comment > 0,
        *(indentation >= level for level in LEVELS),
        (ids >= ord("A")) & (ids <= ord("Z")),
    ]
    numbers = [
        parentheses,
        indentation,
        _since(begins),
        _since(newline),
        _since(_WHITE[ids]),
        _since(ends),
    ]
    return every_byte(np.stack(classes, 1), np.stack(numbers, 1))


def _since(marks: np.ndarray) -> np.ndarray:
    """(bytes,): how many bytes ago the last mark was; as if one stood before the text."""
    places = np.arange(len(marks))
    return places - np.maximum.accumulate(np.where(marks, places, -1))


def _depth_of_pairs(length: int, opening: np.ndarray, closing: np.ndarray) -> np.ndarray:
    """(length,) int: in how many of the pairs a byte is; both ends of a pair are inside."""
    change = np.bincount(opening, minlength=length + 1)
    change -= np.bincount(closing + 1, minlength=length + 1)
    return np.cumsum(change)[:length]


def _spans(pattern: re.Pattern[bytes], data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """First and last byte of each match."""
    spans = [match.span() for match in pattern.finditer(data)]
    first, end = np.array(spans, int).reshape(-1, 2).T
    return first, end - 1


def _quotes(ids: np.ndarray, borders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every other quote of a paragraph opens, if one follows it there."""
    places = np.flatnonzero(ids == ord('"'))
    paragraph = np.searchsorted(borders, places)
    nth = np.arange(len(places)) - np.searchsorted(paragraph, paragraph)
    opens = (nth[:-1] % 2 == 0) & (paragraph[:-1] == paragraph[1:])
    return places[:-1][opens], places[1:][opens]


def _parentheses(ids: np.ndarray, borders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that a stack would match in each paragraph.

    Depth walks up at "(" and down at ")". The steps between the same two depths alternate, so that
    sorted by depth, each "(" is before its ")", however many have no partner.
    """
    places = np.flatnonzero((ids == ord("(")) | (ids == ord(")")))
    opens = ids[places] == ord("(")
    paragraph = np.searchsorted(borders, places)
    walk = np.cumsum(np.where(opens, 1, -1))
    upper = np.where(opens, walk, walk + 1)
    order = np.argsort(upper, kind="stable")
    first, second = order[:-1], order[1:]
    pairs = (
        opens[first]
        & ~opens[second]
        & (upper[first] == upper[second])
        & (paragraph[first] == paragraph[second])
    )
    return places[first[pairs]], places[second[pairs]]


def _indentation(ids: np.ndarray) -> np.ndarray:
    """(bytes,) int: of the line that the byte is in; a blank line has none.

    One for each leading tab, and one for each step of leading spaces. The step is the commonest
    by which indentation grows from one line to the next that is not blank, of 2 or more; 4 where
    there is none.
    """
    newline = ids == ord("\n")
    starts = np.flatnonzero(np.append(True, newline)[: len(ids)])
    line = np.cumsum(newline) - newline
    solid = np.cumsum((ids != ord(" ")) & (ids != ord("\t")))
    leading = solid == np.append(0, solid)[starts][line]
    spaces, tabs, text = (
        np.bincount(line[chosen], minlength=len(starts))
        for chosen in (leading & (ids == ord(" ")), leading & (ids == ord("\t")), ~_WHITE[ids])
    )
    growth = np.diff(spaces[(text > 0) & (tabs == 0)], prepend=0)
    steps = np.bincount(growth[growth > 1], minlength=5)
    step = int(steps.argmax()) or 4
    return np.where(text > 0, tabs + spaces // step, 0)[line]
