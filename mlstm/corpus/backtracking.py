"""Whether a regular expression might take for ever on some text, seen from the expression alone.

What is refused is what takes exponential time: choices of how much of the text a part takes, or of
alternatives, that multiply with each repeat of what they are in. Possessive parts (\\w++) choose
once and stand anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from re import _constants, _parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

from mlstm.errors import InputError

MOST = 32.0
"""Bits of choice at the most. Without exponential growth an expression has few."""
_UNBOUNDED = 4.0
"""Bits of an unbounded repeat: it chooses a place in a line, which is no exponential growth."""
_OFTEN = 1000  # times that an unbounded repeat repeats what is in it, or more
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT)
_FINAL = (_constants.POSSESSIVE_REPEAT, _constants.ATOMIC_GROUP)


def check(pattern: str) -> None:
    """Raises InputError for an expression that may, and re.error for one that is none."""
    if choices(_parser.parse(pattern), 1) > MOST:
        raise InputError(
            f"the pattern of words {pattern!r} could take for ever: a part that repeats has in it "
            r"one that repeats or has alternatives. Possessive ones may, as in \w++(?:-\w++)*+"
        )


def choices(parts: Any, times: float) -> float:
    """The bits of choice of an expression that is repeated so many times."""
    bits = 0.0
    for operator, argument in parts:
        if operator in _FINAL:
            bits += sum(choices(part, 1) for part in _parts(argument))
        elif operator is _constants.BRANCH:
            _, alternatives = argument
            bits += times * math.log2(len(alternatives))
            bits += max(choices(part, times) for part in alternatives)
        elif operator in _REPEATS:
            least, most, part = argument
            unbounded = most is _constants.MAXREPEAT
            bits += times * (_UNBOUNDED if unbounded else math.log2(most - least + 1))
            bits += choices(part, times * (_OFTEN if unbounded else max(most, 1)))
        else:
            bits += sum(choices(part, times) for part in _parts(argument))
    return bits


def _parts(argument: Any) -> Iterator[Any]:
    """The expressions in what an operator has."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for each in argument:
            yield from _parts(each)
