"""Loss and gradients of one window in JAX: ours, and the same model in other projects' code.

Each is a function of our own (parameters, ids (T + 1, B), state) to (mean nats, gradients), so
that all can be compared leaf by leaf. What the others have to do for that, they do once a window.

Legend: T time, B batch, E embedding, H hidden, G gates.
"""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mlstm.model import language_model
from mlstm.model.cells import gain_of, normalised
from mlstm.model.config import ModelConfig
from mlstm.model.readable import ALONE, Placement


def ways(config: ModelConfig, **choices: list) -> dict[str, ModelConfig]:
    """Configs by the names of their rows: one for each combination of these values of its fields.

    Raises InputError for what a field may not be.
    """
    found = {}
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        said = [
            f"{value}" if isinstance(value, str) else f"{field} {value}"
            for field, value in chosen.items()
            if len(choices[field]) > 1 or field == "keep"
        ]
        found[", ".join(["ours", *said])] = dataclasses.replace(config, **chosen).check()
    return found


def ours(config: ModelConfig, reference: bool = False, placement: Placement = ALONE):
    """Our step; with `reference` the plain scan, differentiated by JAX."""

    def hidden(parameters, ids_TB, state):
        return language_model.forward(
            config, parameters, ids_TB, state, reference=reference, placement=placement
        ).hidden

    return _step(config, hidden)


def flax_rnn(config: ModelConfig):
    """flax's nnx.RNN over a cell written for it, time-major, the embedding outside the scan."""

    def hidden(parameters, ids_TB, state):
        x_TBF: Any = parameters["embedding"][ids_TB]
        for layer, (h_BH, c_BH) in enumerate((s["h"], s["c"]) for s in state):
            cell = FlaxCell(parameters["layers"][str(layer)])
            x_TBF = nnx.RNN(cell, time_major=True)(x_TBF, initial_carry=(h_BH, c_BH))
        return x_TBF

    return _step(dataclasses.replace(config, products="float32"), hidden)


class FlaxCell(nnx.RNNCellBase):
    """The multiplicative LSTM, or without wmh the LSTM, in flax's form."""

    wmx: nnx.Param
    wmh: nnx.Param
    wx: nnx.Param
    wh: nnx.Param

    def __init__(self, parameters):
        for name in ("wmx", "wmh", "wx", "wh"):
            if name in parameters:
                w = parameters[name]
                if gain_of(name) in parameters:  # once a window, not at every step
                    w = normalised(w, parameters[gain_of(name)])
                setattr(self, name, nnx.Param(w.reshape(w.shape[0], -1)))
        self.b = nnx.Param(parameters["b"].reshape(-1))

    @property
    def num_feature_axes(self):
        return 1

    def __call__(self, carry, inputs):
        h_BH, c_BH = carry
        m_BH = (inputs @ self.wmx) * (h_BH @ self.wmh) if hasattr(self, "wmh") else h_BH
        i, f, o, u = jnp.split(inputs @ self.wx + m_BH @ self.wh + self.b, 4, axis=-1)
        c_BH = nnx.sigmoid(f) * c_BH + nnx.sigmoid(i) * nnx.tanh(u)
        h_BH = nnx.sigmoid(o) * nnx.tanh(c_BH)
        return (h_BH, c_BH), h_BH


def jax_unirep(config: ModelConfig):
    """jax-unirep's MLSTMCell, vmapped over the sequences; it starts from the zero state.

    It always normalises its weights: without gains of ours it gets their norms.
    """
    import equinox  # pyright: ignore[reportMissingImports]
    from jax_unirep.models import MLSTMCell  # pyright: ignore[reportMissingImports]

    def cell(parameters):
        norms = {
            gain_of(name): jnp.linalg.norm(parameters[name], axis=0)
            for name in ("wmx", "wmh", "wx", "wh")
        }
        arrays = norms | parameters
        features, hidden = arrays["wmx"].shape
        empty = equinox.filter_eval_shape(MLSTMCell, features, hidden, jax.random.key(0))
        return equinox.tree_at(
            lambda cell: [getattr(cell, name) for name in arrays],
            empty,
            [a.reshape(getattr(empty, name).shape) for name, a in arrays.items()],
        )

    def hidden(parameters, ids_TB, state):
        x_BTF = parameters["embedding"][ids_TB.T]
        for layer in range(config.layers):
            x_BTF = jax.vmap(cell(parameters["layers"][str(layer)]))(x_BTF)[2]
        return x_BTF.swapaxes(0, 1)

    return _step(dataclasses.replace(config, products="float32"), hidden)


def _step(config, hidden):
    def loss(parameters, ids_TB, state):
        hidden_TBH = hidden(parameters, ids_TB[:-1], state)
        return language_model.negative_log_likelihood(
            config, parameters, hidden_TBH, ids_TB[1:]
        ).mean()

    return jax.value_and_grad(loss)


def compiled(step, *data):
    """A step compiled for its data; float32 is meant, on any backend."""
    with jax.default_matmul_precision("highest"):
        return jax.jit(step).lower(*data).compile()


def window(config: ModelConfig, time: int, batch: int) -> tuple:
    """What a step takes: fresh parameters, random ids (T + 1, B) and the zero state."""
    parameters = jax.jit(language_model.init_parameters, static_argnums=0)(
        config, jax.random.key(0)
    )
    ids = np.random.default_rng(0).integers(0, config.vocabulary, (time + 1, batch), np.int32)
    return parameters, jnp.asarray(ids), language_model.initial_state(config, batch)


def differs(result, ours) -> float:
    """The largest of max|a - b| / max|b| over the loss and those gradients that `result` has."""
    known = dict(jax.tree_util.tree_leaves_with_path(ours))

    def difference(a, b):
        return float(np.abs(np.asarray(a) - b).max() / np.abs(b).max())

    return max(
        (
            difference(leaf, np.asarray(known[path]))
            for path, leaf in jax.tree_util.tree_leaves_with_path(result)
        ),
        key=lambda d: (d != d, d),  # not a number is the largest difference of all
    )
