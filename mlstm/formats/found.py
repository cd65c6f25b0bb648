"""What a published file holds, in our shapes, and the check that it is whole."""

import dataclasses
from typing import Any

import jax
import numpy as np

from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig

NEVER = -1e9
"""The readout's bias of a symbol that a model reads and never puts out."""

MOST_LAYERS = 64
"""A file of a stranger may say that it has more: each costs time to set up, the later the more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """A model as it was read; its parameters are numpy arrays, float32."""

    config: ModelConfig
    parameters: dict[str, Any]
    vocabulary: Vocabulary
    cleaning: str = "none"
    """What its texts were put through: a recipe of `corpus.cleaning`."""
    notes: tuple[str, ...] = ()
    """What was assumed, or not read; a sentence each."""


def checked(found: Found, where: str, layers: int = MOST_LAYERS) -> Found:
    """`found`; InputError, which begins with `where`, if its arrays are not those that its config
    asks for, or not all finite, or if it has more than so many layers."""
    if found.config.layers > layers:
        raise InputError(f"{where}: {found.config.layers:,} layers; at most {layers} are read")
    wanted = by_name(language_model.parameter_shapes(found.config))
    arrays = by_name(found.parameters)
    for name in sorted(wanted.keys() | arrays.keys()):
        if name not in arrays or name not in wanted:
            raise InputError(f"{where}: {'no array' if name in wanted else 'has an array'} {name}")
        shape = arrays[name].shape
        if shape != wanted[name].shape:
            raise InputError(
                f"{where}: {name} has the shape {shape}, it has to be {wanted[name].shape}"
            )
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{where}: {name} has numbers that are not finite")
    if found.vocabulary.size != found.config.vocabulary:
        raise InputError(
            f"{where}: {found.config.vocabulary} symbols, the vocabulary has "
            f"{found.vocabulary.size}"
        )
    return found


def by_name(tree: Any) -> dict[str, Any]:
    """The arrays of parameters by dotted name: "layers.0.wx"."""
    return {
        ".".join(str(key.key) for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
