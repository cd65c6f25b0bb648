"""Which units are pruned: those of a concept, as many at random, and as many that are like them.

Units are those of one or more sites, ranked together. Of every site the twins have as many as the
concept's set, all of them other units.
"""

# P places: units of all ranked sites, one site after another

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError
from mlstm.loading import Model
from mlstm.model import language_model, pruning
from mlstm.model.cells import CELLS
from mlstm.model.pruning import Units
from mlstm.model.sites import parse_site
from probing.evidence import ranking
from probing.plasticity.directions import directions
from probing.plasticity.rows import Kept

RANKINGS = ("auc", "probeless", "probeless_standardised", "probe", "gaussian", "iou")
TWINS = ("random", "matched", "untouched")


@dataclass(frozen=True)
class Balance:
    """What a set of units is like: means over it, and how far they are from the concept's set in
    standard deviations over all units."""

    deviation: float  # of the states
    output: float  # norm of the weights that read the unit
    deviation_apart: float
    output_apart: float


def parse_count(text: str, units: int) -> int:
    """ "32" units, or "0.1" of all of them, rounded, at least one. InputError for a share of 0 or
    over 1, or more units than there are."""
    if re.fullmatch(r"\d{1,9}", text):
        count = int(text)
        if not 1 <= count <= units:
            raise InputError(f"prune {text}: it is from 1 to {units}, the units of the sites")
        return count
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise InputError(
            f"prune {text!r}: a number of units, as 32, or a share above 0 and at most 1, as 0.1"
        )
    return max(1, round(share * units))


def ranked(kept: Kept, name: str, concept: int, count: int) -> np.ndarray:
    """(P,) places, from the one that tells most of the class on train documents. `count`: how many
    the greedy Gaussian selects, whose held-out rows are dev. InputError for an unknown name."""
    if name not in RANKINGS:
        raise InputError(f"ranking {name!r}: it is one of {', '.join(RANKINGS)}")
    x, y = kept.x("train"), kept.y("train")[:, concept]
    if y.all() or not y.any():
        raise InputError("the train documents have no position with the concept, or none without")
    if name == "auc":
        return ranking.auc(x, y).order
    if name == "iou":
        return ranking.iou(x, y).order
    if name == "gaussian":
        held = kept.x("dev"), kept.y("dev")[:, concept]
        return ranking.gaussian(x, y, *held, count).order
    if name == "probe":
        return ranking.probe_weights(directions(kept).weights[concept], np.ones(x.shape[1])).order
    means = np.stack([x[~y].mean(0), x[y].mean(0)])
    return ranking.probeless(means, x.std(0) if name != "probeless" else None).order


def units_at(sites: Sequence[str], places: np.ndarray, hidden: int) -> Units:
    """Places as units by site."""
    found: dict[str, list[int]] = {}
    for place in sorted(places.tolist()):
        found.setdefault(sites[place // hidden], []).append(place % hidden)
    return {site: tuple(units) for site, units in found.items()}


def places_of(sites: Sequence[str], units: Units, hidden: int) -> np.ndarray:
    """Units by site as places, rising."""
    return np.array(
        sorted(sites.index(s) * hidden + unit for s, of in units.items() for unit in of), int
    )


def check_sites(config, sites: Sequence[str]) -> tuple[str, ...]:
    """Sites whose units can be pruned, by their canonical names. InputError."""
    return tuple(pruning.check_units(config, dict.fromkeys(sites, (0,))))


def check_twins(config, sites: Sequence[str], concept: Units, twins: Sequence[str]) -> None:
    """InputError where the other units are too few for a twin of as many, and for unknown twins."""
    for twin in twins:
        if twin not in TWINS:
            raise InputError(f"twin {twin!r}: it is one of {', '.join(TWINS)}")
    for site in sites:
        count, others = len(concept.get(site, ())), config.hidden - len(concept.get(site, ()))
        if count > others and set(twins) - {"untouched"}:
            raise InputError(
                f"{count} of the {config.hidden} units of {site} pruned leave {others} others: too "
                "few for a twin that prunes as many; prune at most half, or leave these twins out"
            )


def random_units(config, concept: Units, seed: int) -> Units:
    """As many of each site, drawn uniformly from all others."""
    draw = np.random.default_rng([seed, 1])
    found = {}
    for site, units in concept.items():
        others = np.setdiff1d(np.arange(config.hidden), units)
        chosen = draw.choice(others, len(units), replace=False)
        found[site] = tuple(sorted(chosen.tolist()))
    return found


def matched_units(config, sites: Sequence[str], concept: Units, like: np.ndarray, seed: int):
    """As many of each site, each like one of the concept's: the nearest in deviation and output
    weight, `like` (P, 2), on a log scale, that is left. They choose in an order drawn by the seed.
    """
    draw = np.random.default_rng([seed, 2])
    scaled = _log_scaled(like).reshape(len(sites), config.hidden, 2)
    found = {}
    for site, units in concept.items():
        of_site = scaled[list(sites).index(site)]
        left = np.setdiff1d(np.arange(config.hidden), units).tolist()
        chosen = []
        for unit in draw.permutation(list(units)).tolist():
            apart = ((of_site[left] - of_site[unit]) ** 2).sum(1)
            chosen.append(left.pop(int(np.argmin(apart))))
        found[site] = tuple(sorted(chosen))
    return found


def likeness(model: Model, sites: Sequence[str], x: np.ndarray) -> np.ndarray:
    """(P, 2): the standard deviation of the states x (n, P) of each unit, and the norm of the
    weights that read it."""
    outputs = [output_norms(model, site) for site in sites]
    return np.stack([x.std(0, dtype=np.float64), np.concatenate(outputs)], 1)


def output_norms(model: Model, site: str) -> np.ndarray:
    """(H,) norms of all weights, behind normalisation, that read each unit: of the recurrence, the
    layer above, the readout."""
    config, place = model.config, parse_site(site)
    folded = language_model.fold(config, model.parameters)
    cell, kind = CELLS[config.cell], pruning.unit_kind(config, place.name)
    of_layer = folded["layers"][str(place.layer)]["weights"]
    readers = [of_layer[name] for name, reads in cell.reads.items() if reads == kind]
    if kind == "h" and place.layer + 1 < config.layers:
        above = folded["layers"][str(place.layer + 1)]["inputs"]
        readers += [(above[name],) for name in cell.input_gates]
    elif kind == "h":
        readers.append(folded["readout"]["w"])
    squares = [
        np.square(np.asarray(piece, np.float64)).reshape(config.hidden, -1).sum(1)
        for pieces in readers
        for piece in pieces
    ]
    return np.sqrt(np.sum(squares, 0))


def balance(like: np.ndarray, concept: np.ndarray, places: np.ndarray) -> Balance:
    """Of the set at these places beside the concept's."""
    spread = like.std(0)
    mean = like[places].mean(0)
    apart = (mean - like[concept].mean(0)) / np.where(spread > 0, spread, 1)
    return Balance(*mean.tolist(), *apart.tolist())


def _log_scaled(like: np.ndarray) -> np.ndarray:
    logs = np.log(np.maximum(like, 1e-12))
    spread = logs.std(0)
    return (logs - logs.mean(0)) / np.where(spread > 0, spread, 1)
