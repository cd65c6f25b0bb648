"""Which units are pruned: those of a concept, as many at random, and as many that are like them.

Units are those of one or more sites, ranked together. Of every site the twins have as many as the
concept's set, all of them other units.
"""

# P places: units of all ranked sites, one site after another

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError
from mlstm.model import pruning
from mlstm.model.pruning import Units
from mlstm.trained import Model
from probing.evidence import ranking
from probing.evidence.effects.comparison import matched_sets
from probing.evidence.effects.units import Units as Known
from probing.evidence.effects.units import output_weight
from probing.plasticity.directions import directions
from probing.plasticity.rows import Kept

RANKINGS = ("auc", "probeless", "probeless_standardised", "probe", "gaussian", "iou")
TWINS = ("random", "matched", "untouched")


@dataclass(frozen=True)
class Balance:
    """What a set of units is like: means over it, and how far it is from the concept's set, in
    standard deviations of the logs over all units."""

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
    for place in np.sort(places):
        found.setdefault(sites[int(place) // hidden], []).append(int(place) % hidden)
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
    needed = 2 if "matched" in twins else 1 if "random" in twins else 0
    for site in sites:
        count, others = len(concept.get(site, ())), config.hidden - len(concept.get(site, ()))
        if needed * count > others:
            raise InputError(
                f"{count} of the {config.hidden} units of {site} pruned leave {others} others: too "
                "few for twins that prune as many; prune at most half, with the matched twin a "
                "third, or leave twins out"
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


def matched_units(concept: Units, known: Mapping[str, Known], seed: int) -> Units:
    """As many of each site, like the concept's in variance and output weight: drawn by the seed
    from those that are nearest (`evidence.effects.comparison.matched_sets`)."""
    found = {}
    for site, units in concept.items():
        like = known[site]
        matched = matched_sets(like.covariates, np.array(units), 1, seed, like.varies)
        found[site] = tuple(matched.sets[0].tolist())
    return found


def known_units(model: Model, sites: Sequence[str], x: np.ndarray) -> dict[str, Known]:
    """Of each site what its units are like, from the states x (n, P) of all of them."""
    found = {}
    for site, values in zip(sites, np.split(x.astype(np.float64), len(sites), 1), strict=True):
        mean, deviation = values.mean(0), values.std(0)
        found[site] = Known(site, mean, deviation, output_weight(model, site), values[:0])
    return found


def balance(known: Mapping[str, Known], concept: Units, units: Units) -> Balance:
    """Of the set of these units beside the concept's, on the logs that they are matched on."""
    means, apart = [], []
    for site, ours in concept.items():
        like, theirs = known[site], list(units[site])
        spread = like.covariates.std(0)
        away = like.covariates[theirs].mean(0) - like.covariates[list(ours)].mean(0)
        apart.append(away / np.where(spread > 0, spread, 1))
        means.append([like.deviation[theirs].mean(), like.weight[theirs].mean()])
    shares = [len(ours) for ours in concept.values()]
    mean, away = (np.average(of, axis=0, weights=shares) for of in (means, apart))
    return Balance(*mean.tolist(), *away.tolist())
