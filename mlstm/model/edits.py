"""Changing states while the model runs.

An edit sends a state x of a site to keep * x + add, unit by unit. Which sites are edited is
compiled in; the units and the values are arrays, so that other values never recompile and `vmap`
runs many edits at once. An edit of c acts before h = o tanh(c) is formed; an edit of h acts on what
the next step reads and on the readout. A site emits the value after its edit.
"""

import dataclasses
import math
import re
from collections.abc import Iterable

import jax
import numpy as np

from mlstm.errors import InputError
from mlstm.model.sites import Neuron, check_neuron, parse_neuron

OPERATIONS = ("=", "+=", "*=")
LARGEST = 1e6
"""Of an edit's value; states are of the order of 1, and float32 must hold what edits add up to."""


@dataclasses.dataclass(frozen=True)
class Edit:
    """What happens to one neuron at every step: set ("="), add ("+=") or multiply ("*=")."""

    neuron: Neuron
    operation: str
    value: float

    def __str__(self):
        return f"{self.neuron}{self.operation}{self.value:g}"


def parse_edit(text: str) -> Edit:
    """ "0.c[17]=1.0", "0.c[17]+=0.5" or "0.h[3]*=0" as an Edit. Raises InputError."""
    match = re.fullmatch(r"([^=+*]*)(=|\+=|\*=)([^=]*)", text)
    if match is None:
        raise InputError(
            f'"{text}" is not an edit: write a neuron, one of {" ".join(OPERATIONS)}, and a '
            'number, as in "0.c[17]=1.0"'
        )
    neuron = parse_neuron(match[1])
    try:
        value = float(match[3])
    except ValueError:
        value = math.nan
    if not abs(value) < LARGEST:  # nor a NaN
        raise InputError(f'"{match[3]}" in the edit "{text}" is not a number below {LARGEST:g}')
    return Edit(neuron, match[2], value)


def edits(config, changes: str | Iterable[Edit | str]) -> dict[str, dict[str, jax.Array]] | None:
    """Arrays for a list of edits, applied in its order: {site: {"keep": (H,), "add": (H,)}}.

    Raises InputError for a site or unit that the model lacks. None when there are no edits.
    """
    if isinstance(changes, str):
        changes = [changes]
    arrays: dict[str, dict[str, np.ndarray]] = {}
    for change in changes:
        change = parse_edit(change) if isinstance(change, str) else change
        neuron = check_neuron(config, str(change.neuron))
        site = arrays.setdefault(
            str(neuron.site),
            {
                "keep": np.ones(config.hidden, np.float32),
                "add": np.zeros(config.hidden, np.float32),
            },
        )
        keep, add = {"=": (0, change.value), "+=": (1, change.value), "*=": (change.value, 0)}[
            change.operation
        ]
        site["keep"][neuron.unit] *= keep
        site["add"][neuron.unit] = site["add"][neuron.unit] * keep + add
    return jax.tree.map(jax.numpy.asarray, arrays) or None
