"""A cell over time, fast: exact gradients at the cost of the products that they need.

What plain autodiff of a scan does slowly, and what is done here instead:

- The input terms depend on no state. For ids they are a table with one row for each symbol, read
  inside the loop; for features they are one large product before it, or before each chunk.
- The forward pass keeps the states that leave each step and, unless memory matters more, the
  results of the recurrent products.
- The backward pass goes through chunks of steps in reverse. The states that enter the steps of a
  chunk are known, so what else it needs of them is computed for all steps at once, as one batch:
  the operands of the weights and, where they were not kept, the results of the products.
- Inside a chunk it goes back step by step and differentiates the cell's own readable step, with
  each product replaced by its known result: only elementwise work is done again, and only the
  products with the transposed weights are made. What has to be transposed was, outside the loop.
- Weight gradients do not belong into the loop: each is one large product for every chunk.

So a cell's mathematics stands in `cells.py` alone, and every mask, reset, edit and emitted site
has the fast backward pass without a line of its own. `readable.scan_plain` is the same function
written plainly: what this one is tested against.

Legend: T time, B streams, F features, H hidden, G gates, V symbols, K steps of a chunk. How a state
lies in memory, and what "joined" and "merged" mean, is said in `layouts.py`.
"""

import dataclasses
import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mlstm.model import editing, layouts
from mlstm.model.layouts import Rows
from mlstm.model.readable import Controls, Plan, Result, Weights, masked_step


def scan(
    plan: Plan, weights: Weights, features, state, edits, controls: Controls, dropped=None
) -> Result:
    """Run a cell over T steps.

    Args:
      plan: what is compiled in.
      weights: the cell's normalised weights; with ids, the embedding too.
      features: (T, B, F) floats, or None when `controls.ids` (T, B) is given.
      state: dict of (B, H), the state before the first step.
      edits: as `editing` says, by state; may be empty.
      controls: ids, mask (True: the step counts) and resets (True: start from zero), (T, B) each,
        and zones.
      dropped: (B, H), what h is multiplied by where the recurrent weights read it; not trained.

    Returns:
      Result. Where a step is masked the state and `hidden` are carried unchanged; an emitted site
      is then what the step would have made, to be read with the mask; and so is `hidden` under
      edits of h for one of its readers alone.
    """
    if (features is None) == (controls.ids is None):
        raise ValueError("give either features or ids")
    read = features if controls.ids is None else controls.ids
    if 0 in read.shape[:2]:
        raise ValueError("there is no step, or no stream, to run over")
    enter = plan.layout.enter
    apart = editing.apart(edits)
    if apart:
        plan = dataclasses.replace(plan, emit=(*plan.emit, "hidden"))
    given = _Given(
        Weights(
            jax.tree.map(_as_gates, weights.recurrent),
            {k: _as_gates(w) if k.startswith("w") else w for k, w in weights.inputs.items()},
            weights.embedding,
        ),
        None if features is None else enter(features),
        jax.tree.map(enter, state),
        _Edits(*_in_layout(plan.layout, *editing.divided(edits))),
        controls._replace(zones=jax.tree.map(enter, controls.zones)),
        None if dropped is None else plan.layout.units(dropped),
    )
    result = jax.tree.map(enter, _scan(plan, given))
    if apart:
        return result._replace(hidden=result.emitted.pop("hidden"))
    return result


class _Edits(NamedTuple):
    """Terms that are the same at every step, and those of every step, (T, ...)."""

    fixed: Any
    timed: Any


def _in_layout(layout, fixed, timed):
    """The terms of edits as they broadcast against states; into and out stay as they are."""

    def of_steps(stage):
        return {k: v if k in ("into", "out") else layout.units(v) for k, v in stage.items()}

    return (
        {key: tuple(map(of_steps, stages)) for key, stages in fixed.items()},
        jax.tree.map(layout.enter, timed),
    )


class _Given(NamedTuple):
    """The arguments of `scan`, in the plan's layout; weights are (N, G, H)."""

    weights: Weights
    features: Any
    state: Any
    edits: Any
    controls: Controls | None
    """None in the gradients of these."""
    dropped: Any
    """As `layout.units` makes it; it has no gradient."""


class _Kept(NamedTuple):
    """What the forward pass keeps of all steps, each (T, ...): the states that leave them; the
    joined results of their products, None where states alone are kept; and the operands of these
    where they had to be made whole for it, else None."""

    states: Any
    results: Any
    operands: Any


