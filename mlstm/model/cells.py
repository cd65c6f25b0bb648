"""The equations of each cell: one readable step, and the parameters that it needs.

A cell is written once. What runs it fast, emits its states, edits them or differentiates it is in
`recurrence.py`, through the two calls that every step makes:

    product(name, x)   x times the recurrent weight `name`
    site(name, value)  gives a state its name; returns it, perhaps edited

A step is elementwise but for these, and says nothing of axes: a state is (B, H), or lies in memory
as `layouts.py` chooses, and what has gates (inputs, results of products) is a tuple of such states,
one for each gate.

To add a cell: a class that says its states, sites, weights and the units of these, its biases, its
`inputs` and its `step`, and its name in `CELLS`. A step uses each recurrent weight once.

Legend: B batch, F features that the cell reads (embedding or the layer below), H hidden,
G gates: i, f, o, u in the LSTMs, r, z, n in the GRUs.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from mlstm.model.initialisation import Fans, flat
from mlstm.model.layouts import Gates

Arrays = Mapping[str, jax.Array]
Dot = Callable[[jax.Array, jax.Array], jax.Array]
Product = Callable[[str, jax.Array], Any]
SiteCall = Callable[[str, jax.Array], jax.Array]

I, F, O, U = range(4)  # noqa: E741  the letters of the literature
R, Z, N = range(3)
NORM_FLOOR = 1e-12
"""Of a squared norm under a root: a column of zeros is then 0, and so is its gradient."""


def gain_of(weight: str) -> str:
    """The name of a weight's gain: "gmx" for "wmx"."""
    return "g" + weight[1:]


def normalised(v: jax.Array, g: jax.Array) -> jax.Array:
    """Weight normalisation per output unit: g v / ||v||, the norm over the first axis of v.

    Salimans & Kingma 2016; the floor under the root is that of Radford et al.'s released code.
    """
    return v * (g * jax.lax.rsqrt(jnp.maximum(jnp.sum(v * v, axis=0), NORM_FLOOR)))


class Cell(nnx.Module):
    """The parameters that a cell declares: weights w..., gains g... and biases b...

    Every weight is (inputs, *gates, H), every bias (*gates, H). How they begin is in
    `initialisation`.
    """

    state_names: ClassVar[tuple[str, ...]]
    """The states that a step carries; "h" is what the readout and the layer above see."""
    site_names: ClassVar[tuple[str, ...]]
    """The states that a step names, in its order."""
    gate_names: ClassVar[tuple[str, ...]] = ()
    """Those of them that lie between 0 and 1 and say how much passes."""
    input_gates: ClassVar[dict[str, tuple[int, ...]]]
    """The weights on the input, and their axes between inputs and H."""
    recurrent_gates: ClassVar[dict[str, tuple[int, ...]]]
    """The same for the weights on states."""
    bias_gates: ClassVar[dict[str, tuple[int, ...]]]
    """The biases, and their axes before H."""
    forget_gate: ClassVar[int | None] = None
    """The gate of b that says how much of the old state stays."""
    makes: ClassVar[dict[str, str]]
    """Of each weight the units that its columns make: "h", which h and c share, or "m"."""
    reads: ClassVar[dict[str, str]]
    """Of each recurrent weight the units that its rows read."""

    def __init__(
        self, features, hidden, *, weight_norm, forget_bias, recipe, rngs, dtype=jnp.float32
    ):
        fans = Fans(features, hidden)
        groups = (
            (self.input_gates, features, recipe.input(fans)),
            (self.recurrent_gates, hidden, recipe.recurrent(fans)),
        )
        for gates, inputs, draw in groups:
            for name, axes in gates.items():
                v = flat(draw, rngs.params(), (inputs, *axes, hidden), dtype)
                setattr(self, name, nnx.Param(v))
                if weight_norm:
                    gain = recipe.gain(fans)
                    norms = jnp.sqrt(jnp.sum(v * v, axis=0))
                    drawn = norms if gain is None else gain(rngs.params(), norms.shape, dtype)
                    setattr(self, gain_of(name), nnx.Param(drawn))
        for name, axes in self.bias_gates.items():
            draw, shape = recipe.bias(fans, name, self.bias_gates), (*axes, hidden)
            bias = jnp.zeros(shape, dtype) if draw is None else draw(rngs.params(), shape, dtype)
            if name == "b" and self.forget_gate is not None:
                bias = bias.at[self.forget_gate].add(forget_bias)
            setattr(self, name, nnx.Param(bias))

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
        """What `inputs` needs: input weights, normalised, and biases."""
        biases = {name: getattr(self, name)[...] for name in self.bias_gates}
        return self._normalised(self.input_gates) | biases

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array, dot: Dot) -> Arrays:
        """What depends on the input x (..., F) alone, under the names that `step` reads. A bias
        (H,) that is added to nothing of the input may stand there as it is."""
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
    gate_names = ("i", "f", "o")
    bias_gates: ClassVar = {"b": (4,)}
    forget_gate = F
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
    gate_names = ("i", "f", "o")
    bias_gates: ClassVar = {"b": (4,)}
    forget_gate = F
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


