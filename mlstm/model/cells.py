"""The equations of each cell: one readable step, and the parameters that it needs.

A cell is written once. What runs it fast, emits its states, edits them or differentiates it is in
`recurrence.py`, through the two calls that every step makes:

    product(name, x)   x times the recurrent weight `name`
    site(name, value)  gives a state its name; returns it, perhaps edited

A step is elementwise but for these, and says nothing of axes: a state is (B, H), or lies in memory
as `layouts.py` chooses, and what has gates (inputs, results of products) is a tuple of such states,
one for each gate.

To add a cell: a class that says its states, sites, weights and the units of these, its `inputs` and
its `step`, and its name in `CELLS`. A step uses each recurrent weight once.

Legend: B batch, F features that the cell reads (embedding or the layer below), H hidden,
G the four gates in the order i, f, o, u.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from mlstm.model.layouts import Gates

Arrays = Mapping[str, jax.Array]
Dot = Callable[[jax.Array, jax.Array], jax.Array]
Product = Callable[[str, jax.Array], Any]
SiteCall = Callable[[str, jax.Array], jax.Array]

I, F, O, U = range(4)  # noqa: E741  the letters of the literature
NORM_FLOOR = 1e-12
"""Of a squared norm under a root: a column of zeros is then 0, and so is its gradient."""


def flat_init(initializer, key, shape, dtype) -> jax.Array:
    """Initialise a weight (in, ...out) as the flat matrix (in, out) that it is, then reshape.

    Initialisers read a 3-D shape as a convolution: glorot would make (H, 4, H) seven times too
    small at H = 256, and orthogonal would normalise the wrong axis.
    """
    inputs, *outputs = shape
    size = 1
    for n in outputs:
        size *= n
    return initializer(key, (inputs, size), dtype).reshape(shape)


def gain_of(weight: str) -> str:
    """The name of a weight's gain: "gmx" for "wmx"."""
    return "g" + weight[1:]


def normalised(v: jax.Array, g: jax.Array) -> jax.Array:
    """Weight normalisation per output unit: g v / ||v||, the norm over the first axis of v.

    Salimans & Kingma 2016; the floor under the root is that of Radford et al.'s released code.
    """
    return v * (g * jax.lax.rsqrt(jnp.maximum(jnp.sum(v * v, axis=0), NORM_FLOOR)))


class Cell(nnx.Module):
    """The parameters that a cell declares: weights w..., gains g... and the gates' bias b.

    Every weight is (inputs, *gates, H). Recurrent weights start orthogonal and input weights
    Glorot-uniform; gains start as the norms of what they scale, so that normalisation changes
    nothing at first; b is zero but for the forget gate's.
    """

    state_names: ClassVar[tuple[str, ...]]
    """The states that a step carries; "h" is what the readout and the layer above see."""
    site_names: ClassVar[tuple[str, ...]]
    """The states that a step names, in its order."""
    input_gates: ClassVar[dict[str, tuple[int, ...]]]
    """The weights on the input, and their axes between inputs and H."""
    recurrent_gates: ClassVar[dict[str, tuple[int, ...]]]
    """The same for the weights on states."""
    makes: ClassVar[dict[str, str]]
    """Of each weight the units that its columns make: "h", which h and c share, or "m"."""
    reads: ClassVar[dict[str, str]]
    """Of each recurrent weight the units that its rows read."""

    def __init__(self, features, hidden, *, weight_norm, forget_bias, rngs, dtype=jnp.float32):
        groups = (
            (self.input_gates, features, jax.nn.initializers.glorot_uniform()),
            (self.recurrent_gates, hidden, jax.nn.initializers.orthogonal()),
        )
        for gates, inputs, initializer in groups:
            for name, axes in gates.items():
                v = flat_init(initializer, rngs.params(), (inputs, *axes, hidden), dtype)
                setattr(self, name, nnx.Param(v))
                if weight_norm:
                    setattr(self, gain_of(name), nnx.Param(jnp.sqrt(jnp.sum(v * v, axis=0))))
        self.b = nnx.Param(jnp.zeros((4, hidden), dtype).at[F].set(forget_bias))

    def _normalised(self, names) -> dict[str, jax.Array]:
        return {
            name: normalised(getattr(self, name)[...], getattr(self, gain_of(name))[...])
            if hasattr(self, gain_of(name))
            else getattr(self, name)[...]
            for name in names
        }

    def weights(self) -> dict[str, jax.Array]:
        """The recurrent weights that `step` multiplies by, normalised."""
        return self._normalised(self.recurrent_gates)

    def input_weights(self) -> dict[str, jax.Array]:
        """What `inputs` needs: input weights, normalised, and the bias."""
        return self._normalised(self.input_gates) | {"b": self.b[...]}

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array, dot: Dot) -> Arrays:
        """What depends on the input x (..., F) alone, under the names that `step` reads."""
        raise NotImplementedError

    @staticmethod
    def step(state: Arrays, inputs: Mapping, product: Product, site: SiteCall) -> Arrays:
        """One step: the states that enter, and those that leave."""
        raise NotImplementedError