class _Ready(NamedTuple):
    """What is made once before the backward loops: the weights to go back through, and forward
    again where products were not kept; and the input terms that the forward pass made."""

    back: Any
    forward: Any
    terms: Any


def _as_gates(w: jax.Array) -> jax.Array:
    """A weight as (N, G, H), G = 1 where it makes no gates."""
    return w.reshape(w.shape[0], -1, w.shape[-1])


def _seen(gates):
    """A tuple of states as a cell's step sees it: a single one is no tuple."""
    return gates[0] if len(gates) == 1 else gates


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(plan: Plan, given: _Given) -> Result:
    return _forward(plan, _with_whole_features(plan, given))[0]


def _with_whole_features(plan, given):
    if given.features is None:
        return given
    return given._replace(features=_whole(plan, given.features))


def _forward(plan, given):
    """The Result, what was kept of each step, and the input terms that were made beforehand."""
    layout, controls = plan.layout, given.controls
    time = (controls.ids if given.features is None else given.features).shape[0]
    weights = _prepared(plan, layout.ready, given.weights.recurrent)
    terms = _terms(plan, given)

    def steps(state, start, length):
        terms_at, _ = _read(plan, given, terms, start, length)

        def one(state, k):
            operands, results = {}, {}

            def product(name, x):
                if name in results:
                    raise ValueError(f'a step multiplies by "{name}" twice: give it two names')
                operands[name] = _whole(plan, x)
                results[name] = layout.times(operands[name], weights[name], plan.products)
                return _seen(layout.split(results[name]))

            inputs = {name: _seen(layout.split(x)) for name, x in terms_at(k).items()}
            now, timed = _at((controls, given.edits.timed), start + k)
            edits = editing.joined(given.edits.fixed, timed)
            new, sites = masked_step(
                plan, state, inputs, product, edits, now, given.dropped, layout
            )
            kept = _Kept(
                new,
                results if plan.keep == "products" else None,
                operands if plan.whole else None,
            )
            return new, (kept, {name: sites[name] for name in plan.emit})

        return _loop(plan, one, state, length)

    # Terms that are not all made beforehand are made for a chunk at a time.
    piece = plan.chunk if terms is None else time
    last, (kept, emitted) = _over_time(steps, given.state, time, piece)
    return Result(last, kept.states["h"], emitted), (kept, terms)


def _scan_forward(plan, given):
    given = _with_whole_features(plan, given)
    result, (kept, terms) = _forward(plan, given)
    return result, (given, kept, terms)


def _scan_backward(plan, residuals, cotangents):
    given, kept, terms = residuals
    layout, weights = plan.layout, given.weights
    recompute = kept.results is None
    ready = _Ready(
        _prepared(plan, layout.ready_back, weights.recurrent),
        _prepared(plan, layout.ready, weights.recurrent) if recompute else None,
        terms,
    )
    zeros = functools.partial(jax.tree.map, jnp.zeros_like)
    time = cotangents.hidden.shape[0]
    features, embedding, ids = given.features, weights.embedding, given.controls.ids
    if features is None:
        read = layout.enter(jnp.zeros((*ids.shape, embedding.shape[1]), embedding.dtype))
    else:
        read = jnp.zeros(features.shape, cotangents.hidden.dtype)
    carry = _Carried(
        cotangents.state,
        zeros(given.edits),
        jax.tree.map(layout.ready, zeros(weights.recurrent)),
        zeros(weights.inputs),
        read,
    )
    back = functools.partial(_chunk_back, plan, given, kept, ready, cotangents)
    last, _ = _over_time(back, carry, time, plan.chunk, reverse=True)
    recurrent = jax.tree.map(layout.trained, last.recurrent)
    if features is None:
        features, embedding = None, zeros(embedding).at[ids].add(layout.enter(last.read))
    else:
        features, embedding = last.read, None
    dweights = Weights(recurrent, last.inputs, embedding)
    return (_Given(dweights, features, last.state, last.edits, None, None),)


_scan.defvjp(_scan_forward, _scan_backward)


class _Carried(NamedTuple):
    """The gradients that go from chunk to chunk: of the state and the edits, of the weights, and of
    what is read at each step (T, ...): the features, or the rows of the embedding."""

    state: Any
    edits: Any
    recurrent: Any
    inputs: Any
    read: Any