class GRU(Cell):
    """The gated recurrent unit with its reset gate behind the recurrent product, as cuDNN and
    PyTorch have it (Cho et al. 2014, but for that).

        r, z = sigmoid(x wx + h wh + b)
        n = tanh(x wx_n + b_n + r (h wh_n + bn))
        h' = (1 - z) n + z h

    Parameters: wx (F, 3, H), wh (H, 3, H), b (3, H), bn (H,), gates r, z, n, and with weight
    normalisation gx, gh (3, H).
    """

    state_names = ("h",)
    site_names = ("r", "z", "n", "h")
    gate_names = ("r", "z")
    input_gates: ClassVar = {"wx": (3,)}
    recurrent_gates: ClassVar = {"wh": (3,)}
    bias_gates: ClassVar = {"b": (3,), "bn": ()}
    forget_gate = Z
    makes: ClassVar = {"wx": "h", "wh": "h"}
    reads: ClassVar = {"wh": "h"}

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array, dot: Dot) -> Arrays:
        """x (..., F) to z (..., 3, H), and the bias that the reset gate acts on."""
        return {"z": dot(x, weights["wx"]) + weights["b"], "bn": weights["bn"]}

    @staticmethod
    def step(state: Arrays, inputs: Mapping, product: Product, site: SiteCall) -> Arrays:
        """state h; inputs z for each gate, and bn; returns the new h."""
        x, of_h = inputs["z"], product("wh", state["h"])
        r = site("r", jax.nn.sigmoid(x[R] + of_h[R]))
        z = site("z", jax.nn.sigmoid(x[Z] + of_h[Z]))
        n = site("n", jnp.tanh(x[N] + r * (of_h[N] + inputs["bn"])))
        return {"h": site("h", (1 - z) * n + z * state["h"])}


class GRUResetBefore(Cell):
    """The gated recurrent unit as it was published (Cho et al. 2014, eq. 5-8): the reset gate acts
    on h before the recurrent product.

        r, z = sigmoid(x wx + h wh + b)
        n = tanh(x wx_n + b_n + (r h) whn)
        h' = (1 - z) n + z h

    Parameters: wx (F, 3, H), wh (H, 2, H), whn (H, H), b (3, H), gates r, z, n, and with weight
    normalisation gx (3, H), gh (2, H), ghn (H,).
    """

    state_names = ("h",)
    site_names = ("r", "z", "n", "h")
    gate_names = ("r", "z")
    input_gates: ClassVar = {"wx": (3,)}
    recurrent_gates: ClassVar = {"wh": (2,), "whn": ()}
    bias_gates: ClassVar = {"b": (3,)}
    forget_gate = Z
    makes: ClassVar = {"wx": "h", "wh": "h", "whn": "h"}
    reads: ClassVar = {"wh": "h", "whn": "h"}

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array, dot: Dot) -> Arrays:
        """x (..., F) to z (..., 3, H)."""
        return {"z": dot(x, weights["wx"]) + weights["b"]}

    @staticmethod
    def step(state: Arrays, inputs: Mapping, product: Product, site: SiteCall) -> Arrays:
        """state h; inputs z for each gate; returns the new h."""
        x, of_h = inputs["z"], product("wh", state["h"])
        r = site("r", jax.nn.sigmoid(x[R] + of_h[R]))
        z = site("z", jax.nn.sigmoid(x[Z] + of_h[Z]))
        n = site("n", jnp.tanh(x[N] + product("whn", r * state["h"])))
        return {"h": site("h", (1 - z) * n + z * state["h"])}


class RNN(Cell):
    """The simple recurrent network with tanh (Elman 1990): h' = tanh(x wx + h wh + b).

    Parameters: wx (F, H), wh (H, H), b (H,), and with weight normalisation gx, gh (H,).
    """

    state_names = ("h",)
    site_names = ("h",)
    input_gates: ClassVar = {"wx": ()}
    recurrent_gates: ClassVar = {"wh": ()}
    bias_gates: ClassVar = {"b": ()}
    makes: ClassVar = {"wx": "h", "wh": "h"}
    reads: ClassVar = {"wh": "h"}

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array, dot: Dot) -> Arrays:
        """x (..., F) to z (..., H)."""
        return {"z": dot(x, weights["wx"]) + weights["b"]}

    @staticmethod
    def step(state: Arrays, inputs: Mapping, product: Product, site: SiteCall) -> Arrays:
        """state h; inputs z; returns the new h."""
        return {"h": site("h", jnp.tanh(inputs["z"] + product("wh", state["h"])))}


CELLS = {
    "multiplicative_lstm": MultiplicativeLSTM,
    "lstm": LSTM,
    "gru": GRU,
    "gru_reset_before": GRUResetBefore,
    "rnn": RNN,
}
