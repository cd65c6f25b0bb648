"""The mask of a run in which units are pruned: made from its config, kept at every step, checked.

It is a leaf of the state, and so of every checkpoint. Where nothing is pruned there is none, and
checkpoints are what they were. That it is data and not compiled in lets runs with other masks
share one compiled step.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlstm import devices
from mlstm.errors import InputError
from mlstm.model import pruning
from mlstm.model.pruning import Units


def units_of(model: Any, text: str, seeds: int) -> list[Units]:
    """The units that config.train.prune names for each seed: one list is that of all, else they
    are divided by ";". Empty where the text is. Raises InputError."""
    if not text:
        return []
    try:
        lists = [pruning.parse_units(model, part) for part in text.split(";")]
    except InputError as error:
        raise InputError(f"config.train.prune: {error}") from None
    if len(lists) not in (1, seeds):
        raise InputError(
            f"config.train.prune has {len(lists)} lists of units, config.seeds is {seeds}: one "
            'for all, or one for each, with ";" between them'
        )
    return lists * (seeds // len(lists))


def mask(config: Any) -> Any:
    """The mask of a run, with the axis of seeds in a population; None where nothing is pruned."""
    lists = units_of(config.model, config.train.prune, config.seeds)
    if not lists:
        return None
    alive = [pruning.alive_units(config.model, units) for units in lists]
    if config.seeds == 1:
        return alive[0]
    return jax.tree.map(lambda *each: np.stack(each), *alive)


def masked_moments(moments: Any, parameters: Any, kept: Any) -> Any:
    """The state of an optimizer with zeros for all that is pruned: in every array that has a
    parameter's name and shape. `kept` is that of the parameters."""
    of = devices.by_name_and_shape(parameters, kept)

    def only_left(path: tuple, leaf: Any) -> Any:
        left = of(path, leaf)
        return leaf if left is None else pruning.masked(leaf, left)

    return jax.tree_util.tree_map_with_path(only_left, moments)


def remains(model: Any, state: Any) -> dict[str, jax.Array]:
    """The largest number, by size, that parameters, optimizer and carry have where the mask of a
    state has nothing: all have to be 0. Of one model."""
    kept = pruning.kept(model, state.mask, state.parameters)
    carry = tuple(
        {name: pruning.masked(h, state.mask[str(layer)]["h"]) for name, h in states.items()}
        for layer, states in enumerate(state.carry)
    )
    return {
        "parameters": _largest(state.parameters, pruning.masked(state.parameters, kept)),
        "optimizer": _largest(
            state.optimizer, masked_moments(state.optimizer, state.parameters, kept)
        ),
        "carry": _largest(state.carry, carry),
    }


def _largest(tree: Any, left: Any) -> jax.Array:
    return jnp.stack(
        [
            jnp.max(jnp.abs(a - b), initial=0)
            for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(left), strict=True)
            if jnp.issubdtype(a.dtype, jnp.floating)
        ]
    ).max()
