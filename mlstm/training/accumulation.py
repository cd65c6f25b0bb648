"""The gradient of a batch as a sum over parts of its streams, computed one after another.

What is kept for the backward pass is that of one part. Part j of k is streams j, j + k, j + 2k ...:
each part has streams of every device, and none moves.

Legend: T time, B batch, H hidden.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from mlstm import devices
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.model.readable import ALONE


class Sums(NamedTuple):
    """Of the weighted targets of some streams."""

    nats: jax.Array
    targets: jax.Array
    gradient: Any
    """Of `nats`; a tree like the parameters."""


def make_gradient(
    model: ModelConfig, parts: int = 1, mesh: Mesh | None = None
) -> Callable[[Any, Any, Any, jax.Array | None], tuple[Sums, Any]]:
    """The function (parameters, carry, batch, key) -> (Sums, the carry after the window).

    The carry is a tree of (B, H), the batch one of (T, B); a key of None is without dropout.
    With `parts` that share the streams of a `mesh` whose axis `data` is more than 1, each of its
    groups sums over all parts first, and only those sums are exchanged.
    """

    by_group = parts > 1 and mesh is not None and mesh.shape["data"] > 1
    placement = ALONE if mesh is None else devices.placement(mesh, of_group=by_group)

    def of_streams(parameters: Any, carry: Any, batch: Any, key: Any) -> tuple[Sums, Any]:
        def nats(parameters: Any) -> tuple[jax.Array, tuple]:
            output = language_model.forward(
                model,
                parameters,
                batch.ids,
                carry,
                resets=batch.resets,
                dropout_key=key,
                placement=placement,
            )
            nats_TB = language_model.negative_log_likelihood(
                model, parameters, output.hidden, batch.targets
            )
            return jnp.sum(nats_TB * batch.weights), (jnp.sum(batch.weights), output.state)

        (nats_, (targets, carried)), gradient = jax.value_and_grad(nats, has_aux=True)(parameters)
        return Sums(nats_, targets, gradient), carried

    def of_parts(parameters: Any, carry: Any, batch: Any, key: Any) -> tuple[Sums, Any]:
        def one(sums: Sums | None, number: Any, part: tuple[Any, Any]) -> tuple[Sums, Any]:
            own = None if key is None else jax.random.fold_in(key, number)
            found, carried = of_streams(parameters, *part, own)
            return found if sums is None else jax.tree.map(jnp.add, sums, found), carried

        split = _split(carry, 0, parts), _split(batch, 1, parts)
        zero = jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype),
            jax.eval_shape(lambda: one(None, 0, jax.tree.map(lambda x: x[0], split))[0]),
        )
        sums, carried = jax.lax.scan(
            lambda sums, x: one(sums, *x), zero, (jnp.arange(parts), split)
        )
        return sums, _joined(carried)

    if parts == 1:
        return of_streams
    if mesh is None or not by_group:
        return of_parts

    def of_group(parameters: Any, carry: Any, batch: Any, key: Any) -> tuple[Sums, Any]:
        if key is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index("data"))
        sums, carried = of_parts(parameters, carry, batch, key)
        return jax.lax.psum(sums, "data"), carried

    return jax.shard_map(
        of_group,
        mesh=mesh,
        axis_names={"data"},  # the compiler splits the hidden units, as it does everywhere
        in_specs=(P(), P("data"), P(None, "data"), P()),
        out_specs=(P(), P("data")),
        check_vma=False,  # the gradient is to stay that of the group until it is summed
    )


def first_part(carry: Any, batch: Any, parts: int) -> tuple[Any, Any]:
    """The streams of the first of `parts`: of a carry (B, H) and of a batch (T, B)."""
    return jax.tree.map(lambda x: x[0], (_split(carry, 0, parts), _split(batch, 1, parts)))


def _split(tree: Any, axis: int, parts: int) -> Any:
    """The streams along `axis` as `parts` along a first axis."""

    def split(x: jax.Array) -> jax.Array:
        shape = (*x.shape[:axis], x.shape[axis] // parts, parts, *x.shape[axis + 1 :])
        return jnp.moveaxis(x.reshape(shape), axis + 1, 0)

    return jax.tree.map(split, tree)


def _joined(tree: Any) -> Any:
    """(parts, B / parts, H) as the (B, H) that was split."""
    return jax.tree.map(
        lambda x: jnp.moveaxis(x, 0, 1).reshape(x.shape[0] * x.shape[1], *x.shape[2:]), tree
    )
