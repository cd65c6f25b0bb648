"""A cell over time, fast: exact gradients at the cost of the products that they need.

What plain autodiff of a scan does slowly, and what is done here instead:

- The input terms depend on no state. For ids they are a table with one row for each symbol, read
  inside the loop; for features they are one large product before it.
- The forward pass keeps the states that enter each step and the results of the recurrent products.
- The backward pass runs through the steps in reverse. It differentiates the cell's own readable
  step, with each product replaced by the result that was kept, so that only elementwise work is
  done again and only the products with the transposed weights are made. The weights were
  transposed once, outside the loop.
- Weight gradients do not belong into the loop: each is one large product for every `CHUNK` steps.

So a cell's mathematics stands in `cells.py` alone, and every mask, reset, edit and emitted site
has the fast backward pass without a line of its own. `scan_plain` is the same function written
plainly and differentiated by JAX: what the fast one is tested against.

Legend: T time, B batch, F features, H hidden, V vocabulary.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

CHUNK = 16
"""Steps for which one weight-gradient product is made: fewer cost time, more cost memory."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is compiled in: the cell, the sites to emit, and the type of the recurrent products."""

    cell: Any
    emit: tuple[str, ...] = ()
    products: str = "float32"


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


def contract(a: jax.Array, b: jax.Array, axes, products: str) -> jax.Array:
    """Sum a times b over axes = (axes of a, axes of b), in the type of a.

    "bfloat16" rounds both operands, and sums in float32; "float32" is meant: no TF32.
    """

    def exact(a, b):
        return lax.dot_general(a, b, (axes, ((), ())), precision=lax.Precision.HIGHEST)

    def rounded(a, b):
        low = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        return lax.dot_general(*low, (axes, ((), ())), preferred_element_type=jnp.float32)

    def rounded_first(a, b):
        return exact(*(lax.reduce_precision(x.astype(jnp.float32), 8, 7) for x in (a, b)))

    if products != "bfloat16":
        return exact(a, b)
    if axes[0][0] == 0:
        # XLA's CPU backend has no bfloat16 product over leading axes in some loops (0.10: "DotThunk
        # BF16 x BF16 = F32"). The same numbers without it:
        return lax.platform_dependent(a, b, cpu=rounded_first, default=rounded)
    return rounded(a, b)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dot(x: jax.Array, w: jax.Array, products: str) -> jax.Array:
    """x (..., N) times w (N, ...); the products of the gradient are rounded in the same way."""
    return contract(x, w, ((x.ndim - 1,), (0,)), products)


def _dot_forward(x, w, products):
    return dot(x, w, products), (x, w)


def _dot_backward(products, operands, g):
    x, w = operands
    leading, trailing = tuple(range(x.ndim - 1)), tuple(range(x.ndim - 1, g.ndim))
    dx = contract(g, w, (trailing, tuple(range(1, w.ndim))), products)
    dw = contract(x, g, (leading, leading), products)
    return dx.astype(x.dtype), dw.astype(w.dtype)


dot.defvjp(_dot_forward, _dot_backward)


def edited(value: jax.Array, edit: dict[str, jax.Array] | None) -> jax.Array:
    """keep * value + add; keep and add are (H,) or (B, H)."""
    if edit is None:
        return value
    return edit["keep"] * value + edit["add"]


def masked_step(cell, state, inputs, product, edits, mask, reset):
    """One step of the cell with its resets, edits and mask; returns the new state and all sites.

    A reset starts the step from the zero state; a masked step carries the state unchanged,
    whether it is reset or not.
    """
    entering = state
    if reset is not None:
        state = {k: jnp.where(reset[:, None], 0, v) for k, v in state.items()}
    sites = {}

    def site(name, value):
        sites[name] = edited(value, edits.get(name))
        return sites[name]

    new = cell.step(state, inputs, product, site)
    if mask is not None:
        new = {k: jnp.where(mask[:, None], v, entering[k]) for k, v in new.items()}
    return new, sites


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
    return _scan(plan, weights, features, state, edits, controls)


def scan_plain(plan: Plan, weights: Weights, features, state, edits, controls: Controls) -> Result:
    """`scan`, as plainly as it can be said: everything inside the loop, differentiated by JAX."""
    cell = plan.cell

    def product(name, x):
        return dot(x, weights.recurrent[name], plan.products)

    def step(state, now):
        x, ids, mask, reset = now
        if x is None:
            x = jnp.take(weights.embedding, ids, axis=0)
        inputs = _input_terms(plan, weights.inputs, x)
        new, sites = masked_step(cell, state, inputs, product, edits, mask, reset)
        return new, (new["h"], {name: sites[name] for name in plan.emit})

    last, (hidden, emitted) = lax.scan(step, state, (features, *controls))
    return Result(last, hidden, emitted)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(plan, weights, features, state, edits, controls):
    return _forward(plan, weights, features, state, edits, controls)[0]


class _Kept(NamedTuple):
    """What the forward pass keeps of each step: the state that enters it, and its products."""

    state: Any
    products: Any


def _input_terms(plan, weights, x):
    """The cell's input terms for x (..., F)."""
    return plan.cell.inputs(weights, x, functools.partial(dot, products=plan.products))


