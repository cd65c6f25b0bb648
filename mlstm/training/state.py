"""Everything that a resumed run needs, and where each of its arrays lives on the mesh.

A population is a state with a first axis of seeds in whatever belongs to a model. The functions of
one model are mapped over it: `each_model`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from mlstm import devices
from mlstm.model import language_model
from mlstm.model.pruning import kept, prune
from mlstm.training import pruning
from mlstm.training.config import Config


class Position(NamedTuple):
    """The window to be read next: two integers say where a run is in its text."""

    epoch: jax.Array
    window: jax.Array


class Average(NamedTuple):
    """Sums over the steps since the last log, kept on the devices so that no step waits."""

    nats: jax.Array
    targets: jax.Array


class TrainState(NamedTuple):
    """The whole state of a run; a pytree, donated from step to step."""

    parameters: Any
    optimizer: Any
    carry: Any
    """The recurrent state (B, H) of every layer, where the last window ended."""
    key: jax.Array
    """Never changes: what is random at a step comes from (key, step)."""
    step: jax.Array
    position: Position
    average: Average
    first_bad_step: jax.Array
    """The first step, counted from 1, whose loss or gradient was not finite; -1 while there is
    none."""
    skipped: jax.Array
    """How many steps changed nothing because of that."""
    mask: Any = None
    """Which units are left, where some are pruned (`model.pruning.Alive`)."""

    def saved(self) -> dict[str, Any]:
        """What a checkpoint holds, by name: nothing of a mask where there is none."""
        return {name: part for name, part in self._asdict().items() if part is not None}


OF_MODELS = TrainState._make(
    None if name in ("step", "position") else 0 for name in TrainState._fields
)
"""For `each_model`: where a state has the axis of seeds. Step and position are shared."""


def side_by_side(config: Config) -> bool:
    """Whether the models are computed at once. They take turns on a CPU that is one device, which
    one of them fills; on a mesh of several devices, or on a GPU, they do not."""
    return jax.default_backend() != "cpu" or config.mesh.data * config.mesh.model > 1


def each_model(
    config: Config,
    function: Callable,
    in_axes: Any = 0,
    out_axes: Any = 0,
    *,
    together: bool | None = None,
) -> Callable:
    """`function` of one model as a function of all that are trained, their seeds along the axes
    that `jax.vmap` takes. With one seed there is no such axis, and it is `function` itself.

    `together`: whether the models are computed at once, or take turns inside the one program, on
    a mesh of one device alone; None leaves it to `side_by_side`.
    """
    if config.seeds == 1:
        return function
    if side_by_side(config) if together is None else together:
        return jax.vmap(function, in_axes, out_axes)
    return _in_turns(function, in_axes, out_axes)


def _in_turns(function: Callable, in_axes: Any, out_axes: Any) -> Callable:
    """`jax.vmap` for axes that are 0 or None, as a loop."""

    def pick(axes: Any, mapped: Any, shared: Any) -> Any:
        """From two trees the parts that `axes` gives to the one or the other."""
        return jax.tree.map(
            lambda axis, a, b: b if axis is None else a,
            axes,
            mapped,
            shared,
            is_leaf=lambda axis: axis is None,
        )

    def nothing(axes: Any) -> Any:
        return jax.tree.map(lambda _: None, axes, is_leaf=lambda axis: axis is None)

    def of_all(*given: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(given)

        def one(mapped: Any) -> Any:
            return function(*pick(axes, mapped, given))

        made = jax.lax.map(one, pick(axes, given, nothing(axes)))
        return pick(out_axes, made, jax.tree.map(lambda x: x[0], made))

    return of_all


def init(
    config: Config,
    optimizer: optax.GradientTransformation,
    dtype: Any = jnp.float32,
    parameters: Any = None,
    rows: Any = None,
) -> TrainState:
    """The state at step 0, with fresh parameters where none are given; `rows` are ids, and what
    their rows of a fresh embedding are instead. Pure, so that it can be compiled with the shardings
    of `shardings`."""

    def fresh(seed: jax.Array) -> tuple[Any, jax.Array]:
        parameter_key, key = jax.random.split(jax.random.key(seed))
        return language_model.init_parameters(config.model, parameter_key, dtype), key

    def begin(parameters: Any, key: jax.Array, mask: Any) -> TrainState:
        zero = jnp.zeros((), jnp.int32)
        if mask is not None:
            parameters = prune(config.model, parameters, mask)
        moments = optimizer.init(parameters)
        if mask is not None:
            left = kept(config.model, mask, parameters)
            moments = pruning.masked_moments(moments, parameters, left)
        return TrainState(
            parameters=parameters,
            optimizer=moments,
            carry=language_model.initial_state(config.model, config.data.batch, dtype),
            key=key,
            step=zero,
            position=Position(zero, zero + config.data.first_window),
            average=Average(jnp.zeros((), dtype), jnp.zeros((), dtype)),
            first_bad_step=jnp.full((), -1, jnp.int32),
            skipped=zero,
            mask=mask,
        )

    if config.seeds == 1:
        drawn, key = fresh(jnp.int32(config.seed))
    else:
        # One after another: of several QR decompositions at once, jaxlib (0.10) on a CPU of two
        # cores can wait for ever.
        drawn, key = jax.lax.map(fresh, jnp.array(config.members, jnp.int32))
    if rows is not None:
        ids, vectors = rows
        drawn["embedding"] = drawn["embedding"].at[..., ids, :].set(vectors.astype(dtype))
    begun = each_model(config, begin, out_axes=OF_MODELS)
    mask = jax.tree.map(jnp.asarray, pruning.mask(config))
    return begun(drawn if parameters is None else parameters, key, mask)


def create(
    config: Config,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    dtype: Any = jnp.float32,
    parameters: Any = None,
    rows: Any = None,
) -> TrainState:
    """The state at step 0, each array made where it lives: no device ever holds the whole.

    `parameters`: begin from these instead of fresh ones (the optimizer starts anew). `rows`: as
    `init` has them.
    """
    place = shardings(config, optimizer, mesh, dtype)
    given = None if parameters is None else devices.spread(parameters, place.parameters)
    return jax.jit(partial(init, config, optimizer, dtype), out_shardings=place)(given, rows)


def shardings(
    config: Config,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    dtype: Any = jnp.float32,
) -> TrainState:
    """A TrainState whose leaves are the NamedShardings of a state's leaves."""
    shapes = jax.eval_shape(lambda: init(config, optimizer, dtype))
    everywhere = devices.replicated(mesh)

    def at(place: NamedSharding, part: Any) -> Any:
        return jax.tree.map(lambda _: place, part)

    return at(devices.by_model(mesh), shapes)._replace(
        parameters=devices.parameter_shardings(mesh, shapes.parameters),
        optimizer=devices.optimizer_shardings(mesh, shapes.optimizer, shapes.parameters),
        carry=at(devices.carry_sharding(mesh), shapes.carry),
        step=everywhere,
        position=at(everywhere, shapes.position),
        mask=at(devices.unit_sharding(mesh), shapes.mask),
    )


def abstract(
    config: Config,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    dtype: Any = jnp.float32,
) -> TrainState:
    """Shapes, types and shardings of a state, without the arrays: what a restore aims at."""
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        jax.eval_shape(lambda: init(config, optimizer, dtype)),
        shardings(config, optimizer, mesh, dtype),
    )
