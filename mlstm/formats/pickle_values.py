"""What the objects of a pickle are read as, and what is said and counted of them."""

import dataclasses
from typing import Any

import numpy as np


class Pending:
    """What a call gives when its value is known only after the BUILD that follows."""

    value: Any = None

    def build(self, state: Any) -> Any:
        """The value, from the state that BUILD gives."""
        raise NotImplementedError


@dataclasses.dataclass(eq=False, repr=False)
class Object:
    """In the place of an instance of another project's class: what was in it, and none of it."""

    kind: str
    arguments: tuple = ()
    state: Any = None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute that the instance had."""
        return self.state.get(name, default) if isinstance(self.state, dict) else default


def key(value: Any) -> Any:
    """`value`, if it may be a key: its hash takes no time and cannot be aimed at others'."""
    short = isinstance(value, int) and abs(value) < 1 << 60
    if not (short or value is None or isinstance(value, str | bytes)):
        raise ValueError(f"a key of the type {type(value).__name__}")
    return value


def weight(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    return 50 * len(value) if isinstance(value, list | tuple | dict | set | frozenset) else 0


def shown(name: str) -> str:
    """A name out of a file, fit for a line of text."""
    return ascii(name[:80])[1:-1]


def one_line(error: Exception) -> str:
    """What an error says, in a line that is not long."""
    return " ".join(str(error)[:400].split())[:100] or type(error).__name__
