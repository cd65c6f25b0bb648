"""Embedding, recurrent layers, readout and loss, and the config that fixes their shapes.

The functions are pure in (config, parameters, ids, state). `ModelConfig` is hashable: give it as a
static argument to `jax.jit`. Parameters are one nested dict of arrays:

    {"embedding": (V, E),
     "layers": {"0": {the cell's, see cells.py}, "1": ...},
     "readout": {"w": (H, V), "b": (V,)}}

Legend: T time, B batch, E embedding, H hidden, V vocabulary.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from mlstm.errors import InputError
from mlstm.model import editing, recurrence
from mlstm.model.cells import CELLS
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


def rounding_only(default):
    """A field that says how a model is computed, not what: it changes results by rounding alone."""
    return dataclasses.field(default=default, metadata={"resume": "equal but for rounding"})


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape of a model, and how its products are computed."""

    cell: str = "multiplicative_lstm"
    """One of `cells.CELLS`."""
    vocabulary: int = 256
    embedding: int = 64
    hidden: int = 256
    layers: int = 1
    weight_norm: bool = True
    """w = g v / ||v|| for each output unit of the cell's weights; embedding and readout plain."""
    forget_bias: float = 1.0
    """The forget gate's bias at the start."""
    dropout: float = 0.0
    """Share of the units dropped between layers, in training."""
    output_dropout: float = 0.0
    """Share of the units dropped before the readout, in training."""
    products: str = "float32"
    """ "bfloat16" rounds the operands of every matrix product, of the gradient's too; sums, states
    and parameters stay float32. "float32" does not become TF32 on a GPU."""
    keep: str = rounding_only("products")
    """What the forward pass keeps for the backward pass: "products", or "states" alone, which needs
    less memory and computes the products of a chunk again."""
    chunk: int = rounding_only(0)
    """Steps whose weight gradients are one product: fewer cost time, more cost memory. 0 is
    1024 / batch steps, or, for the sake of memory, 256 / batch where states alone are kept; at
    least four."""
    layout: str = rounding_only("rows")
    """How states lie in memory: a stream is one of the "rows", or of the "columns"."""
    unroll: int = rounding_only(0)
    """Steps in one turn of the loop over time; 0 is `GPU_UNROLL` on a GPU, else 1."""

    def check(self) -> "ModelConfig":
        """Return self, or raise InputError that names the field and what it may be."""
        if self.cell not in CELLS:
            raise InputError(f'model.cell is "{self.cell}"; it may be {", ".join(CELLS)}')
        if self.products not in ("float32", "bfloat16"):
            raise InputError(f'model.products is "{self.products}"; it may be float32 or bfloat16')
        for name in ("vocabulary", "embedding", "hidden", "layers"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"model.{name} is {value}; it must be a whole number above 0")
        if self.keep not in ("products", "states"):
            raise InputError(f'model.keep is "{self.keep}"; it may be products or states')
        if self.layout not in LAYOUTS:
            raise InputError(f'model.layout is "{self.layout}"; it may be {", ".join(LAYOUTS)}')
        for name in ("dropout", "output_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it is a share from 0 to below 1"
                )
        if self.dropout and self.layers == 1:
            raise InputError(
                f"model.dropout is {self.dropout} but acts between layers, and there is one; "
                "model.output_dropout acts before the readout"
            )
        for name in ("chunk", "unroll"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise InputError(f"model.{name} is {value}; it must be a whole number, 0 or more")
        if not math.isfinite(self.forget_bias):
            raise InputError(f"model.forget_bias is {self.forget_bias}; it must be finite")
        return self


class LanguageModel(nnx.Module):
    """The parameters of a model and their shapes; what is computed with them is below."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs, dtype=jnp.float32):
        cell = CELLS[config.cell]
        self.embedding = nnx.Param(
            jax.random.normal(rngs.params(), (config.vocabulary, config.embedding), dtype)
        )
        self.layers = nnx.Dict(
            {
                str(layer): cell(
                    config.embedding if layer == 0 else config.hidden,
                    config.hidden,
                    weight_norm=config.weight_norm,
                    forget_bias=config.forget_bias,
                    rngs=rngs,
                    dtype=dtype,
                )
                for layer in range(config.layers)
            }
        )
        glorot = jax.nn.initializers.glorot_uniform()
        self.readout = nnx.Dict(
            w=nnx.Param(glorot(rngs.params(), (config.hidden, config.vocabulary), dtype)),
            b=nnx.Param(jnp.zeros(config.vocabulary, dtype)),
        )


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
    """Fresh parameters: orthogonal recurrent weights, Glorot-uniform input weights and readout,
    normal embedding (standard deviation 1); gains are the norms of what they scale."""
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
    return 6 * sum(
        math.prod(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(parameter_shapes(config))
        if path[-1].key.startswith("w")
    )


def initial_state(config: ModelConfig, batch: int, dtype=jnp.float32) -> tuple:
    """The zero state: for each layer a dict of (B, H)."""
    names = CELLS[config.cell].state_names
    return tuple(
        {name: jnp.zeros((batch, config.hidden), dtype) for name in names}
        for _ in range(config.layers)
    )


def _dropped(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    if rate == 0 or key is None:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


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
    streams = (ids if embedded is None else embedded).shape[1]  # pyright: ignore[reportOptionalMemberAccess]
    module = _module(config, parameters)
    keys = [None] * config.layers
    if dropout_key is not None:
        keys = list(jax.random.split(dropout_key, config.layers))
    scan = scan_plain if reference else recurrence.scan
    hidden: Any = embedded
    states, emitted = [], {}
    for layer in range(config.layers):
        cell = module.layers[str(layer)]
        names = tuple(s.removeprefix(f"{layer}.") for s in emit if s.startswith(f"{layer}."))
        result = scan(
            plan(config, streams, names, placement),
            Weights(
                cell.weights(),
                cell.input_weights(),
                module.embedding[...] if hidden is None else None,
            ),
            hidden,
            state[layer],
            editing.of_layer(layer, edits),
            Controls(ids if hidden is None else None, mask, resets),
        )
        states.append(result.state)
        emitted |= {f"{layer}.{name}": value for name, value in result.emitted.items()}
        last = layer == config.layers - 1
        rate = config.output_dropout if last else config.dropout
        hidden = _dropped(result.hidden, rate, keys[layer])
    return Output(hidden, tuple(states), emitted)


def logits(parameters: dict, hidden: jax.Array, products: str = "float32") -> jax.Array:
    """The readout: hidden (..., H) to unnormalised log probabilities (..., V)."""
    readout = parameters["readout"]
    return dot(hidden, readout["w"], products) + readout["b"]


def negative_log_likelihood(
    config: ModelConfig, parameters: dict, hidden: jax.Array, targets: jax.Array
) -> jax.Array:
    """Nats that each target costs: hidden (..., H), targets (...) int32 to (...)."""
    scores = logits(parameters, hidden, config.products)
    chosen = jnp.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(scores, axis=-1) - chosen


def fold(config: ModelConfig, parameters: dict) -> dict:
    """What generation computes once: normalised weights, and the first layer's input table."""
    module = _module(config, parameters)
    layers = {}
    for layer in range(config.layers):
        cell = module.layers[str(layer)]
        inputs = cell.input_weights()
        if layer == 0:
            inputs = cell.inputs(inputs, module.embedding[...], _dot_of(config))
        weights = {name: _pieces(config, w) for name, w in cell.weights().items()}
        layers[str(layer)] = {"weights": weights, "inputs": inputs}
    readout = parameters["readout"]
    return {"layers": layers, "readout": {"w": _pieces(config, readout["w"]), "b": readout["b"]}}


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
    cell = CELLS[config.cell]
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
            cell,
            state[layer],
            {name: gates_of(x, gated=x.ndim > 2) for name, x in now.items()},
            product,
            editing.of_layer(layer, edits),
            None,
            None,
        )
        states.append(new)
        hidden = sites["hidden"]
    readout = folded["readout"]
    return _times(hidden, readout["w"], config.products) + readout["b"], tuple(states)