def _chunk_back(plan, given, kept, ready, cotangents, carry, start, length):
    """The gradients behind a chunk of `length` steps, from those before it."""
    layout, controls = plan.layout, given.controls
    first = given.state
    entering = {k: _entering(kept.states[k], first[k], start, length) for k in first}
    terms_at, merged_terms = _read(plan, given, ready.terms, start, length)
    operands, results = _known(
        plan, given, kept, ready.forward, entering, merged_terms(), start, length
    )
    if kept.results is None:
        results = {name: layout.unmerge(x, length) for name, x in results.items()}
    kept_under: dict[str, str] = {}

    def one(carry, k):
        dstate, dfixed = carry
        t = start + k
        dstate, dedit, gradients, found = _step_back(
            plan,
            ready.back,
            _at(entering, k),
            terms_at(k),
            _at(results, k) if kept.results is None else _at(kept.results, t),
            given.edits._replace(timed=_at(given.edits.timed, t)),
            _at(controls, t),
            given.dropped,
            {**dstate, "h": dstate["h"] + _at(cotangents.hidden, t)},
            _at(cotangents.emitted, t),
        )
        kept_under.update(found)
        dfixed = jax.tree.map(jnp.add, dfixed, dedit.fixed)
        return (dstate, dfixed), (gradients, dedit.timed)

    (dstate, dfixed), (gradients, dtimed) = _loop(
        plan, one, (carry.state, carry.edits.fixed), length, reverse=True
    )
    dedits = _Edits(dfixed, _written(carry.edits.timed, dtimed, start))
    merged = {name: layout.merge(d) for name, d in gradients.items()}
    merged = lax.optimization_barrier(merged)
    recurrent = {
        name: layout.gradient(x, merged[f"product {name}"], plan.products)
        for name, x in operands.items()
    }

    def input_terms(inputs, x):
        return _input_terms(plan, layout, inputs, layout.merge(x))

    if given.features is None:
        read = layout.enter(given.weights.embedding[_part(controls.ids, start, length)])
    else:
        read = _part(given.features, start, length).astype(carry.read.dtype)
    _, pull_inputs = jax.vjp(input_terms, given.weights.inputs, read)
    # Behind a barrier, XLA does not join their products with those above, for which it would lay
    # out a copy of both sums.
    inputs, read = pull_inputs(
        lax.optimization_barrier({name: merged[key] for name, key in kept_under.items()})
    )
    # Added to the zeros that are there, not written over them: where devices that share the hidden
    # units sum this, XLA then moves their sum from each chunk behind the loop.
    read += _part(carry.read, start, length)
    read = lax.dynamic_update_slice_in_dim(carry.read, read, start, 0)
    recurrent, inputs = jax.tree.map(jnp.add, (carry.recurrent, carry.inputs), (recurrent, inputs))
    return _Carried(dstate, dedits, recurrent, inputs, read), None


def _known(plan, given, kept, weights, entering, terms, start, length):
    """The operands of the products of a chunk, and their results: all steps at once, merged, from
    the states that enter them. Results that were not kept are computed again."""
    layout = plan.layout
    operands, results = {}, {}

    def product(name, x):
        if kept.operands is not None:
            x = layout.merge(_part(kept.operands[name], start, length))
        operands[name] = x
        if kept.results is None:
            results[name] = layout.times(x, weights[name], plan.products)
        else:
            results[name] = layout.merge(_part(kept.results[name], start, length))
        return _seen(layout.split(results[name]))

    now, timed = _part((given.controls, given.edits.timed), start, length)
    streams = jax.tree.leaves(entering)[0].shape
    edits = editing.joined(
        {
            key: tuple(
                {k: v if k in ("into", "out") else layout.tile(v, length) for k, v in stage.items()}
                for stage in stages
            )
            for key, stages in given.edits.fixed.items()
        },
        jax.tree.map(lambda x: layout.merge(layout.widened(x, streams)), timed),
    )
    masked_step(
        plan,
        jax.tree.map(layout.merge, entering),
        {name: _seen(layout.split(x)) for name, x in terms.items()},
        product,
        edits,
        now._replace(zones=jax.tree.map(layout.merge, now.zones)),
        None if given.dropped is None else layout.tile(given.dropped, length),
        layout,
    )
    return operands, results


