"""A cell over time, fast: exact gradients at the cost of the products that they need.

What plain autodiff of a scan does slowly, and what is done here instead:

- The input terms depend on no state. For ids they are a table with one row for each symbol, read
  inside the loop; for features they are one large product before it.
- The forward pass keeps the states that leave each step and, unless memory matters more, the
  results of the recurrent products.
- The backward pass goes through chunks of steps in reverse. The states that enter the steps of a
  chunk are known, so what else it needs of them is computed for all steps at once, as one batch:
  the operands of the weights and, where they were not kept, the results of the products.
- Inside a chunk it goes back step by step and differentiates the cell's own readable step, with
  each product replaced by its known result: only elementwise work is done again, and only the
  products with the transposed weights are made. These were transposed once, outside the loop.
- Weight gradients do not belong into the loop: each is one large product for every chunk.

So a cell's mathematics stands in `cells.py` alone, and every mask, reset, edit and emitted site
has the fast backward pass without a line of its own. `scan_plain` is the same function written
plainly and differentiated by JAX: what the fast one is tested against.

Legend: T time, B streams, F features, H hidden, G gates, V symbols, K steps of a chunk. How a state
lies in memory, and what "joined" and "merged" mean, is said in `layouts.py`.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mlstm.model import layouts
from mlstm.model.layouts import Rows
from mlstm.model.products import dot

CHUNK = 16
"""Steps for which one weight-gradient product is made: fewer cost time, more cost memory."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is compiled in; nothing of it changes the result by more than rounding, but `emit`."""

    cell: Any
    emit: tuple[str, ...] = ()
    """Sites to return at every step."""
    products: str = "float32"
    keep: str = "products"
    """What the forward pass keeps for the backward pass: "products", or "states" alone."""
    chunk: int = CHUNK
    layout: Any = Rows
    """One of `layouts.LAYOUTS`."""
    unroll: int = 1
    """Steps in one turn of the loops: more are fewer kernels to launch, and more to compile."""


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


def edited(value: jax.Array, edit: dict[str, jax.Array] | None) -> jax.Array:
    """keep * value + add; both broadcast against a state."""
    if edit is None:
        return value
    return edit["keep"] * value + edit["add"]


def masked_step(cell, state, inputs, product, edits, mask, reset, layout=Rows):
    """One step of the cell with its resets, edits and mask; returns the new state and all sites.

    A reset starts the step from the zero state; a masked step carries the state unchanged,
    whether it is reset or not.
    """
    entering = state
    if reset is not None:
        state = {k: jnp.where(layout.streams(reset), 0, v) for k, v in state.items()}
    sites = {}

    def site(name, value):
        sites[name] = edited(value, edits.get(name))
        return sites[name]

    new = cell.step(state, inputs, product, site)
    if mask is not None:
        new = {k: jnp.where(layout.streams(mask), v, entering[k]) for k, v in new.items()}
    return new, sites


def gates_of(x: jax.Array, gated: bool):
    """What a cell's step sees of (..., H) or, gated, of (..., G, H): the state, or one for each
    gate."""
    return tuple(x[..., g, :] for g in range(x.shape[-2])) if gated else x


def scan(plan: Plan, weights: Weights, features, state, edits, controls: Controls) -> Result:
    """Run a cell over T steps.

    Args:
      plan: what is compiled in.
      weights: the cell's normalised weights; with ids, the embedding too.
      features: (T, B, F) floats, or None when `controls.ids` (T, B) is given.
      state: dict of (B, H), the state before the first step.
      edits: dict from site name to {"keep", "add"}, each (H,) or (B, H); may be empty.
      controls: ids, mask (True: the step counts) and resets (True: start from zero), (T, B) each.

    Returns:
      Result. Where a step is masked the state and `hidden` are carried unchanged; an emitted site
      is then what the step would have made, to be read with the mask.
    """
    if (features is None) == (controls.ids is None):
        raise ValueError("give either features or ids")
    enter, units = plan.layout.enter, plan.layout.units
    result = _scan(
        plan,
        Weights(
            jax.tree.map(_as_gates, weights.recurrent),
            {k: _as_gates(w) if k.startswith("w") else w for k, w in weights.inputs.items()},
            weights.embedding,
        ),
        None if features is None else enter(features),
        jax.tree.map(enter, state),
        jax.tree.map(units, edits),
        controls,
    )
    return jax.tree.map(enter, result)


