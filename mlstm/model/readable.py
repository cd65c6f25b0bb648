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
    zoneout: tuple[tuple[str, float], ...] = ()
    """Of states, the share of their old value that stays at each step, where `Controls.zones` does
    not say which units keep theirs."""


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
    """What is neither trained nor differentiated, of every step: ids, mask, resets, each (T, B) or
    None; and by state the units that keep their old value, (T, B, H) bool, or None."""

    ids: jax.Array | None = None
    mask: jax.Array | None = None
    resets: jax.Array | None = None
    zones: dict[str, jax.Array] | None = None


class Result(NamedTuple):
    """The state after the last step, h at every step (T, B, H), emitted sites (T, B, H) each."""

    state: Any
    hidden: jax.Array
    emitted: dict[str, jax.Array]


NO_CONTROLS = Controls()


def masked_step(plan, state, inputs, product, edits, now=NO_CONTROLS, dropped=None, layout=Rows):
    """One step of the plan's cell with its resets, dropout, zoneout, edits and mask; returns the
    new state and all sites, and among these as "hidden" the h that whatever stands behind the layer
    reads.

    A reset starts the step from the zero state; a masked step carries the state unchanged,
    whether it is reset or not. `edits` are those of this step, by state: see `editing`; `now` are
    its controls. `dropped` is what h is multiplied by where the recurrent weights read it.

    Zoneout (Krueger et al. 2016) acts on the states that leave the step: h is made of the c that
    the step made, not of the one that a unit keeps. An edit acts on both: on what the step makes,
    and on what leaves it.
    """
    entering, cell = state, plan.cell
    if now.resets is not None:
        state = {k: jnp.where(layout.streams(now.resets), 0, v) for k, v in state.items()}
    if dropped is not None:
        product = _of_dropped(cell, product, dropped)
    sites, made = {}, {}

    def site(name, value):
        made[name] = value
        sites[name] = editing.edited(value, edits.get(name, ()), layout)
        return sites[name]

    new = dict(cell.step(state, inputs, product, site))
    for name, share in plan.zoneout:
        if now.zones is None:
            mixed = share * state[name] + (1 - share) * made[name]
        else:
            mixed = jnp.where(now.zones[name], state[name], made[name])
        new[name] = sites[name] = editing.edited(mixed, edits.get(name, ()), layout)
    sites["hidden"] = new["h"]
    if stages := edits.get("c@after_step"):
        new["c"] = sites["c"] = editing.edited(new["c"], stages, layout)
    if stages := edits.get("h@readout"):
        sites["hidden"] = sites["h"] = editing.edited(new["h"], stages, layout)
    if stages := edits.get("h@recurrence"):
        new["h"] = sites["h"] = editing.edited(new["h"], stages, layout)
    if now.mask is not None:
        new = {k: jnp.where(layout.streams(now.mask), v, entering[k]) for k, v in new.items()}
    return new, sites


def _of_dropped(cell, product, dropped):
    return lambda name, x: product(name, x * dropped if cell.reads[name] == "h" else x)


def gates_of(x: jax.Array, gated: bool):
    """What a cell's step sees of (..., H) or, gated, of (..., G, H): the state, or one for each
    gate."""
    return tuple(x[..., g, :] for g in range(x.shape[-2])) if gated else x


def scan_plain(
    plan: Plan, weights: Weights, features, state, edits, controls: Controls, dropped=None
) -> Result:
    """What `recurrence.scan` does, with its arguments and results."""
    cell = plan.cell
    fixed, timed = editing.divided(edits)
    apart = editing.apart(edits)

    def product(name, x):
        w = weights.recurrent[name]
        return gates_of(dot(x, w, plan.products), gated=w.ndim > 2)

    def step(state, now):
        x, controls, timed = now
        if x is None:
            x = jnp.take(weights.embedding, controls.ids, axis=0)
        inputs = cell.inputs(weights.inputs, x, functools.partial(dot, products=plan.products))
        inputs = {k: gates_of(v, gated=v.ndim > 2) for k, v in inputs.items()}
        edits = editing.joined(fixed, timed)
        new, sites = masked_step(plan, state, inputs, product, edits, controls, dropped)
        hidden = sites["hidden"] if apart else new["h"]
        return new, (hidden, {name: sites[name] for name in plan.emit})

    last, (hidden, emitted) = lax.scan(step, state, (features, controls, timed))
    return Result(last, hidden, emitted)
