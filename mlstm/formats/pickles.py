"""Pickles of strangers, read without running anything that is in them.

What a file may call is what the caller lists; a pickle that asks for more is refused where it asks.
Memory and time stay within a small multiple of the file's own size: what calls build is counted,
and no model needs as many steps as a file that is made to be endless.
"""

import io
import mmap
import pickletools
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlstm.errors import InputError
from mlstm.formats.pickle_machine import Machine
from mlstm.formats.pickle_values import Object, Pending, key, one_line, shown

__all__ = [
    "Object",
    "numpy_globals",
    "one_line",
    "python_globals",
    "restricted",
    "shown",
    "stand_in",
]

STEPS = 200_000
"""Opcodes that are read of one pickle. A model's, its arrays apart, has some thousands."""

_TYPE = re.compile(r"[<>|=]?([biuf][1248]|[SU][1-9][0-9]{0,5}|O[48]?)")


def restricted(
    data: bytes | mmap.mmap,
    allowed: Mapping[tuple[str, str], Any],
    where: str,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The object that a pickle describes, made of `allowed` alone.

    allowed: (module, name) to what stands for it; only these are called, and have to bear any
    arguments: what they raise becomes an InputError. persistent: from a persistent id to what it
    stands for. Of an mmap the pickle at its position is read, and the position left behind it.
    Strings of Python 2 come as str, a character for each byte. What was read may hold itself, or
    one part very often: look up what is wanted, never walk over all. InputError begins with
    `where`.
    """
    stream: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    machine = Machine(allowed, where, persistent, len(data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in a text
            for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if step == STEPS:
                    raise InputError(f"{where}: its pickle has over {STEPS:,} steps: no model's")
                if opcode.name == "STOP":
                    return machine.result()
                machine.do(opcode.name, argument)
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, ArithmeticError, MemoryError) as error:
        raise InputError(f"{where}: a damaged pickle ({one_line(error)})") from error
    raise InputError(f"{where}: a pickle that does not end")


def stand_in(kind: str) -> Callable[..., Object]:
    """For `allowed`: what is called `kind` is read as an `Object`."""
    return lambda *arguments: Object(kind, arguments)


def python_globals() -> dict[tuple[str, str], Any]:
    """What Python's own collections need. An OrderedDict comes as a dict."""
    found: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): _ordered,
        ("_codecs", "encode"): _encoded,
    }
    for module in ("builtins", "__builtin__"):
        found[module, "set"] = lambda items=(): set(_keys(items))
        found[module, "bytes"] = lambda: b""
        found[module, "frozenset"] = lambda items=(): frozenset(_keys(items))
    return found


def numpy_globals() -> dict[tuple[str, str], Any]:
    """What numpy's arrays and scalars need, of numbers, strings and objects; and Python's own."""
    found = {
        **python_globals(),
        ("numpy", "ndarray"): "numpy.ndarray",
        ("numpy", "dtype"): _Type,
    }
    for core in ("numpy.core", "numpy._core"):
        found[f"{core}.multiarray", "_reconstruct"] = lambda *_: _Array()
        found[f"{core}.multiarray", "scalar"] = _scalar
        found[f"{core}.numeric", "_frombuffer"] = _from_buffer
    return found


def _ordered(items: Any = ()) -> dict:
    return {key(name): value for name, value in _listed(items)}


def _keys(items: Any) -> list[Any]:
    return [key(item) for item in _listed(items)]


def _listed(items: Any) -> list | tuple:
    if not isinstance(items, list | tuple):
        raise ValueError("a collection that is made of no list")
    return items


def _encoded(text: str, codec: str = "latin1") -> bytes:
    """Bytes as protocol 2 of Python 3 writes them."""
    if codec not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {shown(codec)}")
    return str.encode(text, "latin-1")


class _Type(Pending):
    """numpy.dtype: the name is its argument, the order of bytes its state."""

    def __init__(self, name: str, *_: Any):
        if not _TYPE.fullmatch(name):
            raise ValueError(f"a type {shown(name)}: neither numbers nor text nor objects")
        self.name = name

    def build(self, state: Any) -> np.dtype:
        order = state[1]
        return np.dtype(self.name).newbyteorder(order if order in ("<", ">") else "=")


class _Array(Pending):
    """numpy.ndarray: all of it is its state."""

    def build(self, state: Any) -> np.ndarray:
        shape, kind, columns_first, content = state[-4:]
        return _array(content, kind, shape, "F" if columns_first else "C")


def _array(content: Any, kind: np.dtype, shape: tuple, order: str) -> np.ndarray:
    if not isinstance(kind, np.dtype) or type(shape) is not tuple or len(shape) > 32:
        raise ValueError("an array without a type or a shape")
    count = 1
    for length in shape:
        if type(length) is not int or not 0 <= length < 1 << 62:
            raise ValueError("an array of no shape")
        count *= length
    if kind.hasobject:
        if type(content) is not list or len(content) != count:
            raise ValueError(f"an array of {count} objects with other content")
        flat = np.empty(count, object)
        for place, item in enumerate(content):
            flat[place] = item
    else:
        raw = _raw(content)
        if len(raw) != count * kind.itemsize:
            raise ValueError(f"an array of {count * kind.itemsize} bytes with {len(raw)}")
        flat = np.frombuffer(raw, kind, count) if count else np.empty(0, kind)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: np.dtype, content: Any) -> Any:
    return _array(content, kind, (1,), "C")[0]


def _from_buffer(content: Any, kind: np.dtype, shape: tuple, order: str) -> np.ndarray:
    return _array(content, kind, shape, order)


def _raw(content: Any) -> bytes | bytearray:
    """Python 2 kept bytes in strings."""
    raw = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(raw, bytes | bytearray):
        raise ValueError("an array whose content is no bytes")
    return raw