def scan_plain(plan: Plan, weights: Weights, features, state, edits, controls: Controls) -> Result:
    """`scan`, as plainly as it can be said: everything inside the loop, differentiated by JAX."""
    cell = plan.cell

    def product(name, x):
        w = weights.recurrent[name]
        return gates_of(dot(x, w, plan.products), gated=w.ndim > 2)

    def step(state, now):
        x, ids, mask, reset = now
        if x is None:
            x = jnp.take(weights.embedding, ids, axis=0)
        inputs = cell.inputs(weights.inputs, x, functools.partial(dot, products=plan.products))
        inputs = {k: gates_of(v, gated=v.ndim > 2) for k, v in inputs.items()}
        new, sites = masked_step(cell, state, inputs, product, edits, mask, reset)
        return new, (new["h"], {name: sites[name] for name in plan.emit})

    last, (hidden, emitted) = lax.scan(step, state, (features, *controls))
    return Result(last, hidden, emitted)


def _as_gates(w: jax.Array) -> jax.Array:
    """A weight as (N, G, H), G = 1 where it makes no gates."""
    return w.reshape(w.shape[0], -1, w.shape[-1])


def _seen(gates):
    """A tuple of states as a cell's step sees it: a single one is no tuple."""
    return gates[0] if len(gates) == 1 else gates


class _Kept(NamedTuple):
    """What the forward pass keeps of all steps, each (T, ...): the states that leave them, and the
    joined results of their products, None where states alone are kept."""

    states: Any
    results: Any


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(plan, weights, features, state, edits, controls):
    return _forward(plan, weights, features, state, edits, controls)[0]


def _forward(plan, weights, features, state, edits, controls):
    layout = plan.layout
    time = (controls.ids if features is None else features).shape[0]
    ready = _prepared(plan, layout.ready, weights.recurrent)
    terms = _terms(plan, weights, features)

    def step(state, inputs, now):
        results = {}

        def product(name, x):
            results[name] = layout.times(x, ready[name], plan.products)
            return _seen(layout.split(results[name]))

        new, sites = masked_step(
            plan.cell, state, inputs, product, edits, now.mask, now.resets, layout
        )
        kept = _Kept(new, results if plan.keep == "products" else None)
        return new, (kept, {name: sites[name] for name in plan.emit})

    def steps(state, start, length):
        terms_at, _ = _read(plan, weights, features, terms, controls.ids, start, length)

        def one(state, k):
            inputs = {name: _seen(layout.split(x)) for name, x in terms_at(k).items()}
            return step(state, inputs, _at(controls, start + k))

        return _loop(plan, one, state, length)

    # Terms that are not all made beforehand are made for a chunk at a time.
    piece = plan.chunk if terms is None else time
    last, (kept, emitted) = _over_time(steps, state, time, piece)
    return Result(last, kept.states["h"], emitted), (kept, terms)


def _scan_forward(plan, weights, features, state, edits, controls):
    result, (kept, terms) = _forward(plan, weights, features, state, edits, controls)
    return result, (weights, features, state, edits, controls, kept, terms)


