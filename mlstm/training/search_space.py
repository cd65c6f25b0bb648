"""The fields that a search varies, and the trials that it consists of.

    grid    "optimizer.learning_rate=1e-3,3e-3;model.hidden=64,128"   every combination
    space   "optimizer.learning_rate=log(1e-4,1e-2);data.batch=16|32"  drawn at random

In a space a field is a choice, a|b|c, or a number from uniform(low,high) or log(low,high): evenly
in the number or in its logarithm, and of a field that is a whole number, in whole numbers. No trial
is drawn twice.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlstm.errors import InputError
from mlstm.training import config as configs
from mlstm.training.config import Config

Values = dict[str, Any]
"""By the dotted name of a field."""
_DRAWN = re.compile(r"(log|uniform)\(([^,()]+),([^,()]+)\)")
LARGEST = 10_000  # trials
MISSES = 100_000  # draws in a row that were drawn before, after which there is nothing left
VALIDATED = ("data.source", "data.cleaning", "data.splits")
"""Fields that change which text is validated on: their trials could not be chosen among."""


@dataclass(frozen=True)
class Between:
    """A number from low to high."""

    low: float
    high: float
    log: bool
    whole: bool

    def draw(self, random: np.random.Generator) -> float | int:
        # Each whole number has all that is rounded to it, those at the ends too.
        reach = 0.5 if self.whole else 0.0
        low, high = self.low - reach, self.high + reach
        if self.log:
            found = math.exp(random.uniform(math.log(low), math.log(high)))
        else:
            found = random.uniform(low, high)
        if self.whole:
            return min(max(round(found), int(self.low)), int(self.high))
        return float(f"{found:.3g}")  # what stands in tables and names is what was run

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.whole else math.inf


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def draw(self, random: np.random.Generator) -> Any:
        return self.values[int(random.integers(len(self.values)))]

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)


def grid(text: str) -> list[Values]:
    """Every combination, the last field fastest. Raises InputError."""
    fields = {
        name: [_value(name, each) for each in given.split(",")]
        for name, given in _fields(text, "--grid").items()
    }
    _check_count(math.prod(map(len, fields.values())))
    for name, values in fields.items():
        if len(set(values)) < len(values):
            raise InputError(f"--grid: {name} has a value twice")
    return [dict(zip(fields, each, strict=True)) for each in itertools.product(*fields.values())]


def draws(text: str, count: int, seed: int) -> list[Values]:
    """So many at random, no two the same; the first ones are the same whatever the count. Raises
    InputError, also where there are not so many."""
    space = {name: _range(name, given) for name, given in _fields(text, "--space").items()}
    _check_count(count)
    size = math.prod(each.size for each in space.values())
    if count > size:
        raise InputError(f"--random={count}: --space has {size:,.0f} different trials, no more")
    random = np.random.default_rng(seed)
    found: dict[tuple[Any, ...], Values] = {}
    misses = 0
    while len(found) < count:
        values = {name: each.draw(random) for name, each in space.items()}
        misses = misses + 1 if tuple(values.values()) in found else 0
        found.setdefault(tuple(values.values()), values)
        if misses == MISSES:
            raise InputError(
                f"--random={count}: {len(found):,} different trials were drawn from --space, and "
                "no others come"
            )
    return list(found.values())


def check(config: Config, trials: Sequence[Values], seeds: int) -> list[Config]:
    """The config of each trial, of its first seed. Raises InputError as `from_config_dict` does,
    naming the trial, for what a search sets by itself, and for seeds that there are not."""
    if config.seeds > 1:
        raise InputError(
            f"config.seeds={config.seeds}: a search trains a model at a time; give --seeds instead"
        )
    for name in VALIDATED:
        if len({values.get(name) for values in trials}) > 1:
            raise InputError(
                f"config.{name} changes what is validated on, and bits per byte of different texts "
                "do not compare: make a search for each"
            )
    found = []
    for number, values in enumerate(trials):
        try:
            found.append(changed(config, values))
        except InputError as error:
            raise InputError(f"trial {number + 1} ({shown(values)}): {error}") from None
    changed(config, {"seed": config.seed + seeds - 1})
    return found


def changed(config: Config, values: Values) -> Config:
    """With other values of some fields, checked. Raises InputError."""
    tree = configs.to_dict(config)
    for name, value in values.items():
        *sections, last = name.split(".")
        section = tree
        for part in sections:
            section = section[part]
        section[last] = value
    return configs.from_config_dict(tree)


def shown(values: Values) -> str:
    """For people, in one line."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _fields(text: str, flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, given = part.partition("=")
        name = name.strip().removeprefix("config.")
        if not equals or not given.strip():
            raise InputError(
                f"{flag}: {part!r} is no field with values, as in model.hidden=64,128; fields are "
                'parted by ";"'
            )
        if name in ("seed", "seeds"):
            raise InputError(f"{flag}: config.{name} is not searched over; give --seeds")
        if name in found:
            raise InputError(f"{flag}: config.{name} stands twice in it")
        kind_of(name)
        found[name] = given.strip()
    if not found:
        raise InputError(f"{flag} names no field")
    return found


def kind_of(name: str) -> type:
    """The type of a field of the config. InputError where there is none, as the config has it."""
    section: Any = Config
    done = ["config"]
    for part in name.split("."):
        if not dataclasses.is_dataclass(section):
            raise InputError(f"{'.'.join(done)} is a value, it has no field {part!r}")
        types = typing.get_type_hints(section)
        if part not in types:
            fields = [field.name for field in dataclasses.fields(section)]
            close = difflib.get_close_matches(part, fields, 1, 0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"fields: {', '.join(fields)}"
            raise InputError(f"{'.'.join(done)} has no field {part!r}; {hint}")
        section = types[part]
        done.append(part)
    if dataclasses.is_dataclass(section):
        fields = ", ".join(field.name for field in dataclasses.fields(section))
        raise InputError(f"{'.'.join(done)} is a section; vary one of: {fields}")
    return section


def _value(name: str, text: str) -> Any:
    kind, text = kind_of(name), text.strip()
    words = {"true": True, "false": False}
    if kind is bool:
        if text.lower() not in words:
            raise InputError(f"config.{name} is {text!r}: it has to be True or False")
        return words[text.lower()]
    try:
        return kind(text)
    except ValueError:
        what = {int: "a whole number", float: "a number"}[kind]
        raise InputError(f"config.{name} is {text!r}: it has to be {what}") from None


def _range(name: str, text: str) -> Between | Choice:
    match = _DRAWN.fullmatch(text.replace(" ", ""))
    if match is None:
        values = tuple(_value(name, each) for each in text.split("|"))
        if len(set(values)) < len(values):
            raise InputError(f"--space: {name} has a value twice")
        return Choice(values)
    kind, log = kind_of(name), match[1] == "log"
    if kind not in (int, float):
        raise InputError(f"--space: config.{name} is no number: give choices, a|b|c")
    try:
        low, high = float(match[2]), float(match[3])
    except ValueError:
        raise InputError(f"--space: {name}={text}: both ends have to be numbers") from None
    if not (-math.inf < low < high < math.inf) or (log and low <= 0):
        raise InputError(
            f"--space: {name}={text}: the first end is below the second"
            f"{', and above 0' if log else ''}"
        )
    if kind is int:
        low, high = math.ceil(low), math.floor(high)
        if low > high:
            raise InputError(f"--space: {name}={text}: no whole number lies between")
    return Between(low, high, log, kind is int)


def _check_count(count: int) -> None:
    if not 1 <= count <= LARGEST:
        raise InputError(f"a search of {count:,} trials; it may have 1 to {LARGEST:,}")