class MultiplicativeLSTM(Cell):
    """The multiplicative LSTM (Krause et al. 2016, eq. 17-22; as in Radford et al. 2017).

    Parameters: wmx (F, H), wmh (H, H), wx (F, 4, H), wh (H, 4, H), b (4, H), and with weight
    normalisation the gains gmx (H,), gmh (H,), gx (4, H), gh (4, H).
    """

    state_names = ("h", "c")
    site_names = ("m", "i", "f", "o", "u", "c", "h")
    input_gates: ClassVar = {"wmx": (), "wx": (4,)}
    recurrent_gates: ClassVar = {"wmh": (), "wh": (4,)}
    makes: ClassVar = {"wmx": "m", "wmh": "m", "wx": "h", "wh": "h"}
    reads: ClassVar = {"wmh": "h", "wh": "m"}

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array, dot: Dot) -> Arrays:
        """x (..., F) to m (..., H) and z (..., 4, H)."""
        return {"m": dot(x, weights["wmx"]), "z": dot(x, weights["wx"]) + weights["b"]}

    @staticmethod
    def step(state: Arrays, inputs: Mapping, product: Product, site: SiteCall) -> Arrays:
        """state h, c; inputs m, and z for each gate; returns the new h, c."""
        m = site("m", inputs["m"] * product("wmh", state["h"]))
        return lstm_gates(added(inputs["z"], product("wh", m)), state["c"], site)


class LSTM(Cell):
    """The LSTM with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    Parameters: wx (F, 4, H), wh (H, 4, H), b (4, H), and with weight normalisation gx, gh (4, H).
    """

    state_names = ("h", "c")
    site_names = ("i", "f", "o", "u", "c", "h")
    input_gates: ClassVar = {"wx": (4,)}
    recurrent_gates: ClassVar = {"wh": (4,)}
    makes: ClassVar = {"wx": "h", "wh": "h"}
    reads: ClassVar = {"wh": "h"}

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array, dot: Dot) -> Arrays:
        """x (..., F) to z (..., 4, H)."""
        return {"z": dot(x, weights["wx"]) + weights["b"]}

    @staticmethod
    def step(state: Arrays, inputs: Mapping, product: Product, site: SiteCall) -> Arrays:
        """state h, c; inputs z for each gate; returns the new h, c."""
        return lstm_gates(added(inputs["z"], product("wh", state["h"])), state["c"], site)


def added(a: Gates, b: Gates) -> Gates:
    """Gate by gate."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def lstm_gates(z: Gates, c: jax.Array, site: SiteCall) -> Arrays:
    """The gates that both LSTMs share: c' = f c + i u, h' = o tanh(c')."""
    i = site("i", jax.nn.sigmoid(z[I]))
    f = site("f", jax.nn.sigmoid(z[F]))
    o = site("o", jax.nn.sigmoid(z[O]))
    u = site("u", jnp.tanh(z[U]))
    c = site("c", f * c + i * u)
    return {"h": site("h", o * jnp.tanh(c)), "c": c}


CELLS = {"multiplicative_lstm": MultiplicativeLSTM, "lstm": LSTM}
