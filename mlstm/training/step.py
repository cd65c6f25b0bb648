"""One step of training, and what is measured beside it: pure functions, compiled once.

Legend: T time, B batch, H hidden. A batch is (T, B), as `corpus.stream.Batch` has it; its `resets`
are None where state is never reset inside a window.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mlstm.model import language_model
from mlstm.model.cells import CELLS
from mlstm.model.language_model import ModelConfig
from mlstm.model.readable import ALONE, Placement
from mlstm.training.state import Average, Position, TrainState


class Metrics(NamedTuple):
    """What a step measured; left on the devices until somebody reads it."""

    nats: jax.Array
    """Mean nats for each target, over the steps since the last log; nan where all were skipped."""
    gradient_norm: jax.Array
    update_ratio: jax.Array
    """Norm of the parameters' change over the norm of the parameters."""
    learning_rate: jax.Array
    first_bad_step: jax.Array
    skipped: jax.Array


def make_train_step(
    model: ModelConfig,
    optimizer: optax.GradientTransformation,
    rate: Callable[[Any], jax.Array],
    *,
    windows: int,
    log_every: int,
    stop_on_nonfinite: bool,
    placement: Placement = ALONE,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """The function (state, batch) -> (state, metrics); compile it with state donated.

    Truncated back-propagation through time: the carry of the state enters as data, so no gradient
    goes beyond the window. At window 0 of an epoch (of `windows`) the carry is zero.

    A loss, gradient or update that is not finite changes neither parameters, optimizer nor carry;
    the state remembers the first such step, and with `stop_on_nonfinite` changes no more after it.
    """

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        carry = _entering(state.carry, state.position.window)
        key = None
        if model.dropout or model.output_dropout:
            key = jax.random.fold_in(state.key, state.step)

        def loss(parameters: Any) -> tuple[jax.Array, tuple]:
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
            nats, targets = jnp.sum(nats_TB * batch.weights), jnp.sum(batch.weights)
            return nats / jnp.maximum(targets, 1), (nats, targets, output.state)

        (mean, (nats, targets, carried)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.parameters
        )
        updates, moments = optimizer.update(gradient, state.optimizer, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        gradient_norm = optax.tree.norm(gradient)
        update_norm = optax.tree.norm(updates)
        good = (
            jnp.isfinite(mean)
            & jnp.isfinite(gradient_norm)
            & jnp.isfinite(update_norm)
            & _all_finite(carried)
        )
        step = state.step + 1
        first_bad = jnp.where(good | (state.first_bad_step >= 0), state.first_bad_step, step)
        if stop_on_nonfinite:
            good &= first_bad < 0

        def chosen(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)

        logged = state.step % log_every == 0
        since = jax.tree.map(lambda s: jnp.where(logged, 0, s), state.average)
        average = chosen(Average(since.nats + nats, since.targets + targets), since)
        window = (state.position.window + 1) % windows
        new = TrainState(
            parameters=chosen(parameters, state.parameters),
            optimizer=chosen(moments, state.optimizer),
            carry=chosen(carried, carry),
            key=state.key,
            step=step,
            position=Position(state.position.epoch + (window == 0), window),
            average=average,
            first_bad_step=first_bad,
            skipped=state.skipped + ~good,
        )
        metrics = Metrics(
            nats=jnp.where(average.targets > 0, average.nats / average.targets, jnp.nan),
            gradient_norm=gradient_norm,
            update_ratio=update_norm / optax.tree.norm(state.parameters),
            learning_rate=rate(state.step - state.skipped),
            first_bad_step=first_bad,
            skipped=new.skipped,
        )
        return new, metrics

    return train_step


def make_gate_saturation(
    model: ModelConfig,
) -> Callable[[Any, Any, jax.Array, Any], dict[str, jax.Array]]:
    """The function (parameters, carry, window, batch) -> for each site of a gate (i, f and o,
    where the cell has them) the shares of its values below 0.1 and above 0.9, as a (2,) array."""
    names = [name for name in CELLS[model.cell].site_names if name in ("i", "f", "o")]
    gates = tuple(f"{layer}.{name}" for layer in range(model.layers) for name in names)

    def saturation(
        parameters: Any, carry: Any, window: jax.Array, batch: Any
    ) -> dict[str, jax.Array]:
        emitted = language_model.forward(
            model,
            parameters,
            batch.ids,
            _entering(carry, window),
            resets=batch.resets,
            emit=gates,
        ).emitted
        return {
            site: jnp.stack([jnp.mean(values < 0.1), jnp.mean(values > 0.9)])
            for site, values in emitted.items()
        }

    return saturation


def _entering(carry: Any, window: jax.Array) -> Any:
    """The state that enters a window: zero at the first of an epoch, else the carried one."""
    return jax.tree.map(lambda s: jnp.where(window == 0, 0, s), carry)


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
