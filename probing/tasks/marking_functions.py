"""A user's Python function that marks the bytes of a text, and what can be wrong with it."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np

from mlstm.corpus.files import user_path
from mlstm.errors import InputError


def marking_function(
    file: str, name: str, concept: str = ""
) -> Callable[[bytes, str], dict[str, np.ndarray]]:
    """The function `name` of a Python file, as one of a document's bytes and its name.

    What it returns is (bytes,) bool or float32 for each concept: of an array alone `concept`, or
    the function's name; of a dictionary its names, after `concept` where there is one.
    InputError where there is no such function, and later for what it raises or wrongly returns.
    """
    path = user_path(file)
    module = _load(path)
    function = getattr(module, name, None)
    if not callable(function):
        own = [
            k for k, v in vars(module).items() if callable(v) and v.__module__ == module.__name__
        ]
        raise InputError(f"{path}: no function {name} (functions: {', '.join(own) or 'none'})")
    return partial(_mark, function, path, name, concept)


def _load(path: Path) -> ModuleType:
    """Runs the file as a module of its own. It is in sys.modules, as dataclasses in it need."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    name = f"marks from {path.resolve()}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"{_where(path, error)}: {_said(error)}") from error
    return module


def _mark(
    function: Callable, path: Path, name: str, concept: str, data: bytes, document: str
) -> dict[str, np.ndarray]:
    try:
        result = function(data)
    except Exception as error:
        raise InputError(
            f"{_where(path, error)}: {name}() raised {_said(error)}, of document {document}"
        ) from error
    if not isinstance(result, dict):
        return {concept or name: _column(result, f"{path}: {name}()", data, document)}
    if not result:
        raise InputError(f"{path}: {name}() returned an empty dictionary, of document {document}")
    return {
        f"{concept} {key}".strip(): _column(value, f"{path}: {name}()[{key!r}]", data, document)
        for key, value in result.items()
    }


def _column(value: object, what: str, data: bytes, document: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise InputError(
            f"{what} returned {type(value).__name__} of shape {array.shape} and type "
            f"{array.dtype}, of document {document}; a bool or a number for each byte is wanted"
        )
    if len(array) != len(data):
        raise InputError(
            f"{what} returned {len(array)} values for the {len(data)} bytes of document {document}"
        )
    if array.dtype.kind == "b":
        return array
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise InputError(
            f"{what} returned {array[bad[0]]} for byte {bad[0]} of document {document}; numbers "
            "have to be finite"
        )
    return array.astype(np.float32)


def _where(path: Path, error: BaseException) -> str:
    """file:line, of the last line of the file itself that was run."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _said(error: BaseException) -> str:
    """The type and the first line of an error."""
    kind, text = type(error).__name__, error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{kind}: {text.splitlines()[0]}" if text else kind
