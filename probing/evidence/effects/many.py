"""Many edits of one site, side by side: ablations of sets of units, or edits that were given.

Units are ablated at every step,

    mean      by their mean over train documents
    resample  by what they were at a random byte of train documents, drawn anew at each step; units
              that are ablated together are taken from the same byte
    zero      by 0, which may lie far outside of the values that the rest of the network knows
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mlstm.errors import InputError
from mlstm.model.edits import Batch, Edit, batch, each_set
from mlstm.trained import Model
from probing.evidence.effects.units import Units

KINDS = ("mean", "resample", "zero")


class Many(NamedTuple):
    """`count` edits, of which any may be asked for: batch(slice)."""

    site: str
    count: int
    batch: Callable[[slice], Batch]


def ablations(
    model: Model, of: Units, sets: Sequence[Iterable[int]], kind: str = "mean", seed: int = 0
) -> Many:
    """The ablation of each set of units; one without any is the unedited model. InputError for an
    unknown kind."""
    source: dict[str, Any]
    if kind not in KINDS:
        raise InputError(f'an ablation is by "{kind}"; it is one of {", ".join(KINDS)}')
    if kind == "resample":
        source = {"pool": of.pool, "seed": seed}
    else:
        source = {"value": of.mean if kind == "mean" else 0.0}
    rows = [np.asarray(list(units), int) for units in sets]

    def some(part: slice) -> Batch:
        chosen = [units.tolist() for units in rows[part]]
        return each_set(model.config, of.site, chosen, **source)

    return Many(of.site, len(rows), some)


def side_by_side(model: Model, site: str, lists: Sequence[Sequence[Edit]]) -> Many:
    """Lists of edits that differ in units and values alone."""
    return Many(site, len(lists), lambda part: batch(model.config, lists[part]))
