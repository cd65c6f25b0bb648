"""Embedding, recurrent layers, readout and loss.

The functions are pure in (config, parameters, ids, state); the config is a static argument to
`jax.jit`. Parameters are one nested dict of arrays:

    {"embedding": (V, E),
     "layers": {"0": {the cell's, see cells.py}, "1": ...},
     "readout": {"w": (H, V), "b": (V,)}}

With embedding 0 the input is one-hot: there is no "embedding", and the first layer reads V numbers.
A tied readout has no "w": it is the embedding's transpose. A model whose readout is "none" has
states and no logits.

Legend: T time, B batch, E embedding, H hidden, V vocabulary.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from mlstm.errors import InputError
from mlstm.model import editing, noise, recurrence
from mlstm.model.cells import CELLS
from mlstm.model.config import ModelConfig
from mlstm.model.initialisation import RECIPES
from mlstm.model.layouts import LAYOUTS
from mlstm.model.products import dot
from mlstm.model.readable import (
    ALONE,
    Controls,
    Placement,
    Plan,
    Weights,
    gates_of,
    masked_step,
    scan_plain,
)
from mlstm.model.sites import check_site

GPU_UNROLL = 4
"""Steps in one turn of the loop over time on a GPU: what they keep is stored by one kernel."""


class LanguageModel(nnx.Module):
    """The parameters of a model and their shapes; what is computed with them is below."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, dtype=jnp.float32):
        cell, recipe = CELLS[config.cell], RECIPES[config.initialisation]
        vocabulary, hidden = config.vocabulary, config.hidden
        if config.embedding:
            draw = recipe.embedding(vocabulary, config.embedding)
            table = draw(rngs.params(), (vocabulary, config.embedding), dtype)
            self.embedding = nnx.Param(table)
        self.layers = nnx.Dict(
            {
                str(layer): cell(
                    config.features if layer == 0 else hidden,
                    hidden,
                    weight_norm=config.weight_norm,
                    forget_bias=config.forget_bias,
                    recipe=recipe,
                    rngs=rngs,
                    dtype=dtype,
                )
                for layer in range(config.layers)
            }
        )
        if config.readout == "none":
            return
        arrays = {}
        if config.readout == "linear":
            draw = recipe.readout(hidden, vocabulary)
            arrays["w"] = nnx.Param(draw(rngs.params(), (hidden, vocabulary), dtype))
        draw = recipe.readout_bias(hidden, vocabulary)
        bias = jnp.zeros(vocabulary, dtype)
        arrays["b"] = nnx.Param(bias if draw is None else draw(rngs.params(), (vocabulary,), dtype))
        self.readout = nnx.Dict(arrays)


class Output(NamedTuple):
    """What a forward pass gives: the last layer's h (T, B, H), the state, the emitted sites."""

    hidden: jax.Array
    state: Any
    emitted: dict[str, jax.Array]


@functools.lru_cache
def _structure(config: ModelConfig):
    return nnx.split(nnx.eval_shape(lambda: LanguageModel(config, rngs=nnx.Rngs(0))))


def _module(config: ModelConfig, parameters) -> LanguageModel:
    definition, shapes = _structure(config)
    shapes = jax.tree.map(lambda leaf: leaf, shapes)
    nnx.replace_by_pure_dict(shapes, parameters)
    return nnx.merge(definition, shapes)


def init_parameters(config: ModelConfig, key: jax.Array, dtype=jnp.float32) -> dict:
    """Fresh parameters, by the config's recipe of `initialisation`."""
    model = LanguageModel(config.check(), rngs=nnx.Rngs(params=key), dtype=dtype)
    return nnx.to_pure_dict(nnx.split(model)[1])


def parameter_shapes(config: ModelConfig) -> dict:
    """The parameters as ShapeDtypeStructs (float32); nothing is allocated."""
    return nnx.to_pure_dict(_structure(config.check())[1])


