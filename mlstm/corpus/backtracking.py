"""Whether a regular expression might take for ever on some text, seen from the expression alone.

What is refused is what takes exponential time: a part that repeats many times, and inside of it a
choice of how much of the text it takes. Possessive parts (\\w++) choose once and stand anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from re import _constants, _parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

from mlstm.errors import InputError

_MANY = 16
"""So many repeats are as good as any number."""
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT)
_FINAL = (_constants.POSSESSIVE_REPEAT, _constants.ATOMIC_GROUP)


def check(pattern: str) -> None:
    """Raises InputError for an expression that may, and re.error for one that is none."""
    if _chooses(_parser.parse(pattern), repeated=False):
        raise InputError(
            f"the pattern of words {pattern!r} could take for ever: a part that repeats has in it "
            r"one that repeats or has alternatives. Possessive ones may, as in \w++(?:-\w++)*+"
        )


def _chooses(parts: Any, *, repeated: bool) -> bool:
    """Whether there is such a part; `repeated`: in one that repeats many times."""
    for operator, argument in parts:
        inside = repeated
        if operator in _FINAL:
            inside = False
        elif operator is _constants.BRANCH and repeated:
            return True
        elif operator in _REPEATS:
            least, most, _ = argument
            if repeated and least != most:
                return True
            inside = repeated or most >= _MANY
        if any(_chooses(part, repeated=inside) for part in _parts(argument)):
            return True
    return False


def _parts(argument: Any) -> Iterator[Any]:
    """The expressions in what an operator has."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for each in argument:
            yield from _parts(each)
