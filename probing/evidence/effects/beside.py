"""Which units an edit is compared with, and the comparison."""

# N controls

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mlstm.errors import InputError
from probing.evidence.effects import comparison
from probing.evidence.effects.changes import Change, rises
from probing.evidence.effects.marked import Marked
from probing.evidence.effects.tally import Tally
from probing.evidence.effects.units import Units

CONTROLS = 255  # other neurons
SETS = 100  # random sets


class Beside(NamedTuple):
    """The sets of units to compare with, of sets their balance, and what a reader has to know."""

    sets: Sequence[np.ndarray]
    balance: dict[str, tuple[float, float]]
    notes: Sequence[str]


ALONE = Beside([], {}, [])


def controls_of(known: Units, chosen: np.ndarray, count: int | None, seed: int) -> Beside:
    """Of one neuron all others that vary, or so many of them; of a set matched random ones."""
    if count == 0:
        return ALONE
    varies = known.varies
    notes = []
    if still := int(np.count_nonzero(~varies)):
        notes.append(f"{still} units of {known.site} never vary and are no controls")
    if len(chosen) > 1:
        wanted = SETS if count is None else count
        try:
            found = comparison.matched_sets(known.covariates, chosen, wanted, seed, varies)
        except InputError as error:
            return Beside([], {}, [*notes, f"no controls: {error}"])
        return Beside(list(found.sets), found.balance, notes)
    varies[chosen] = False
    others = np.flatnonzero(varies)
    most = CONTROLS if count is None else count
    if len(others) > most:
        others = np.sort(np.random.default_rng(seed).choice(others, most, replace=False))
    return Beside([np.array([unit]) for unit in others], {}, notes)


def compared(
    found: Change,
    run: Tally,
    marked: Marked,
    known: Units,
    chosen: np.ndarray,
    beside: Beside,
) -> Change:
    """The change beside those of the controls; run: of the edit, then of all of these, on the same
    bytes."""
    more = rises(run, marked)  # (1 + N, 2)
    read = int(marked.counts().sum())
    parts = []
    for effects in (more[:, 1], more[:, 1] - more[:, 0]):
        own, rest = float(effects[0]), effects[1:]
        if not len(chosen):
            what = "random subspaces of the same rank"
            parts.append(comparison.against_sets(own, rest, {}, read, what))
        elif len(chosen) > 1:
            parts.append(comparison.against_sets(own, rest, beside.balance, read))
        else:
            places = np.concatenate([chosen, *beside.sets])
            parts.append(comparison.against_others(own, rest, known.covariates[places], read))
    return dataclasses.replace(found, comparison=parts[0], specificity=parts[1])
