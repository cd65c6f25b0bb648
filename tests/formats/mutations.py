"""Damage to files, and what a reader has to do with it: one clear line, or a sound model."""

import copy
import random
import shutil
import signal
import struct
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlstm.errors import InputError
from mlstm.formats.found import Found, checked

SECONDS = 20
"""A read that takes longer hangs: the models of these tests are tiny."""

EXTREME = [
    *(struct.pack("<i", value) for value in (0, -1, 1, 2**31 - 1, -(2**31))),
    *(struct.pack("<q", value) for value in (0, -1, 2**32, 2**63 - 1, -(2**63))),
    *(struct.pack("<f", value) for value in (float("nan"), float("inf"), 3e38)),
    *(struct.pack("<d", value) for value in (float("nan"), float("-inf"), 1e308)),
    b"\xff", b"\x00", b"\xff" * 16, b"\x00" * 16, b"99999999999", b"-1", b"(", b"'", b"\n",
]  # fmt: skip

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 2**31 - 1, 2**31, 10**13, 2**63, 2**64, -(10**30), 10**400,
    0.5, 1.0, -0.0, 1e308, float("nan"), float("inf"), "", "a", "1", "none", "linear", "tied", "\n",
    "\u6f22", "\ud800", "x" * 3000, [], [1], [[]], [None], {}, {"a": 1}, {"kind": "bytes"},
]  # fmt: skip
"""Values of JSON that a reader may not expect."""


def mutated(data: bytes, seed: int) -> bytes:
    """The bytes with one to four kinds of damage, the same for the same seed."""
    draw = random.Random(seed)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        data = draw.choice([_flip, _extreme, _cut, _delete, _double, _swap, _insert])(data, draw)
    return data


def survives(
    read: Callable[[Path], Found],
    path: Path,
    count: int,
    *,
    first: int = 0,
    damage: Callable[[Path, Path, int], None] | None = None,
) -> tuple[int, int]:
    """Reads `count` mutations of the file at `path`; of a folder one of its files is mutated.

    damage: writes, of the file at the first path, the mutation of this seed to the second; without
    it bytes are changed.

    Each has to give an InputError of one line, or a model that is sound: `read` itself checks it
    with `found.checked`. Fails, naming the mutation, on any other exception, warning, or a read of
    more than `SECONDS`. Returns (how many were refused, how many gave a model).
    """
    refused = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / path.name
            (damage or _copy_with_damage)(path, place, seed)
            try:
                found = _in_time(read, place)
            except InputError as error:
                message = str(error)
                assert message, f"mutation {seed}: an empty message"
                assert "\n" not in message, f"mutation {seed}: more than one line: {message!r}"
                assert len(message) < 2000, f"mutation {seed}: too long: {message[:300]!r}..."
                refused += 1
                continue
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                raise AssertionError(f"mutation {seed} of {path}: {error!r}") from error
            try:
                checked(found, "mutated")
            except InputError as error:
                raise AssertionError(
                    f"mutation {seed} of {path} was let through: {error}"
                ) from error
    return refused, count - refused


def mutated_json(said: Any, seed: int) -> Any:
    """The JSON value with one to three of its parts changed, the same for the same seed."""
    draw = random.Random(seed)
    for _ in range(draw.choice([1, 1, 2, 3])):
        if not (isinstance(said, dict | list) and said) or draw.random() < 0.05:
            return draw.choice(ODD)
        part = said = copy.deepcopy(said)
        while True:
            key = draw.choice(list(part) if isinstance(part, dict) else range(len(part)))
            if isinstance(part[key], dict | list) and part[key] and draw.random() < 0.7:
                part = part[key]
                continue
            if draw.random() < 0.15:
                del part[key]
            elif draw.random() < 0.1 and isinstance(part, dict):
                part[draw.choice(["", "other", "a.b", "1"])] = part.pop(key)
            else:
                part[key] = draw.choice(ODD)
            break
    return said


def _copy_with_damage(path: Path, place: Path, seed: int) -> None:
    if path.is_dir():
        shutil.copytree(path, place)
        files = sorted(file for file in place.rglob("*") if file.is_file())
        file = random.Random(seed).choice(files)
        file.write_bytes(mutated(file.read_bytes(), seed))
    else:
        place.write_bytes(mutated(path.read_bytes(), seed))


def _in_time(read: Callable[[Path], Found], place: Path) -> Found:
    def stop(*_):
        raise TimeoutError(f"more than {SECONDS} seconds")

    before, started = signal.signal(signal.SIGALRM, stop), time.monotonic()
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read(place)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    if time.monotonic() - started > SECONDS:
        raise TimeoutError(f"more than {SECONDS} seconds")
    return found


def _place(data: bytes, draw: random.Random) -> int:
    """Half of all damage is near the beginning or the end, where headers and indices lie."""
    end = len(data)
    near = min(end, 200)
    return draw.choice(
        [
            draw.randint(0, end),
            draw.randint(0, end),
            draw.randint(0, near),
            end - draw.randint(0, near),
        ]
    )


def _flip(data: bytes, draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 8])):
        if made:
            made[min(_place(data, draw), len(made) - 1)] ^= 1 << draw.randrange(8)
    return bytes(made)


def _extreme(data: bytes, draw: random.Random) -> bytes:
    place, number = _place(data, draw), draw.choice(EXTREME)
    if draw.random() < 0.5:
        number = number[::-1]  # of the other byte order
    return data[:place] + number + data[place + len(number) :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: _place(data, draw)]


def _delete(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return data[:place] + data[place + _length(draw) :]


def _double(data: bytes, draw: random.Random) -> bytes:
    place, length = _place(data, draw), _length(draw)
    return data[: place + length] + data[place:]


def _swap(data: bytes, draw: random.Random) -> bytes:
    (a, b), length = sorted((_place(data, draw), _place(data, draw))), _length(draw)
    length = min(length, b - a)
    return (
        data[:a]
        + data[b : b + length]
        + data[a + length : b]
        + data[a : a + length]
        + data[b + length :]
    )


def _insert(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return data[:place] + draw.randbytes(_length(draw)) + data[place:]


def _length(draw: random.Random) -> int:
    return draw.choice([1, 2, 4, 8, 16, 64, 512])
