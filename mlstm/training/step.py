"""One step of training, and what is measured beside it: pure functions, compiled once.

Legend: T time, B batch, H hidden. A batch is (T, B), as `corpus.stream.Batch` has it; its `resets`
are None where state is never reset inside a window.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from mlstm.model import language_model, pruning
from mlstm.model.cells import CELLS
from mlstm.model.config import ModelConfig
from mlstm.training.accumulation import first_part, make_gradient
from mlstm.training.pruning import masked_moments
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
    accumulate: int = 1,
    frozen: tuple[str, ...] = (),
    mesh: Mesh | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
    """The function (state, batch) -> (state, metrics); compile it with state donated.

    Truncated back-propagation through time: the carry of the state enters as data, so no gradient
    goes beyond the window. At window 0 of an epoch (of `windows`) the carry is zero.

    The weights of pruned units, which are 0, get no gradient, no update and no moment; parameters
    that are `frozen`, by their names, no gradient and no update.

    A loss, gradient or update that is not finite changes neither parameters, optimizer nor carry;
    the state remembers the first such step, and with `stop_on_nonfinite` changes no more after it.

    The batch is computed in `accumulate` parts, on the `mesh` that it lies on: see `accumulation`.
    """
    summed = make_gradient(model, accumulate, mesh)

    def still(changes: Any) -> Any:
        return changes | {name: jnp.zeros_like(changes[name]) for name in frozen}

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        carry = _entering(state.carry, state.position.window)
        key = None
        if model.random:
            key = jax.random.fold_in(state.key, state.step)

        (nats, targets, total), carried = summed(state.parameters, carry, batch, key)
        gradient = still(jax.tree.map(lambda g: g / jnp.maximum(targets, 1), total))
        left = None
        if state.mask is not None:
            left = pruning.kept(model, state.mask, state.parameters)
            gradient = pruning.masked(gradient, left)
        updates, moments = optimizer.update(gradient, state.optimizer, state.parameters)
        updates = still(updates)
        if left is not None:
            updates = pruning.masked(updates, left)
            moments = masked_moments(moments, state.parameters, left)
        parameters = optax.apply_updates(state.parameters, updates)
        gradient_norm = optax.tree.norm(gradient)
        update_norm = optax.tree.norm(updates)
        good = (
            jnp.isfinite(nats)
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
            mask=state.mask,
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
    model: ModelConfig, accumulate: int = 1
) -> Callable[[Any, Any, jax.Array, Any], dict[str, jax.Array]]:
    """The function (parameters, carry, window, batch) -> for each site of a gate (i, f and o
    of an LSTM, r and z of a GRU) the shares of its values below 0.1 and above 0.9, as a (2,) array.

    Of a batch that is computed in parts it looks at the first one: it would take as much memory for
    the whole as the step no longer does."""
    names = CELLS[model.cell].gate_names
    gates = tuple(f"{layer}.{name}" for layer in range(model.layers) for name in names)

    def saturation(
        parameters: Any, carry: Any, window: jax.Array, batch: Any
    ) -> dict[str, jax.Array]:
        carry, batch = first_part(_entering(carry, window), batch, accumulate)
        emitted = language_model.forward(
            model, parameters, batch.ids, carry, resets=batch.resets, emit=gates
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
