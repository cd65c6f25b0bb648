"""Checkpoints of TensorFlow's Saver, and names of its variables.

A checkpoint itself is not read: three lines of TensorFlow write its variables as a .npz, which is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mlstm.errors import InputError

TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
"""The last bytes of a checkpoint's index, and of a checkpoint of version 1, which is one file."""

_PART = re.compile(r"(.+)\.(index|meta|data-\d{5}-of-\d{5}(\.?[a-z]{2})?)")
_OF_TRAINING = re.compile(
    r"(^|_)(Adam(_\d+)?|RMSProp(_\d+)?|Momentum|Adagrad|ExponentialMovingAverage)$|(^|_)(beta[12]_power|global_step|lr|Variable(_\d+)?)$"
)


def is_checkpoint(path: Path) -> bool:
    """Whether it is a checkpoint: its prefix, one of its files, a folder of them, or one file."""
    try:
        if path.is_dir():
            return any(_PART.fullmatch(file.name) for file in path.iterdir())
        if path.is_file():
            return bool(_PART.fullmatch(path.name)) or _ends_with(path, TABLE_MAGIC)
        return path.with_name(path.name + ".index").is_file()
    except OSError:
        return False


def refuse_checkpoint(path: Path) -> None:
    """InputError, which says what to do, where it is a checkpoint."""
    if not is_checkpoint(path):
        return
    prefix = path
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if _PART.fullmatch(file.name))
        prefix = files[-1]
    match = _PART.fullmatch(prefix.name)
    if match:
        prefix = prefix.with_name(match[1])
    raise InputError(
        f"{path}: a checkpoint of TensorFlow's Saver, which only TensorFlow reads; run: import "
        f"numpy, tensorflow as tf; read = tf.train.load_checkpoint({str(prefix)!r}); "
        'numpy.savez("model.npz", **{name: read.get_tensor(name) for name in '
        "read.get_variable_to_shape_map()}); and give model.npz (join split parts first, with cat)"
    )


def by_key(names: Iterable[str], where: str) -> dict[str, str]:
    """From a variable's name as "lstm_W_f" to its name in the file: "lstm/W_f", "lstm.W_f",
    "lstm__W_f", "lstm/W_f:0" are one. What an optimizer kept is left out. InputError where two
    names are one."""
    found: dict[str, str] = {}
    for name in sorted(names):
        key = re.sub(r"[/._]+", "_", name.removesuffix(":0")).strip("_")
        if _OF_TRAINING.search(key):
            continue
        if key in found:
            raise InputError(f"{where}: {found[key][:80]!r} and {name[:80]!r} are one name")
        found[key] = name
    return found


def _ends_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(magic)))
        return file.read() == magic
