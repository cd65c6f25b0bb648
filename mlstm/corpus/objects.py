"""The text of one line that is an object: strict JSON, or the Python literal of older reviews."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

from mlstm.corpus import literals
from mlstm.errors import InputError

DEFAULT_FIELD = "text"
_DEFAULT_FIELDS = (DEFAULT_FIELD, "reviewText")
_NAMED, _LONGEST = 10, 40  # names of fields in an error, and characters of each


def read_object(line: bytes) -> dict[str, Any]:
    """The object. Raises InputError, which says what is wrong but not where."""
    try:
        found = _otherwise(line) if line.startswith(b"{'") else orjson.loads(line)
    except InputError:
        raise
    except (ValueError, RecursionError):
        found = _otherwise(line)
    if not isinstance(found, dict):
        raise InputError('no object; a line is one, as {"text": "..."}')
    return found


def text_of(found: dict[str, Any], field: str = DEFAULT_FIELD) -> str:
    """The text of an object: `field`, or "reviewText" where the default is not there. Raises
    InputError, which says what is wrong but not where."""
    name = field_among(found, field)
    text = found[name]
    if not isinstance(text, str):
        raise InputError(f"field {json.dumps(name)} is {_short(text)}, no text")
    return text


def field_among(fields: Iterable[str], field: str = DEFAULT_FIELD) -> str:
    """The name of the field that holds the text. Raises InputError where there is none."""
    for name in (field,) if field != DEFAULT_FIELD else _DEFAULT_FIELDS:
        if name in fields:
            return name
    names = list(fields)
    said = ", ".join(_named(name) for name in names[:_NAMED]) or "none"
    if (more := len(names) - _NAMED) > 0:
        said += f" and {more:,} more"
    raise InputError(f'no field "{field}" (fields: {said}). Name it with --text_field')


def encoded(text: str, field: str) -> bytes:
    """As UTF-8. Raises InputError."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InputError(f"field {json.dumps(field)} has half of a surrogate pair") from None


def _otherwise(line: bytes) -> Any:
    """What the first reader refused: JSON that only Python's has (NaN, half of a pair), or a
    literal."""
    try:
        text = line.decode("utf-8-sig").strip()
        if not text.startswith("{'"):
            return json.loads(text)
        of_json = None
    except (ValueError, RecursionError) as error:
        of_json = error
    if isinstance(of_json, UnicodeDecodeError) or not text.startswith("{"):
        raise InputError(f"no JSON: {of_json}") from None
    try:
        return literals.read(text)
    except ValueError as error:
        if text.startswith('{"'):
            raise InputError(f"no JSON: {of_json}") from None
        raise InputError(f"neither JSON nor a Python literal: {error}") from None


def _short(value: Any) -> str:
    try:
        return json.dumps(value, default=repr)[:_LONGEST]
    except (TypeError, ValueError, RecursionError):  # a literal may have a tuple for a key
        return repr(value)[:_LONGEST]


def _named(name: Any) -> str:
    """As it is where that is short and plain."""
    said = name if isinstance(name, str) and re.fullmatch(r"[\w./-]+", name) else repr(name)
    return said if len(said) <= _LONGEST else said[:_LONGEST] + "..."