class _Gradients:
    """The gradients of one step's products, by the gates that they are made of.

    What is added to a product has the gradient of the product: it is found here, and is neither
    joined nor kept a second time. Of tracers only their identity is looked at.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[int, ...], str] = {}
        self._alive: list[Any] = []

    def know(self, name: str, gates: Any) -> None:
        self._names[tuple(map(id, gates))] = name
        self._alive.append(gates)

    def name(self, gates: Any) -> str | None:
        return self._names.get(tuple(map(id, gates)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _known_product(plan, name, gradients, x, result, w):
    """`result`, known to be x times a weight, as a cell sees it; its gradient goes to x through w,
    the weight as `layout.pull` wants it."""
    return plan.layout.split(result)


def _known_forward(plan, name, gradients, x, result, w):
    return plan.layout.split(result), w


def _known_backward(plan, name, gradients, w, cotangents):
    gradients.know(name, cotangents)
    joined = plan.layout.join(cotangents)
    return plan.layout.pull(joined, w, plan.products), joined, None


_known_product.defvjp(_known_forward, _known_backward)


def _scan_backward(plan, residuals, cotangents):
    weights, features, first, edits, controls, kept, terms = residuals
    layout, time = plan.layout, cotangents.hidden.shape[0]
    back = _prepared(plan, layout.ready_back, weights.recurrent)
    ready = _prepared(plan, layout.ready, weights.recurrent) if kept.results is None else None

    def known(entering, inputs, start, length):
        """The operands of the products of a chunk, and their results, merged."""
        operands, results = {}, {}

        def product(name, x):
            operands[name] = x
            if ready is None:
                results[name] = layout.merge(_part(kept.results[name], start, length))
            else:
                results[name] = layout.times(x, ready[name], plan.products)
            return _seen(layout.split(results[name]))

        now = _part(controls, start, length)
        masked_step(
            plan.cell,
            jax.tree.map(layout.merge, entering),
            {name: _seen(layout.split(x)) for name, x in inputs.items()},
            product,
            jax.tree.map(lambda values: layout.tile(values, length), edits),
            now.mask,
            now.resets,
            layout,
        )
        return operands, results

    def step_back(state, inputs, results, now, dnew, demitted):
        """The gradients of one step: of its state, of its edits, and joined, by the names under
        which they are kept, of its products and inputs; and for each input its name there."""
        gradients = _Gradients()

        def step(state, inputs, results, edits):
            def product(name, x):
                known = _known_product(plan, name, gradients, x, results[name], back[name])
                return _seen(known)

            new, sites = masked_step(
                plan.cell,
                state,
                {name: _seen(gates) for name, gates in inputs.items()},
                product,
                edits,
                now.mask,
                now.resets,
                layout,
            )
            return new, {name: sites[name] for name in plan.emit}

        inputs = {name: layout.split(x) for name, x in inputs.items()}
        _, pullback = jax.vjp(step, state, inputs, results, edits)
        dstate, dinputs, dresults, dedits = pullback((dnew, demitted))
        kept, places = {f"product {name}": d for name, d in dresults.items()}, {}
        for name, gates in dinputs.items():
            product = gradients.name(gates)
            places[name] = f"product {product}" if product else f"input {name}"
            if product is None:
                kept[places[name]] = layout.join(gates)
        return dstate, dedits, kept, places

    def chunk_back(carry, start, length):
        dstate, dedits, dweights, dsource = carry
        entering = {k: _entering(kept.states[k], first[k], start, length) for k in first}
        terms_at, merged_terms = _read(plan, weights, features, terms, controls.ids, start, length)
        operands, results = known(entering, merged_terms(), start, length)
        if ready is not None:
            results = {name: layout.unmerge(x, length) for name, x in results.items()}
        places: dict[str, str] = {}

        def one(carry, k):
            dstate, dedits = carry
            t = start + k
            dstate, dedit, made, found = step_back(
                _at(entering, k),
                terms_at(k),
                _at(kept.results, t) if ready is None else _at(results, k),
                _at(controls, t),
                {**dstate, "h": dstate["h"] + _at(cotangents.hidden, t)},
                _at(cotangents.emitted, t),
            )
            places.update(found)
            return (dstate, jax.tree.map(jnp.add, dedits, dedit)), made

        carry, written = _loop(plan, one, (dstate, dedits), length, reverse=True)
        dstate, dedits = carry
        merged = lax.optimization_barrier({name: layout.merge(d) for name, d in written.items()})
        drecurrent = {
            name: layout.gradient(x, merged[f"product {name}"], plan.products)
            for name, x in operands.items()
        }

        def input_terms(inputs, source):
            if features is None:
                source = layout.enter(source[_part(controls.ids, start, length)])
            return _input_terms(plan, layout, inputs, layout.merge(source))

        source = weights.embedding if features is None else _part(features, start, length)
        _, pull_inputs = jax.vjp(input_terms, weights.inputs, source)
        # Behind a barrier, XLA does not join their products with those above, for which it would
        # lay out a copy of both sums.
        dinputs, dpart = pull_inputs(
            lax.optimization_barrier({name: merged[place] for name, place in places.items()})
        )
        dweights = jax.tree.map(jnp.add, dweights, (drecurrent, dinputs))
        if features is None:
            dsource = dsource + dpart
        else:
            dsource = lax.dynamic_update_slice_in_dim(dsource, dpart, start, 0)
        return (dstate, dedits, dweights, dsource), None

    zeros = functools.partial(jax.tree.map, jnp.zeros_like)
    dweights = jax.tree.map(layout.ready, zeros(weights.recurrent)), zeros(weights.inputs)
    dsource = zeros(weights.embedding if features is None else features)
    carry = cotangents.state, zeros(edits), dweights, dsource
    carry, _ = _over_time(chunk_back, carry, time, plan.chunk, reverse=True)
    dstate, dedits, (drecurrent, dinputs), dsource = carry
    drecurrent = jax.tree.map(layout.trained, drecurrent)
    dembedding, dfeatures = (dsource, None) if features is None else (None, dsource)
    return Weights(drecurrent, dinputs, dembedding), dfeatures, dstate, dedits, None


_scan.defvjp(_scan_forward, _scan_backward)


def _prepared(plan, prepare, weights):
    """Weights as the loop's products want them: cast and moved once, before it. The barrier keeps
    XLA from folding that back into the products."""
    low = jnp.bfloat16 if plan.products == "bfloat16" else None
    return lax.optimization_barrier(
        {name: prepare(w).astype(low or w.dtype) for name, w in weights.items()}
    )


def _input_terms(plan, layout, weights, x):
    """The cell's joined input terms of a batch x, (S, F) or as a column (F, S)."""
    dot = functools.partial(layouts.dot, layout, products=plan.products)
    shaped = {k: w if k.startswith("w") else layout.bias(w) for k, w in weights.items()}
    return plan.cell.inputs(shaped, x, dot)