def parameter_count(config: ModelConfig) -> int:
    """How many numbers are trained."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(parameter_shapes(config)))


def flops_per_byte(config: ModelConfig) -> int:
    """Floating-point operations of the products of one training step, for each symbol.

    Two for each weight forward and four backward; an embedding row is read, not multiplied.
    """
    tied = config.hidden * config.vocabulary if config.readout == "tied" else 0
    return 6 * tied + 6 * sum(
        math.prod(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(parameter_shapes(config))
        if path[-1].key.startswith("w")
    )


def dtype_of(parameters: dict) -> Any:
    """The type of the parameters, and so of the states."""
    return parameters["layers"]["0"]["b"].dtype


def embedding_of(config: ModelConfig, parameters: dict) -> jax.Array:
    """What the first layer reads for each symbol, (V, features)."""
    if config.embedding:
        return parameters["embedding"]
    return jnp.eye(config.vocabulary, dtype=dtype_of(parameters))


def layer_weights(config: ModelConfig, parameters: dict, layer: int) -> tuple[dict, dict]:
    """The weights of a layer as they act, weight normalisation applied: those on states, and those
    on what it reads, with its biases."""
    cell = _module(config, parameters).layers[str(layer)]
    return cell.weights(), cell.input_weights()


def readout_weight(parameters: dict) -> jax.Array:
    """(H, V). Raises InputError for a model without a readout."""
    if "readout" not in parameters:
        raise InputError(
            "this model has states and no readout: what it would put out next is not known"
        )
    readout = parameters["readout"]
    return readout["w"] if "w" in readout else parameters["embedding"].T


def initial_state(config: ModelConfig, batch: int, dtype=jnp.float32) -> tuple:
    """The zero state: for each layer a dict of (B, H)."""
    names = CELLS[config.cell].state_names
    return tuple(
        {name: jnp.zeros((batch, config.hidden), dtype) for name in names}
        for _ in range(config.layers)
    )


def _chunk(config: ModelConfig, streams: int) -> int:
    return max(4, (1024 if config.keep == "products" else 256) // max(1, streams))


def plan(
    config: ModelConfig,
    streams: int,
    emit: tuple[str, ...] = (),
    placement: Placement = ALONE,
) -> Plan:
    """How a layer is run here over so many streams, emitting these of its sites."""
    return Plan(
        CELLS[config.cell],
        emit,
        config.products,
        config.keep,
        config.chunk or _chunk(config, streams // placement.groups),
        LAYOUTS[config.layout],
        config.unroll or (GPU_UNROLL if jax.default_backend() == "gpu" else 1),
        placement.whole,
        config.zoneout,
    )


def forward(
    config: ModelConfig,
    parameters: dict,
    ids: jax.Array | None,
    state: tuple,
    *,
    embedded: jax.Array | None = None,
    mask: jax.Array | None = None,
    resets: jax.Array | None = None,
    edits: editing.Arrays | None = None,
    emit: tuple[str, ...] = (),
    dropout_key: jax.Array | None = None,
    reference: bool = False,
    placement: Placement = ALONE,
) -> Output:
    """Run the model over ids.

    Args:
      ids: (T, B) int32; None where `embedded` is given.
      embedded: (T, B, E), to run on these instead of rows of the embedding: what a gradient by
        input needs.
      state: as `initial_state` makes it, or as an earlier call returned it.
      mask: (T, B) bool; where False the state is carried unchanged.
      resets: (T, B) bool; where True the step starts from the zero state.
      edits: arrays, as `editing` says; `edits.Edits` makes them.
      emit: names of sites to return at every step.
      dropout_key: None runs without dropout.
      reference: run the plain scan with JAX's own gradient instead of the fast one.
      placement: what `devices.placement` says of several devices; results change by rounding.

    Returns:
      Output with hidden (T, B, H), the state after the last step, and emitted {name: (T, B, H)}.

    Raises InputError for a site that the model lacks, in `emit` or `edits`.
    """
    for site in emit:
        check_site(config, site)
    editing.check_keys(config, edits)
    if (ids is None) == (embedded is None):
        raise ValueError("give either ids or embedded")
    time, streams = (ids if embedded is None else embedded).shape[:2]  # pyright: ignore[reportOptionalMemberAccess]
    module = _module(config, parameters)
    keys = [None] * config.layers
    if dropout_key is not None:
        keys = list(jax.random.split(dropout_key, config.layers))
    scan = scan_plain if reference else recurrence.scan
    table, dtype = embedding_of(config, parameters), dtype_of(parameters)
    features = (streams, config.features)
    scale = noise.scale(features, config.embedding_dropout, keys[0], noise.EMBEDDING, dtype)
    hidden: Any = embedded
    if scale is not None:
        hidden = (table[ids] if embedded is None else embedded) * scale
    states: list[Any] = []
    emitted = {}
    for layer in range(config.layers):
        cell = module.layers[str(layer)]
        names = tuple(s.removeprefix(f"{layer}.") for s in emit if s.startswith(f"{layer}."))
        result = scan(
            plan(config, streams, names, placement),
            Weights(
                cell.weights(),
                cell.input_weights(),
                table if hidden is None else None,
            ),
            hidden,
            state[layer],
            editing.of_layer(layer, edits),
            Controls(
                ids if hidden is None else None,
                mask,
                resets,
                noise.zones(config, (time, streams, config.hidden), keys[layer]),
            ),
            scale := noise.scale(
                (streams, config.hidden), config.hidden_dropout, keys[layer], noise.HIDDEN, dtype
            ),
        )
        states.append(result.state)
        emitted |= {f"{layer}.{name}": value for name, value in result.emitted.items()}
        last = layer == config.layers - 1
        rate = config.output_dropout if last else config.dropout
        behind: Any = result.hidden if scale is None else result.hidden * scale
        if config.residual and layer > 0:
            behind = hidden + behind
        hidden = noise.dropped(behind, rate, keys[layer])
    return Output(hidden, tuple(states), emitted)


def logits(parameters: dict, hidden: jax.Array, products: str = "float32") -> jax.Array:
    """The readout: hidden (..., H) to unnormalised log probabilities (..., V). Raises InputError
    for a model without one."""
    return dot(hidden, readout_weight(parameters), products) + parameters["readout"]["b"]


def negative_log_likelihood(
    config: ModelConfig, parameters: dict, hidden: jax.Array, targets: jax.Array
) -> jax.Array:
    """Nats that each target costs: hidden (..., H), targets (...) int32 to (...)."""
    scores = logits(parameters, hidden, config.products)
    chosen = jnp.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(scores, axis=-1) - chosen


def fold(config: ModelConfig, parameters: dict) -> dict:
    """What generation computes once: normalised weights, and the first layer's input table. Raises
    InputError for a model without a readout."""
    module = _module(config, parameters)
    layers = {}
    for layer in range(config.layers):
        cell = module.layers[str(layer)]
        inputs = cell.input_weights()
        if layer == 0:
            table = embedding_of(config, parameters)
            terms = cell.inputs(inputs, table, _dot_of(config))
            inputs = {
                name: jnp.broadcast_to(x, (len(table), *x.shape)) if x.ndim == 1 else x
                for name, x in terms.items()
            }
        weights = {name: _pieces(config, w) for name, w in cell.weights().items()}
        layers[str(layer)] = {"weights": weights, "inputs": inputs}
    w, b = readout_weight(parameters), parameters["readout"]["b"]
    return {"layers": layers, "readout": {"w": _pieces(config, w), "b": b}}


def _dot_of(config: ModelConfig):
    return functools.partial(dot, products=config.products)


def _pieces(config: ModelConfig, w: jax.Array) -> tuple[jax.Array, ...]:
    """A weight in the type of its products, cut along its outputs.

    XLA's CPU backend runs the product of one vector with a matrix on one core, and two such
    products on two; other backends want one product.
    """
    if config.products == "bfloat16":
        w = w.astype(jnp.bfloat16)
    pieces = 2 if jax.default_backend() == "cpu" and w.shape[-1] % 256 == 0 else 1
    return tuple(jnp.split(w, pieces, axis=-1))


def _times(x: jax.Array, pieces: tuple[jax.Array, ...], products: str) -> jax.Array:
    return jnp.concatenate([dot(x, w, products) for w in pieces], axis=-1)


def step(
    config: ModelConfig,
    folded: dict,
    ids: jax.Array,
    state: tuple,
    edits: editing.Arrays | None = None,
) -> tuple[jax.Array, tuple]:
    """One step of generation: ids (B,) int32 and a state to logits (B, V) and the new state.

    edits: those of this step, as `editing.at` gives them.
    """
    cell, one_step = CELLS[config.cell], plan(config, len(ids))
    hidden: Any = None
    states = []
    for layer in range(config.layers):
        weights, inputs = (folded["layers"][str(layer)][k] for k in ("weights", "inputs"))
        if layer == 0:
            now = jax.tree.map(lambda table: table[ids], inputs)
        else:
            now = cell.inputs(inputs, hidden, _dot_of(config))

        def product(name, x, weights=weights):
            result = _times(x, weights[name], config.products)
            return gates_of(result, gated=result.ndim > 2)

        new, sites = masked_step(
            one_step,
            state[layer],
            {name: gates_of(x, gated=x.ndim > 2) for name, x in now.items()},
            product,
            editing.of_layer(layer, edits),
        )
        states.append(new)
        behind = sites["hidden"]
        hidden = hidden + behind if config.residual and layer > 0 else behind
    readout = folded["readout"]
    return _times(hidden, readout["w"], config.products) + readout["b"], tuple(states)
