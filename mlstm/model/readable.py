"""A cell over time, as plainly as it can be said, and the words in which it is asked for.

`scan_plain` has everything inside its loop and is differentiated by JAX: what the fast `scan` of
`recurrence.py` is tested against. Both run the cell's own step through `masked_step`.

Legend: T time, B streams, F features, H hidden, G gates, V symbols.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mlstm.model import editing
from mlstm.model.layouts import Rows
from mlstm.model.products import dot


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is compiled in: a cell, what is asked of it, and how it is computed, which changes the
    result by rounding alone."""

    cell: Any
    emit: tuple[str, ...] = ()
    """Sites to return at every step."""
    products: str = "float32"
    keep: str = "products"
    """What the forward pass keeps for the backward pass: "products", or "states" alone."""
    chunk: int = 16
    """Steps whose weight gradients are one product: fewer cost time, more cost memory."""
    layout: Any = Rows
    """One of `layouts.LAYOUTS`."""
    unroll: int = 1
    """Steps in one turn of the loops: more are fewer kernels to launch, and more to compile."""
    whole: Callable[[jax.Array], jax.Array] | None = None
    """What makes states (..., B, H) whole on every device, where devices share their units; else
    None. What it made is kept for the weights' gradients, so that nothing is sent twice."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """What a model is told of the devices that compute it; `devices.placement` knows it."""

    groups: int = 1
    """How many groups of devices share the streams: a chunk is as long as for those of one."""
    whole: Callable[[jax.Array], jax.Array] | None = None
    """As `Plan.whole`."""


ALONE = Placement()
"""One device, or several that the compiler is left alone with."""


class Weights(NamedTuple):
    """What is trained. `embedding` (V, F) is there when the input is ids, else None."""

    recurrent: Any
    inputs: Any
    embedding: Any


class Controls(NamedTuple):
    """What is neither trained nor differentiated: x ids, mask, resets; each (T, B) or None."""

    ids: jax.Array | None
    mask: jax.Array | None
    resets: jax.Array | None


class Result(NamedTuple):
    """The state after the last step, h at every step (T, B, H), emitted sites (T, B, H) each."""

    state: Any
    hidden: jax.Array
    emitted: dict[str, jax.Array]


def masked_step(cell, state, inputs, product, edits, mask, reset, layout=Rows):
    """One step of the cell with its resets, edits and mask; returns the new state and all sites,
    and among these as "hidden" the h that whatever stands behind the layer reads.

    A reset starts the step from the zero state; a masked step carries the state unchanged,
    whether it is reset or not. `edits` are those of this step, by state: see `editing`.
    """
    entering = state
    if reset is not None:
        state = {k: jnp.where(layout.streams(reset), 0, v) for k, v in state.items()}
    sites = {}

    def site(name, value):
        sites[name] = editing.edited(value, edits.get(name, ()), layout)
        return sites[name]

    new = dict(cell.step(state, inputs, product, site))
    sites["hidden"] = new["h"]
    if stages := edits.get("c@after_step"):
        new["c"] = sites["c"] = editing.edited(new["c"], stages, layout)
    if stages := edits.get("h@readout"):
        sites["hidden"] = sites["h"] = editing.edited(new["h"], stages, layout)
    if stages := edits.get("h@recurrence"):
        new["h"] = sites["h"] = editing.edited(new["h"], stages, layout)
    if mask is not None:
        new = {k: jnp.where(layout.streams(mask), v, entering[k]) for k, v in new.items()}
    return new, sites


def gates_of(x: jax.Array, gated: bool):
    """What a cell's step sees of (..., H) or, gated, of (..., G, H): the state, or one for each
    gate."""
    return tuple(x[..., g, :] for g in range(x.shape[-2])) if gated else x


def scan_plain(plan: Plan, weights: Weights, features, state, edits, controls: Controls) -> Result:
    """What `recurrence.scan` does, with its arguments and results."""
    cell = plan.cell
    fixed, timed = editing.divided(edits)
    apart = editing.apart(edits)

    def product(name, x):
        w = weights.recurrent[name]
        return gates_of(dot(x, w, plan.products), gated=w.ndim > 2)

    def step(state, now):
        (x, ids, mask, reset), timed = now
        if x is None:
            x = jnp.take(weights.embedding, ids, axis=0)
        inputs = cell.inputs(weights.inputs, x, functools.partial(dot, products=plan.products))
        inputs = {k: gates_of(v, gated=v.ndim > 2) for k, v in inputs.items()}
        now = editing.joined(fixed, timed)
        new, sites = masked_step(cell, state, inputs, product, now, mask, reset)
        hidden = sites["hidden"] if apart else new["h"]
        return new, (hidden, {name: sites[name] for name in plan.emit})

    last, (hidden, emitted) = lax.scan(step, state, ((features, *controls), timed))
    return Result(last, hidden, emitted)