def _terms(plan, weights, features):
    """The input terms that are made before the loop. Of ids: tables with a row (G, H) for each
    symbol. Of features: those of all steps; none of them where states alone are kept."""
    if features is None:
        return _input_terms(plan, Rows, weights.inputs, weights.embedding)
    if plan.keep == "states":
        return None
    merged = _input_terms(plan, plan.layout, weights.inputs, plan.layout.merge(features))
    return {name: plan.layout.unmerge(x, features.shape[0]) for name, x in merged.items()}


def _read(plan, weights, features, terms, ids, start, length):
    """Two functions that read the input terms of steps start to start + length: k -> the joined
    terms of step start + k, and () -> those of all of them, merged."""
    layout = plan.layout
    if ids is not None:
        look_up = layout.look_up(terms)
        return (
            lambda k: look_up(_at(ids, start + k)),
            lambda: look_up(_part(ids, start, length)),
        )
    if terms is not None:
        return (
            lambda k: _at(terms, start + k),
            lambda: jax.tree.map(layout.merge, _part(terms, start, length)),
        )
    merged = _input_terms(
        plan, layout, weights.inputs, layout.merge(_part(features, start, length))
    )
    steps = {name: layout.unmerge(x, length) for name, x in merged.items()}
    return lambda k: _at(steps, k), lambda: merged


def _entering(kept, first, start, length):
    """The states that enter `length` steps, from those that leave all steps and the first one."""
    before = jnp.where(start == 0, first, _at(kept, jnp.maximum(start - 1, 0)))
    return jnp.concatenate([before[None], _part(kept, start, length - 1)])


def _at(arrays, k):
    return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, k, 0, keepdims=False), arrays)


def _part(arrays, start, length):
    return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, length, 0), arrays)


def _loop(plan, body, carry, length, *, reverse=False):
    """lax.scan of body(carry, k) over k below `length`."""
    unroll = min(plan.unroll, length)
    return lax.scan(body, carry, jnp.arange(length), reverse=reverse, unroll=unroll)


def _over_time(body, carry, time, piece, *, reverse=False):
    """lax.scan of body(carry, start, length), whose results have a leading axis of `length`, over
    pieces of that length; what is left over at the end is a shorter one."""
    whole, left = time // piece, time % piece
    made = []

    def one(carry, n):
        return body(carry, n * piece, piece)

    if left and reverse:
        carry, results = body(carry, whole * piece, left)
        made.append(results)
    if whole == 1:
        carry, results = body(carry, 0, piece)
        made.append(results)
    elif whole:
        carry, results = lax.scan(one, carry, jnp.arange(whole), reverse=reverse)
        made.append(jax.tree.map(lambda x: x.reshape(whole * piece, *x.shape[2:]), results))
    if left and not reverse:
        carry, results = body(carry, whole * piece, left)
        made.append(results)
    if len(made) == 1:
        return carry, made[0]
    return carry, jax.tree.map(lambda *x: jnp.concatenate(x), *made[:: -1 if reverse else 1])
