"""A Python literal read as data: strings, numbers, True, False, None, lists, tuples and dicts.

The older Amazon reviews are written so, a dict on each line. Nothing is run: this is a reader of
its own, of bounded depth and in one pass; sets, bytes, complex numbers and whatever else Python
has are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

DEPTH = 32
_LONGEST_NUMBER = 400
_SPACE = re.compile(r"[ \t\r\n\f]*")
_STRING = re.compile(
    r"""[uU]?(?:'([^'\\\n]*(?:\\.[^'\\\n]*)*)'|"([^"\\\n]*(?:\\.[^"\\\n]*)*)")""", re.DOTALL
)
# The commonest: a key and a text, a number or a few of them, and what ends it.
_PAIR = re.compile(
    r"""\s*'([^'\\\n]*)'\s*:\s*(?:'([^'\\\n]*(?:\\.[^'\\\n]*)*)'"""
    r"""|"([^"\\\n]*(?:\\.[^"\\\n]*)*)"|(-?\d{1,15}(?:\.\d{1,15})?)"""
    r"""|\[(\d{1,15}(?:, ?\d{1,15}){0,9})\])\s*(?=[,}])""",
    re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z_]\w*")
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL
)
_WORDS = {"True": True, "False": False, "None": None}
_SIMPLE = {
    "\n": "", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "n": "\n",
    "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip


def read(text: str) -> Any:
    """The value of a text that is one literal. Raises ValueError, which says what is wrong and at
    which character."""
    value, place = _value(text, _after_space(text, 0), 0)
    place = _after_space(text, place)
    if place != len(text):
        raise ValueError(f"{text[place]!r} behind the end, at character {place}")
    return value


def _value(text: str, place: int, depth: int) -> tuple[Any, int]:
    first = text[place : place + 1]
    if first in ("'", '"') or (first in ("u", "U") and text[place + 1 : place + 2] in ("'", '"')):
        return _string(text, place)
    if first in _OPENING and first:
        if depth == DEPTH:
            raise ValueError(f"nested deeper than {DEPTH}, at character {place}")
        return _OPENING[first](text, place + 1, depth + 1)
    if match := _NUMBER.match(text, place):
        return _number(match), match.end()
    if (match := _WORD.match(text, place)) and match[0] in _WORDS:
        return _WORDS[match[0]], match.end()
    raise ValueError(
        f"{text[place : place + 20]!r} is no value, at character {place}"
        if first
        else "it breaks off"
    )


def _string(text: str, place: int) -> tuple[str, int]:
    parts = []
    while match := _STRING.match(text, place):  # neighbours are one string
        said = match[1] or match[2] or ""
        parts.append(_ESCAPE.sub(_unescaped, said) if "\\" in said else said)
        place = match.end()
        after = _after_space(text, place)
        if text[after : after + 1] not in ("'", '"'):
            return "".join(parts), place
        place = after
    raise ValueError(f"a string without an end, at character {place}")


def _unescaped(match: re.Match) -> str:
    hexadecimal = match[1] or match[2] or match[3]
    if hexadecimal:
        code = int(hexadecimal, 16)
        if code > 0x10FFFF:
            raise ValueError(f"{match[0]} is no character")
        return chr(code)
    if match[4]:
        return chr(int(match[4], 8))
    if match[5] in "xuUN":
        raise ValueError(f"{match[0]} is no escape that is read here")
    return _SIMPLE[match[5]] if match[5] in _SIMPLE else match[0]


def _number(match: re.Match) -> int | float:
    said = match[0]
    if len(said) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(said)} digits, at character {match.start()}")
    try:
        return int(said)
    except ValueError:
        return float(said)


def _items(closing: str) -> Callable[[str, int, int], tuple[list, int, bool]]:
    def read_items(text: str, place: int, depth: int) -> tuple[list, int, bool]:
        found, comma = [], False
        while True:
            place = _after_space(text, place)
            if text[place : place + 1] == closing:
                return found, place + 1, comma
            if found and not comma:
                raise ValueError(f"a comma or {closing} is missing at character {place}")
            value, place = _value(text, place, depth)
            found.append(value)
            place = _after_space(text, place)
            comma = text[place : place + 1] == ","
            place += comma

    return read_items


_list_items, _tuple_items = _items("]"), _items(")")


def _list(text: str, place: int, depth: int) -> tuple[list, int]:
    found, place, _ = _list_items(text, place, depth)
    return found, place


def _tuple(text: str, place: int, depth: int) -> tuple[Any, int]:
    """Brackets around one value without a comma are only brackets."""
    found, place, comma = _tuple_items(text, place, depth)
    return (found[0] if len(found) == 1 and not comma else tuple(found)), place


def _dict(text: str, place: int, depth: int) -> tuple[dict, int]:
    found: dict[Any, Any] = {}
    comma = True
    while True:
        while comma and (match := _PAIR.match(text, place)):
            name, single, double, number, numbers = match.groups()
            if numbers is not None:
                found[name] = [int(each) for each in numbers.split(",")]
            elif number is not None:
                found[name] = float(number) if "." in number else int(number)
            else:
                said = double if single is None else single
                found[name] = _ESCAPE.sub(_unescaped, said) if "\\" in said else said
            place = match.end()
            comma = text[place] == ","
            place += comma
        place = _after_space(text, place)
        if text[place : place + 1] == "}":
            return found, place + 1
        if not comma:
            raise ValueError(f"a comma or }} is missing at character {place}")
        key, place = _value(text, place, depth)
        place = _after_space(text, place)
        if text[place : place + 1] != ":":
            raise ValueError(f"a colon is missing at character {place}")
        value, place = _value(text, _after_space(text, place + 1), depth)
        try:
            found[key] = value
        except TypeError:
            raise ValueError(f"a key that is a {type(key).__name__}") from None
        place = _after_space(text, place)
        comma = text[place : place + 1] == ","
        place += comma


_OPENING: dict[str, Callable[[str, int, int], tuple[Any, int]]] = {
    "[": _list,
    "(": _tuple,
    "{": _dict,
}


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place
