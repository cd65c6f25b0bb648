"""How the states of a recurrence lie in memory while it runs.

Two ways of one meaning; `recurrence.py` is written once for both:

- `Rows`: a stream is a row. States are (B, H), and a product is x (B, N) times w (N, G, H).
- `Columns`: a stream is a column. States are (H, B), and a product is w (G, H, N) times x (N, B):
  the weights stand on the left, where a CPU reads them faster.

G is the number of gates that a weight makes, 1 for a weight without gates. A cell sees a value with
gates as a tuple of states; `join` makes one array of it, and `split` a tuple again.

All steps of a chunk can be run at once, as one batch: `merge` makes it from their states. Rows stay
apart in it, as (K, B), so that devices that share B need not exchange them.

Legend: B streams, H hidden, N inputs of a product, G gates, V symbols, K steps of a chunk, S what
stands for the streams in a shape: B, or of a merged batch K, B (rows) or K * B (columns).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mlstm.model.products import contract

Gates = tuple[jax.Array, ...]


class Rows:
    """A stream is a row."""

    @staticmethod
    def enter(x: jax.Array) -> jax.Array:
        """From (..., B, H), as callers have it, and back: it is its own inverse."""
        return x

    @staticmethod
    def streams(flags: jax.Array) -> jax.Array:
        """(B,) or (K, B), to broadcast against a state."""
        return flags[..., None]

    @staticmethod
    def units(values: jax.Array) -> jax.Array:
        """(H,) or (B, H), to broadcast against a state."""
        return values

    @staticmethod
    def bias(b: jax.Array) -> jax.Array:
        """(G, H), to broadcast against joined gates."""
        return b

    @staticmethod
    def whole(term: jax.Array, x: jax.Array) -> jax.Array:
        """Joined gates that broadcast against those of a batch x (S, F), as these are."""
        return jnp.broadcast_to(term, (*x.shape[:-1], *term.shape[-2:]))

    @staticmethod
    def tile(values: jax.Array, steps: int) -> jax.Array:
        """What `units` made, to broadcast against a merged batch."""
        return values

    @staticmethod
    def widened(values: jax.Array, states: tuple[int, ...]) -> jax.Array:
        """Values of K steps that broadcast against states of this shape, so that `merge` takes
        them."""
        return values

    @staticmethod
    def project(x: jax.Array, into: jax.Array, out: jax.Array) -> jax.Array:
        """A state (S, H) through into (H, K) and out (K, H), unrounded."""
        low = contract(x, into, ((x.ndim - 1,), (0,)), "float32")
        return contract(low, out, ((x.ndim - 1,), (0,)), "float32")

    @staticmethod
    def join(gates: Gates) -> jax.Array:
        """A tuple of G states as one array (S, G, H)."""

        def side_by_side(*gates):
            # XLA's CPU backend copies what lies side by side; of a stack it makes a loop that asks
            # at every element which of them it is in. On a mesh this would tear units apart.
            return jnp.concatenate(gates, -1).reshape(*gates[0].shape[:-1], len(gates), -1)

        def stacked(*gates):
            return jnp.stack(gates, -2)

        return lax.platform_dependent(*gates, cpu=side_by_side, default=stacked)

    @staticmethod
    def split(x: jax.Array) -> Gates:
        return tuple(x[..., g, :] for g in range(x.shape[-2]))

    @staticmethod
    def merge(x: jax.Array) -> jax.Array:
        """States or joined gates of K steps, (K, ...), as one batch."""
        return x

    @staticmethod
    def unmerge(x: jax.Array, steps: int) -> jax.Array:
        return x

    @staticmethod
    def look_up(tables: dict[str, jax.Array]):
        """From tables (V, G, H) the function: ids (B,) or (K, B) to their joined terms."""
        return lambda ids: {name: table[ids] for name, table in tables.items()}

    @staticmethod
    def ready(w: jax.Array) -> jax.Array:
        """A weight (N, G, H) as `times` wants it."""
        return w

    @staticmethod
    def ready_back(w: jax.Array) -> jax.Array:
        """A weight (N, G, H) as `pull` wants it."""
        return jnp.moveaxis(w, 0, -1)

    @staticmethod
    def times(x: jax.Array, w: jax.Array, products: str) -> jax.Array:
        """x (S, N) times a ready weight, joined (S, G, H)."""
        return contract(x, w, ((x.ndim - 1,), (0,)), products)

    @staticmethod
    def pull(g: jax.Array, w: jax.Array, products: str) -> jax.Array:
        """The gradient g (S, G, H) of `times`, as that of its x (S, N)."""
        return contract(g, w, ((g.ndim - 2, g.ndim - 1), (0, 1)), products)

    @staticmethod
    def gradient(x: jax.Array, g: jax.Array, products: str) -> jax.Array:
        """The gradient of a weight that is `ready`, from its x (S, N) and g (S, G, H)."""
        streams = tuple(range(x.ndim - 1))
        return contract(x, g, (streams, streams), products)

    @staticmethod
    def trained(w: jax.Array) -> jax.Array:
        """The inverse of `ready`."""
        return w


class Columns:
    """A stream is a column: every shape of `Rows` with S as its last axis."""

    @staticmethod
    def enter(x):
        return jnp.swapaxes(x, -1, -2)

    @staticmethod
    def streams(flags):
        return flags.reshape(-1)

    @staticmethod
    def units(values):
        return values[:, None] if values.ndim == 1 else values.T

    @staticmethod
    def bias(b):
        return b[..., None]

    @staticmethod
    def whole(term, x):
        return jnp.broadcast_to(term, (*term.shape[:2], x.shape[-1]))

    @staticmethod
    def tile(values, steps):
        return values if values.shape[1] == 1 else jnp.tile(values, (1, steps))

    @staticmethod
    def widened(values, states):
        return jnp.broadcast_to(values, (*values.shape[:-1], states[-1]))

    @staticmethod
    def project(x, into, out):
        low = contract(into, x, ((0,), (0,)), "float32")
        return contract(out, low, ((0,), (0,)), "float32")

    @staticmethod
    def join(gates):
        joined = jnp.zeros((len(gates), *gates[0].shape), gates[0].dtype)
        for g, x in enumerate(gates):
            joined = lax.dynamic_update_index_in_dim(joined, x, g, 0)
        return joined

    @staticmethod
    def split(x):
        return tuple(x)

    @staticmethod
    def merge(x):
        """(K, ..., B) to (..., K * B)."""
        return jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], -1)

    @staticmethod
    def unmerge(x, steps):
        return jnp.moveaxis(x.reshape(*x.shape[:-1], steps, -1), -2, 0)

    @staticmethod
    def look_up(tables):
        """One gather of rows, padded so that their columns do not share cache lines' places."""
        widths = {name: table.shape[1:] for name, table in tables.items()}
        flat = jnp.concatenate([table.reshape(len(table), -1) for table in tables.values()], 1)
        flat = lax.optimization_barrier(jnp.pad(flat, ((0, 0), (0, _PADDING))))

        def rows(ids):
            columns = lax.optimization_barrier(flat[ids.reshape(-1)]).T
            found, first = {}, 0
            for name, (gates, hidden) in widths.items():
                piece = columns[first : first + gates * hidden]
                found[name] = piece.reshape(gates, hidden, -1)
                first += gates * hidden
            return found

        return rows

    @staticmethod
    def ready(w):
        return jnp.moveaxis(w, 0, -1)

    @staticmethod
    def ready_back(w):
        return w

    @staticmethod
    def times(x, w, products):
        return contract(w, x, ((2,), (0,)), products)

    @staticmethod
    def pull(g, w, products):
        return contract(w, g, ((1, 2), (0, 1)), products)

    @staticmethod
    def gradient(x, g, products):
        return contract(g, x, ((2,), (1,)), products)

    @staticmethod
    def trained(w):
        return jnp.moveaxis(w, -1, 0)


_PADDING = 16
"""Floats of a cache line: rows whose length is a power of two would all fall on the same places."""

LAYOUTS = {"rows": Rows, "columns": Columns}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def dot(layout: Any, x: jax.Array, w: jax.Array, products: str) -> jax.Array:
    """`layout.times` of a weight (N, G, H), with its gradient for both."""
    return layout.times(x, layout.ready(w), products)


def _dot_forward(layout, x, w, products):
    return dot(layout, x, w, products), (x, w)


def _dot_backward(layout, products, operands, g):
    x, w = operands
    dx = layout.pull(g, layout.ready_back(w), products)
    dw = layout.trained(layout.gradient(x, g, products))
    return dx.astype(x.dtype), dw.astype(w.dtype)


dot.defvjp(_dot_forward, _dot_backward)