def _step_back(plan, weights, state, terms, results, edits, now, dropped, dnew, demitted):
    """The gradients of one step: of its state, of its edits, and joined, by the names under which
    they are kept, of its products and input terms; and for each term its name there."""
    layout, known = plan.layout, _KnownGradients()

    def step(state, terms, results, edits):
        def product(name, x):
            return _seen(_known_product(plan, name, known, x, results[name], weights[name]))

        inputs = {name: _seen(gates) for name, gates in terms.items()}
        here = editing.joined(edits.fixed, edits.timed)
        new, sites = masked_step(plan, state, inputs, product, here, now, dropped, layout)
        return new, {name: sites[name] for name in plan.emit}

    terms = {name: layout.split(x) for name, x in terms.items()}
    _, pullback = jax.vjp(step, state, terms, results, edits)
    dstate, dterms, dresults, dedits = pullback((dnew, demitted))
    gradients, kept_under = {f"product {name}": d for name, d in dresults.items()}, {}
    for name, gates in dterms.items():
        product = known.name(gates)
        kept_under[name] = f"product {product}" if product else f"input {name}"
        if product is None:
            gradients[kept_under[name]] = layout.join(gates)
    known.forget()
    return dstate, dedits, gradients, kept_under


class _KnownGradients:
    """The gradients of one step's products, known by the gates that they are made of.

    What is added to a product has the gradient of the product: it is found here, and is neither
    joined nor kept a second time. Of tracers only their identity is looked at.
    """

    def __init__(self) -> None:
        self._known: list[tuple[str, Any]] = []

    def know(self, name: str, gates: Any) -> None:
        self._known.append((name, gates))

    def name(self, gates: Any) -> str | None:
        for name, known in self._known:
            if len(known) == len(gates) and all(map(operator.is_, known, gates)):
                return name
        return None

    def forget(self) -> None:
        """What JAX keeps of a step for later must not hold its tracers."""
        self._known.clear()


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _known_product(plan, name, known, x, result, w):
    """`result`, known to be x times a weight, as a cell sees it; its gradient goes to x through w,
    the weight as `layout.pull` wants it."""
    return plan.layout.split(result)


def _known_forward(plan, name, known, x, result, w):
    return plan.layout.split(result), (w, jnp.zeros((), x.dtype))


def _known_backward(plan, name, known, residuals, cotangents):
    w, like_x = residuals
    known.know(name, cotangents)
    joined = plan.layout.join(cotangents)
    return plan.layout.pull(joined, w, plan.products).astype(like_x.dtype), joined, None


_known_product.defvjp(_known_forward, _known_backward)


def _whole(plan, x):
    """The operand of products, whole on every device that shares its units, where these are split;
    rounded before it is sent."""
    if plan.whole is None:
        return x
    if plan.products == "bfloat16":
        # Behind the barrier XLA does not round what it received instead of what it sends.
        x = lax.optimization_barrier(x.astype(jnp.bfloat16))
    return plan.layout.enter(plan.whole(plan.layout.enter(x)))


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
    shaped = {
        k: w if k.startswith("w") else layout.bias(w.reshape(-1, w.shape[-1]))
        for k, w in weights.items()
    }
    terms = plan.cell.inputs(shaped, x, dot)
    return {name: layout.whole(term, x) for name, term in terms.items()}


def _terms(plan, given):
    """The input terms that are made before the loop. Of ids: tables with a row (G, H) for each
    symbol. Of features: those of all steps; none of them where states alone are kept."""
    weights, features = given.weights, given.features
    if features is None:
        return _input_terms(plan, Rows, weights.inputs, weights.embedding)
    if plan.keep == "states":
        return None
    merged = _input_terms(plan, plan.layout, weights.inputs, plan.layout.merge(features))
    return {name: plan.layout.unmerge(x, features.shape[0]) for name, x in merged.items()}


def _read(plan, given, terms, start, length):
    """Two functions that read the input terms of steps start to start + length: k -> the joined
    terms of step start + k, and () -> those of all of them, merged."""
    layout, ids = plan.layout, given.controls.ids
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
    x = layout.merge(_part(given.features, start, length))
    merged = _input_terms(plan, layout, given.weights.inputs, x)
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


def _written(whole, parts, start):
    """Arrays (T, ...) with those of some steps written at `start`."""
    return jax.tree.map(lambda a, b: lax.dynamic_update_slice_in_dim(a, b, start, 0), whole, parts)


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