def _forward(plan, weights, features, state, edits, controls):
    cell = plan.cell
    # One row for each symbol, or one for each step.
    terms = _input_terms(plan, weights.inputs, weights.embedding if features is None else features)
    if plan.products == "bfloat16":  # cast once, not in every step
        recurrent = jax.tree.map(lambda w: w.astype(jnp.bfloat16), weights.recurrent)
    else:
        recurrent = weights.recurrent

    def step(state, now):
        controls, inputs = now
        if inputs is None:
            inputs = jax.tree.map(lambda table: table[controls.ids], terms)
        products = {}

        def product(name, x):
            products[name] = dot(x, recurrent[name], plan.products)
            return products[name]

        new, sites = masked_step(
            cell, state, inputs, product, edits, controls.mask, controls.resets
        )
        emitted = {name: sites[name] for name in plan.emit}
        return new, (new["h"], emitted, _Kept(state, products))

    steps = (controls, None if features is None else terms)
    last, (hidden, emitted, kept) = lax.scan(step, state, steps)
    return Result(last, hidden, emitted), (kept, terms)


def _scan_forward(plan, weights, features, state, edits, controls):
    result, (kept, terms) = _forward(plan, weights, features, state, edits, controls)
    return result, (weights, features, edits, controls, kept, terms)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _known_product(products, x, result, transposed):
    """`result` (B, ...), known to be x (B, N) times a weight (N, ...); its gradient goes to x
    through `transposed` (..., N)."""
    return result


def _known_forward(products, x, result, transposed):
    return result, transposed


def _known_backward(products, transposed, cotangent):
    outputs = cotangent.ndim - 1
    axes = tuple(range(1, 1 + outputs)), tuple(range(outputs))
    return contract(cotangent, transposed, axes, products), cotangent, None


_known_product.defvjp(_known_forward, _known_backward)


def _scan_backward(plan, residuals, cotangents):
    weights, features, edits, controls, kept, terms = residuals
    cell = plan.cell
    low = jnp.bfloat16 if plan.products == "bfloat16" else None
    # The barrier keeps XLA from folding the transpose back into the loop's products.
    transposed = lax.optimization_barrier(
        jax.tree.map(lambda w: jnp.moveaxis(w, 0, -1).astype(low or w.dtype), weights.recurrent)
    )
    zero = functools.partial(jax.tree.map, jnp.zeros_like)

    def step_backward(carry, now):
        dstate, dedits = carry
        controls, inputs, kept, dhidden, demitted = now
        if inputs is None:
            inputs = jax.tree.map(lambda table: table[controls.ids], terms)

        def step(state, inputs, results, edits):
            operands = {}

            def product(name, x):
                operands[name] = x
                return _known_product(plan.products, x, results[name], transposed[name])

            new, sites = masked_step(
                cell, state, inputs, product, edits, controls.mask, controls.resets
            )
            return (new, {name: sites[name] for name in plan.emit}), operands

        _, pullback, operands = jax.vjp(
            step, kept.state, inputs, kept.products, edits, has_aux=True
        )
        dnew = {**dstate, "h": dstate["h"] + dhidden}
        dstate, dinputs, dproducts, dedit = pullback((dnew, demitted))
        return (dstate, jax.tree.map(jnp.add, dedits, dedit)), (dinputs, operands, dproducts)

    def chunk_backward(carry, chunk):
        dstate, dedits, dweights = carry
        controls, features, inputs, kept, dhidden, demitted = chunk
        (dstate, dedits), (dinputs, operands, dproducts) = lax.scan(
            step_backward,
            (dstate, dedits),
            (controls, inputs, kept, dhidden, demitted),
            reverse=True,
        )
        drecurrent = {
            name: contract(operands[name], dproducts[name], ((0, 1), (0, 1)), plan.products)
            for name in weights.recurrent
        }
        if features is None:
            _, pull_inputs = jax.vjp(
                lambda w, table: _input_terms(plan, w, table[controls.ids]),
                weights.inputs,
                weights.embedding,
            )
            dinput_weights, dembedding = pull_inputs(dinputs)
            dfeatures = None
        else:
            _, pull_inputs = jax.vjp(
                functools.partial(_input_terms, plan), weights.inputs, features
            )
            dinput_weights, dfeatures = pull_inputs(dinputs)
            dembedding = None
        new = Weights(drecurrent, dinput_weights, dembedding)
        return (dstate, dedits, jax.tree.map(jnp.add, dweights, new)), dfeatures

    steps = (
        controls,
        features,
        None if features is None else terms,
        kept,
        cotangents.hidden,
        cotangents.emitted,
    )
    time = cotangents.hidden.shape[0]
    whole = time // CHUNK * CHUNK
    dweights = Weights(zero(weights.recurrent), zero(weights.inputs), zero(weights.embedding))
    carry = (cotangents.state, zero(edits), dweights)
    pieces = []
    if whole < time:
        carry, rest = chunk_backward(carry, jax.tree.map(lambda a: a[whole:], steps))
        pieces.append(rest)
    if whole:
        chunks = jax.tree.map(
            lambda a: a[:whole].reshape(whole // CHUNK, CHUNK, *a.shape[1:]), steps
        )
        carry, most = lax.scan(chunk_backward, carry, chunks, reverse=True)
        pieces.append(jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), most))
    dstate, dedits, dweights = carry
    dfeatures = jax.tree.map(lambda *a: jnp.concatenate(a), *reversed(pieces))
    return dweights, dfeatures, dstate, dedits, None


_scan.defvjp(_scan_forward, _scan_backward)
