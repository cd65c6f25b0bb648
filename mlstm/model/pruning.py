"""Pruned units: units whose weights, in and out, are 0, and whose states then are 0 by themselves.

A unit of a layer is h_j and c_j: its column of every weight that makes it, its gains and bias, its
row of every weight that reads h_j (recurrent, of the layer above, of the readout). In the
multiplicative LSTM m_j is a unit of its own. With these at 0, c_j = f 0 + i tanh(0) is exactly 0
at every step, h_j = o tanh(0) and m_j too: no step of any loop has to know that there is a mask.

The mask acts behind weight normalisation: what is left of a column keeps the weights g v / ||v||
that it had. So a gain shrinks with the norm of its column, and the zeros are in v itself.

Legend: H hidden, G gates. `Alive` is {"0": {"h": (H,) bool, "m": (H,) bool}, "1": ...}.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError
from mlstm.model.cells import CELLS, NORM_FLOOR, gain_of
from mlstm.model.sites import check_site

Units = dict[str, tuple[int, ...]]
"""Site -> units, rising: {"0.c": (3, 17), "0.m": (5,)}. The units h_j and c_j are named by "c"."""
Alive = Mapping[str, Mapping[str, Any]]
_ITEM = r"\d{1,9}(?:-\d{1,9})?"  # a unit, or the first and the last of several


def parse_units(config, text: str) -> Units:
    """ "0.c[3,17-20] 0.m[5]" -> {"0.c": (3, 17, 18, 19, 20), "0.m": (5,)}.

    Raises InputError for what is no such list, a site without units of its own, a unit out of
    range, or where a layer would be left without one.
    """
    named: dict[str, list[int]] = {}
    for part in re.sub(r",\s+", ",", text.strip()).split():
        match = re.fullmatch(rf"(\d{{1,9}}\.[a-z]+)\[({_ITEM}(?:,{_ITEM})*)\]", part)
        if match is None:
            raise InputError(
                f'"{part}" names no units: write a site and its units, as in "0.c[3,17-20]"'
            )
        for item in match[2].split(","):
            first, _, last = item.partition("-")
            if int(last or first) >= config.hidden or int(last or first) < int(first):
                raise InputError(
                    f'no units {item} at site "{match[1]}": its units are 0 to {config.hidden - 1}'
                )
            named.setdefault(match[1], []).extend(range(int(first), int(last or first) + 1))
    return check_units(config, named)


def check_units(config, named: Mapping[str, Any]) -> Units:
    """Units by site, sorted, each once, with the canonical names of sites. Raises InputError as
    `parse_units`."""
    units: dict[str, set[int]] = {}
    for site, numbers in named.items():
        place = check_site(config, site)
        kind = unit_kind(config, place.name)
        if kind is None:
            raise InputError(
                f'the units of "{site}" cannot be pruned: they are gates of others; prune '
                f"{' or '.join(prunable(config, place.layer))}"
            )
        wrong = [unit for unit in numbers if not 0 <= unit < config.hidden]
        if wrong:
            raise InputError(
                f'no unit {wrong[0]} at site "{site}": its units are 0 to {config.hidden - 1}'
            )
        units.setdefault(f"{place.layer}.{_name(config, kind)}", set()).update(map(int, numbers))
    for site, numbers in units.items():
        if len(numbers) == config.hidden:
            raise InputError(f'all {config.hidden} units of "{site}" pruned leave nothing of it')
    return {site: tuple(sorted(units[site])) for site in sorted(units)}


def unit_kind(config, name: str) -> str | None:
    """ "h" for the units that h and c share, "m" for those of m; None for a gate."""
    cell = CELLS[config.cell]
    if name in cell.state_names:
        return "h"
    return name if name in cell.makes.values() else None


def prunable(config, layer: int) -> tuple[str, ...]:
    """The sites of a layer that have units of their own."""
    kinds = sorted(set(CELLS[config.cell].makes.values()))
    return tuple(f"{layer}.{_name(config, kind)}" for kind in kinds)


def _name(config, kind: str) -> str:
    """The state that units are named by: c where the cell has one."""
    return "c" if kind == "h" and "c" in CELLS[config.cell].state_names else kind


def format_units(units: Units) -> str:
    """What `parse_units` reads; "" for none."""
    return " ".join(f"{site}[{','.join(map(str, numbers))}]" for site, numbers in units.items())


def alive_units(config, units: Units) -> dict[str, dict[str, np.ndarray]]:
    """The mask: True for the units that are left, of every layer."""
    kinds = sorted(set(CELLS[config.cell].makes.values()))
    alive = {
        str(layer): {kind: np.ones(config.hidden, bool) for kind in kinds}
        for layer in range(config.layers)
    }
    for site, numbers in units.items():
        layer, _, name = site.partition(".")
        alive[layer][str(unit_kind(config, name))][list(numbers)] = False
    return alive


def kept(config, alive: Alive, parameters: Any) -> Any:
    """For each leaf of the parameters the bool that says which numbers are left, of a shape that
    broadcasts against it."""
    cell, last = CELLS[config.cell], str(config.layers - 1)
    columns = {
        **cell.makes,
        **{gain_of(weight): kind for weight, kind in cell.makes.items()},
        **dict.fromkeys(cell.bias_gates, "h"),
    }

    def summed(layer: str) -> bool:
        """Whether a layer reads a sum, in which other units stand beside a pruned one's 0."""
        return config.residual and layer != "1"

    def rows(units: Any, ndim: int) -> Any:
        return units.reshape(-1, *(1,) * (ndim - 1))

    def of(path: tuple, leaf: Any) -> Any:
        *above, name = (key.key for key in path)
        if above == ["readout"] and name == "w" and not config.residual:
            return rows(alive[last]["h"], leaf.ndim)
        if above[:1] != ["layers"]:
            return np.True_
        layer = above[1]
        left = alive[layer][columns[name]]
        if name in cell.reads:
            left = left & rows(alive[layer][cell.reads[name]], leaf.ndim)
        elif name in cell.input_gates and layer != "0" and not summed(layer):
            left = left & rows(alive[str(int(layer) - 1)]["h"], leaf.ndim)
        return left

    return jax.tree_util.tree_map_with_path(of, parameters)


def masked(tree: Any, kept_of_it: Any) -> Any:
    """The numbers that are left, and 0; whatever stood there, be it NaN."""
    return jax.tree.map(lambda left, x: jnp.where(left, x, jnp.zeros_like(x)), kept_of_it, tree)


def prune(config, parameters: Any, alive: Alive) -> Any:
    """Parameters with the weights of pruned units at 0, in and out; all others act as before.

    Behind weight normalisation, that is: the gain of a column shrinks with its norm.
    """
    pruned = masked(parameters, kept(config, alive, parameters))
    for layer, arrays in pruned["layers"].items():
        for weight in CELLS[config.cell].makes if config.weight_norm else ():
            whole = parameters["layers"][layer][weight]
            before, after = (jnp.sum(v * v, axis=0) for v in (whole, arrays[weight]))
            ratio = jnp.sqrt(after / jnp.maximum(before, NORM_FLOOR))
            arrays[gain_of(weight)] = arrays[gain_of(weight)] * ratio
    return pruned
