"""The loss of a batch, its gradient through the model and the head, and one step."""

# T time, B texts, K outputs

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mlstm.classifier import EXCLUSIVE
from mlstm.model import head, language_model, whole_texts
from mlstm.model.config import ModelConfig
from mlstm.model.head import HeadConfig
from mlstm.model.whole_texts import Running, What
from mlstm.training import optimizer
from mlstm.training.finetuning.config import FinetuneConfig


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is compiled in."""

    model: ModelConfig
    head: HeadConfig
    what: What
    kind: str
    language_model_loss: float = 0.0


class Given(NamedTuple):
    """A batch on the device, and what is known of it before the gradient begins."""

    running: Running  # after the beginning of each text
    ids: jax.Array  # (T, B)
    mask: jax.Array  # (T, B)
    wanted: jax.Array  # (B, K)
    weights: jax.Array  # (B, K), 0 where nothing is known


class State(NamedTuple):
    """What a step changes."""

    parameters: dict[str, Any]  # {"model": ..., "head": ...}
    optimizer: Any
    step: jax.Array
    bad: jax.Array  # steps that were left out, their loss or gradient not being finite


def class_loss(kind: str, scores: jax.Array, wanted: jax.Array, weights: jax.Array) -> jax.Array:
    """Mean cross-entropy, in nats: of exclusive classes for each text, else for each label."""
    known = weights > 0
    if kind == EXCLUSIVE:
        nats = -(wanted * jax.nn.log_softmax(scores)).sum(-1)
        return (nats * weights[:, 0]).sum() / jnp.maximum(known[:, 0].sum(), 1)
    nats = optax.sigmoid_binary_cross_entropy(scores, wanted)
    return (nats * weights).sum() / jnp.maximum(known.sum(), 1)


def loss(
    shape: Shape,
    parameters: dict[str, Any],
    standard: dict[str, jax.Array],
    given: Given,
    key: jax.Array | None = None,
    reference: bool = False,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of a batch and its parts. Without a key nothing is dropped."""
    of_model = of_head = None
    if key is not None:
        of_model, of_head = jax.random.split(key)
    running, hidden = whole_texts.read(
        shape.model,
        parameters["model"],
        given.running,
        given.ids,
        given.mask,
        shape.what,
        dropout_key=of_model,
        reference=reference,
    )
    features = whole_texts.features(running, shape.what)
    scores = head.scores(shape.head, parameters["head"], standard, features, of_head)
    total = nats = class_loss(shape.kind, scores, given.wanted, given.weights)
    parts = {"class": nats}
    if shape.language_model_loss:
        each = language_model.negative_log_likelihood(
            shape.model, parameters["model"], hidden[:-1], given.ids[1:]
        )
        follows = given.mask[:-1]  # texts end together: what follows an id is one too
        parts["bytes"] = jnp.where(follows, each, 0).sum() / jnp.maximum(follows.sum(), 1)
        total = total + shape.language_model_loss * parts["bytes"]
    return total, parts


def make_optimizer(config: FinetuneConfig, steps: int) -> optax.GradientTransformation:
    """One for the head and one for the model, whose rate is a share of the head's, behind the
    clipping of the whole gradient."""
    chain = [optax.clip_by_global_norm(config.clip)] if config.clip else []
    each: dict[Any, optax.GradientTransformation] = {
        "head": optimizer.make(config.optimizer_config(config.learning_rate, steps), steps),
        "model": optimizer.make(
            config.optimizer_config(config.learning_rate, steps, config.model_rate), steps
        )
        if config.model_rate
        else optax.set_to_zero(),
    }
    return optax.chain(*chain, optax.partition(each, {"head": "head", "model": "model"}))


@cache
def make_step(
    shape: Shape, config: FinetuneConfig, steps: int
) -> Callable[[State, dict, Given, jax.Array], tuple[State, dict[str, jax.Array]]]:
    """The compiled function (state, standard, given, key) -> (state, parts of the loss), of a run
    of so many steps. A step whose loss or gradient is not finite changes nothing, and is counted.
    """
    optimizer = make_optimizer(config, steps)

    def step(state: State, standard: dict, given: Given, key: jax.Array):
        of = jax.random.fold_in(key, state.step)

        def total_loss(parameters: dict[str, Any]):
            if not config.model_rate:  # a model that stays has no part in the gradient's norm
                frozen = jax.lax.stop_gradient(parameters["model"])
                parameters = parameters | {"model": frozen}
            return loss(shape, parameters, standard, given, of)

        (total, parts), gradient = jax.value_and_grad(total_loss, has_aux=True)(state.parameters)
        updates, moments = optimizer.update(gradient, state.optimizer, state.parameters)
        good = jnp.isfinite(total) & jnp.isfinite(optax.tree.norm(updates))
        parameters = optax.apply_updates(state.parameters, updates)

        def chosen(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)

        return State(
            chosen(parameters, state.parameters),
            chosen(moments, state.optimizer),
            state.step + 1,
            state.bad + ~good,
        ), parts

    return jax.jit(step, donate_argnums=0)


@partial(jax.jit, static_argnames=("shape", "config"))
def train_head(
    shape: Shape,
    config: FinetuneConfig,
    parameters: dict[str, Any],
    standard: dict[str, jax.Array],
    features: jax.Array,
    wanted: jax.Array,
    weights: jax.Array,
    order: jax.Array,
    key: jax.Array,
) -> dict[str, Any]:
    """The head after steps by itself, on features that stay as they are.

    order: (steps, B) int, which texts each step reads.
    """
    steps = len(order)
    rule = optimizer.make(config.optimizer_config(config.learning_rate, steps), steps)

    def step(carry: Any, now: Any) -> Any:
        at, texts = now

        def nats(parameters):
            of = jax.random.fold_in(key, at)
            scores = head.scores(shape.head, parameters, standard, features[texts], of)
            return class_loss(shape.kind, scores, wanted[texts], weights[texts])

        parameters, moments = carry
        updates, moments = rule.update(jax.grad(nats)(parameters), moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), None

    carry: Any = parameters, rule.init(parameters)
    return jax.lax.scan(step, carry, (jnp.arange(steps), order))[0][0]
