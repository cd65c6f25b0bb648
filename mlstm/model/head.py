"""A head on the pooled states of a text: from features to one score for each output.

    x = (features - mean) / scale
    x = activation(x w + b)     for each hidden layer, units dropped before each product
    scores = x w + b

mean and scale are those of the features of a train set; they stay as they are.
"""

# N texts, F features, K outputs

from __future__ import annotations

import dataclasses
from itertools import pairwise

import jax
import jax.numpy as jnp

from mlstm.errors import InputError

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """The shape of a head."""

    features: int
    outputs: int
    sizes: tuple[int, ...] = ()
    """Units of its hidden layers; none is a linear head."""
    activation: str = "relu"
    dropout: float = 0.0
    """Share of what each layer reads that is dropped, in training."""

    def check(self) -> HeadConfig:
        """Return self, or raise InputError that names the field and what it may be."""
        for name, value in (
            ("features", self.features),
            ("outputs", self.outputs),
            *(("sizes", size) for size in self.sizes),
        ):
            if type(value) is not int or value < 1:
                raise InputError(f"head.{name} is {value}; it must be a whole number above 0")
        if self.activation not in ACTIVATIONS:
            raise InputError(
                f'head.activation is "{self.activation}"; it may be {", ".join(ACTIVATIONS)}'
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"head.dropout is {self.dropout}; it is a share from 0 to below 1")
        return self


def parameter_shapes(config: HeadConfig) -> dict:
    """The parameters as ShapeDtypeStructs: {"0": {"w": (F, n), "b": (n,)}, "1": ...}."""
    widths = (config.features, *config.sizes, config.outputs)
    return {
        str(layer): {
            "w": jax.ShapeDtypeStruct((before, after), jnp.float32),
            "b": jax.ShapeDtypeStruct((after,), jnp.float32),
        }
        for layer, (before, after) in enumerate(pairwise(widths))
    }


def init_parameters(config: HeadConfig, key: jax.Array, dtype=jnp.float32) -> dict:
    """Hidden layers Glorot-uniform, the last one 0: every text begins at even odds."""
    glorot = jax.nn.initializers.glorot_uniform()
    made = {}
    for name, layer in parameter_shapes(config.check()).items():
        last = int(name) == len(config.sizes)
        shape = layer["w"].shape
        w = jnp.zeros(shape) if last else glorot(jax.random.fold_in(key, int(name)), shape)
        made[name] = {"w": w.astype(dtype), "b": jnp.zeros(layer["b"].shape, dtype)}
    return made


def scores(
    config: HeadConfig,
    head: dict,
    given: dict,
    features: jax.Array,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """(N, F) features to (N, K) scores; given: "mean" and "scale", (F,). Without a key nothing is
    dropped."""
    x = (features - given["mean"]) / given["scale"]
    for layer in range(len(config.sizes) + 1):
        if config.dropout and dropout_key is not None:
            key = jax.random.fold_in(dropout_key, layer)
            kept = jax.random.bernoulli(key, 1 - config.dropout, x.shape)
            x = jnp.where(kept, x / (1 - config.dropout), 0)
        x = x @ head[str(layer)]["w"] + head[str(layer)]["b"]
        if layer < len(config.sizes):
            x = ACTIVATIONS[config.activation](x)
    return x
