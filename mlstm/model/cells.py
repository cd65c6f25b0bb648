"""The equations of each cell: one readable step, and the parameters that it needs.

A cell is written once. What runs it fast, emits its states, edits them or differentiates it is in
`recurrence.py`, through the two calls that every step makes:

    product(name, x)   x times the recurrent weight `name`, contracted over the last axis of x
    site(name, value)  gives a state its name; returns it, perhaps edited

To add a cell: a class with `state_names`, `site_names`, `input_weights()`, `weights()`, `inputs()`
and `step()`, and its name in `CELLS`.

Legend: B batch, F features that the cell reads (embedding or the layer below), H hidden,
G the four gates in the order i, f, o, u.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

Arrays = Mapping[str, jax.Array]
Product = Callable[[str, jax.Array], jax.Array]
SiteCall = Callable[[str, jax.Array], jax.Array]

I, F, O, U = range(4)  # noqa: E741  the letters of the literature


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


def normalised(v: jax.Array, g: jax.Array | None) -> jax.Array:
    """Weight normalisation per output unit: g v / ||v||, the norm over the first axis of v.

    Salimans & Kingma 2016; the 1e-12 under the root is that of Radford et al.'s released code.
    Without a gain (None) v is returned as it is.
    """
    if g is None:
        return v
    return v * (g * jax.lax.rsqrt(jnp.maximum(jnp.sum(v * v, axis=0), 1e-12)))


class MultiplicativeLSTM(nnx.Module):
    """The multiplicative LSTM (Krause et al. 2016, eq. 17-22; as in Radford et al. 2017).

    Parameters: wmx (F, H), wmh (H, H), wx (F, 4, H), wh (H, 4, H), b (4, H), and with weight
    normalisation the gains gmx (H,), gmh (H,), gx (4, H), gh (4, H).
    """

    state_names: ClassVar = ("h", "c")
    site_names: ClassVar = ("m", "i", "f", "o", "u", "c", "h")

    def __init__(self, features, hidden, *, weight_norm, forget_bias, rngs, dtype=jnp.float32):
        glorot, orthogonal = jax.nn.initializers.glorot_uniform(), jax.nn.initializers.orthogonal()

        def make(init, *shape):
            return nnx.Param(flat_init(init, rngs.params(), shape, dtype))

        self.wmx = make(glorot, features, hidden)
        self.wmh = make(orthogonal, hidden, hidden)
        self.wx = make(glorot, features, 4, hidden)
        self.wh = make(orthogonal, hidden, 4, hidden)
        self.b = nnx.Param(jnp.zeros((4, hidden), dtype).at[F].set(forget_bias))
        self.weight_norm = weight_norm
        if weight_norm:
            for name in ("mx", "mh", "x", "h"):
                v = getattr(self, "w" + name)[...]
                setattr(self, "g" + name, nnx.Param(jnp.sqrt(jnp.sum(v * v, axis=0))))

    def _gain(self, name):
        return getattr(self, name)[...] if self.weight_norm else None

    def weights(self) -> Arrays:
        """The recurrent weights that `step` multiplies by, normalised."""
        return {
            "wmh": normalised(self.wmh[...], self._gain("gmh")),
            "wh": normalised(self.wh[...], self._gain("gh")),
        }

    def input_weights(self) -> Arrays:
        """What `inputs` needs, normalised."""
        return {
            "wmx": normalised(self.wmx[...], self._gain("gmx")),
            "wx": normalised(self.wx[...], self._gain("gx")),
            "b": self.b[...],
        }

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array) -> Arrays:
        """What depends on the input x (..., F) alone: m (..., H) and z (..., 4, H)."""
        return {
            "m": x @ weights["wmx"],
            "z": jnp.tensordot(x, weights["wx"], 1) + weights["b"],
        }

    @staticmethod
    def step(state: Arrays, inputs: Arrays, product: Product, site: SiteCall) -> Arrays:
        """One step. state: h, c (B, H); inputs: m (B, H), z (B, 4, H); returns the new h, c."""
        m_BH = site("m", inputs["m"] * product("wmh", state["h"]))
        return lstm_gates(inputs["z"] + product("wh", m_BH), state["c"], site)


class LSTM(nnx.Module):
    """The LSTM with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    Parameters: wx (F, 4, H), wh (H, 4, H), b (4, H), and with weight normalisation gx, gh (4, H).
    """

    state_names: ClassVar = ("h", "c")
    site_names: ClassVar = ("i", "f", "o", "u", "c", "h")

    def __init__(self, features, hidden, *, weight_norm, forget_bias, rngs, dtype=jnp.float32):
        glorot, orthogonal = jax.nn.initializers.glorot_uniform(), jax.nn.initializers.orthogonal()

        def make(init, *shape):
            return nnx.Param(flat_init(init, rngs.params(), shape, dtype))

        self.wx = make(glorot, features, 4, hidden)
        self.wh = make(orthogonal, hidden, 4, hidden)
        self.b = nnx.Param(jnp.zeros((4, hidden), dtype).at[F].set(forget_bias))
        self.weight_norm = weight_norm
        if weight_norm:
            for name in ("x", "h"):
                v = getattr(self, "w" + name)[...]
                setattr(self, "g" + name, nnx.Param(jnp.sqrt(jnp.sum(v * v, axis=0))))

    def _gain(self, name):
        return getattr(self, name)[...] if self.weight_norm else None

    def weights(self) -> Arrays:
        """The recurrent weight that `step` multiplies by, normalised."""
        return {"wh": normalised(self.wh[...], self._gain("gh"))}

    def input_weights(self) -> Arrays:
        """What `inputs` needs, normalised."""
        return {"wx": normalised(self.wx[...], self._gain("gx")), "b": self.b[...]}

    @staticmethod
    def inputs(weights: Arrays, x: jax.Array) -> Arrays:
        """What depends on the input x (..., F) alone: z (..., 4, H)."""
        return {"z": jnp.tensordot(x, weights["wx"], 1) + weights["b"]}

    @staticmethod
    def step(state: Arrays, inputs: Arrays, product: Product, site: SiteCall) -> Arrays:
        """One step. state: h, c (B, H); inputs: z (B, 4, H); returns the new h, c."""
        return lstm_gates(inputs["z"] + product("wh", state["h"]), state["c"], site)


def lstm_gates(z_BGH: jax.Array, c_BH: jax.Array, site: SiteCall) -> Arrays:
    """The gates that both LSTMs share: c' = f c + i u, h' = o tanh(c')."""
    i_BH = site("i", jax.nn.sigmoid(z_BGH[..., I, :]))
    f_BH = site("f", jax.nn.sigmoid(z_BGH[..., F, :]))
    o_BH = site("o", jax.nn.sigmoid(z_BGH[..., O, :]))
    u_BH = site("u", jnp.tanh(z_BGH[..., U, :]))
    c_BH = site("c", f_BH * c_BH + i_BH * u_BH)
    return {"h": site("h", o_BH * jnp.tanh(c_BH)), "c": c_BH}


CELLS = {"multiplicative_lstm": MultiplicativeLSTM, "lstm": LSTM}
