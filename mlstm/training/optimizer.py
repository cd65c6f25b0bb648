"""From a config to an optax chain: clipping, the schedule, and the optimizer itself."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers

from mlstm.training.config import OptimizerConfig

Schedule = Callable[[Any], jax.Array]

# The weights that Muon takes as matrices: (inputs, outputs), the gates among the outputs.
MATRICES = ("wmx", "wmh", "wx", "wh", "whn")


def make(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The chain: clip each element, clip the whole, then the optimizer with its schedule.

    `steps` is the length of the run, at whose end the schedule is at its final fraction.
    """
    chain = []
    if config.clip_value:
        chain.append(optax.clip(config.clip_value))
    if config.clip_norm:
        chain.append(optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*chain, _OPTIMIZERS[config.name](config, schedule(config, steps)))


def schedule(config: OptimizerConfig, steps: int) -> Schedule:
    """step -> learning rate: linear warm-up, then constant, linear or cosine to the final fraction.

    The first step of a warm-up of N has 1/N of the peak; the fall reaches its end at `steps`, or
    `decay_steps` after the warm-up, from where on it stays.
    """
    falling = config.decay_steps or max(1, steps - config.warmup)

    def rate(step: Any) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        progress = jnp.clip((step - config.warmup) / falling, 0.0, 1.0)
        if config.schedule == "constant":
            left = jnp.ones(())
        elif config.schedule == "linear":
            left = 1.0 - progress
        else:
            left = 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        fraction = config.final_fraction + (1.0 - config.final_fraction) * left
        warm = jnp.minimum(1.0, (step + 1.0) / max(1, config.warmup))
        return config.learning_rate * fraction * warm

    return rate


def muon_dimensions(parameters: Any) -> Any:
    """For each leaf how Muon has to read it: the axes of a flat matrix, or None (left to Adam).

    wx (E, G, H) and wh (H, G, H) are the matrices (E, GH) and (H, GH); wmx, wmh and whn are
    matrices already. Embedding, readout, biases and the gains of weight normalisation go to Adam.
    """

    def dimensions(path: tuple, leaf: Any) -> MuonDimensionNumbers | None:
        if getattr(path[-1], "key", None) not in MATRICES:
            return None
        return MuonDimensionNumbers(0, tuple(range(1, leaf.ndim)))

    return jax.tree_util.tree_map_with_path(dimensions, parameters)


def decayed(parameters: Any) -> Any:
    """True for the leaves that weight decay may touch: weights and embedding, not biases,
    not gains, which are vectors of one number for each unit."""

    def decays(path: tuple, leaf: Any) -> bool:
        name = str(getattr(path[-1], "key", path[-1]))
        return name == "embedding" or name.startswith("w")

    return jax.tree_util.tree_map_with_path(decays, parameters)


def _muon(config: OptimizerConfig, rate: Schedule) -> optax.GradientTransformation:
    # One shape for both rates: Adam's is this multiple of Muon's, at every step.
    ratio = (config.adam_learning_rate or config.learning_rate) / config.learning_rate
    return optax.contrib.muon(
        rate,
        beta=config.momentum,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        adam_b1=config.b1,
        adam_b2=config.b2,
        adam_learning_rate=lambda step: ratio * rate(step),
        muon_weight_dimension_numbers=muon_dimensions,
    )


def _sgd(config: OptimizerConfig, rate: Schedule) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, decayed),
        optax.sgd(rate, momentum=config.momentum or None),
    )


def _adam_like(make: Callable, *, decays: bool) -> Callable:
    def build(config: OptimizerConfig, rate: Schedule) -> optax.GradientTransformation:
        settings: dict[str, Any] = {"b1": config.b1, "b2": config.b2}
        if make is not optax.lion:
            settings["eps"] = config.epsilon
        if decays:
            return make(rate, **settings, weight_decay=config.weight_decay, mask=decayed)
        return optax.chain(
            optax.add_decayed_weights(config.weight_decay, decayed), make(rate, **settings)
        )

    return build


def _rmsprop(config: OptimizerConfig, rate: Schedule) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, decayed),
        optax.rmsprop(rate, eps=config.epsilon, momentum=config.momentum or None),
    )


def _adafactor(config: OptimizerConfig, rate: Schedule) -> optax.GradientTransformation:
    return optax.adafactor(
        rate, weight_decay_rate=config.weight_decay or None, weight_decay_mask=decayed
    )


def _adagrad(config: OptimizerConfig, rate: Schedule) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(config.weight_decay, decayed), optax.adagrad(rate))


_OPTIMIZERS: dict[str, Callable[[OptimizerConfig, Schedule], optax.GradientTransformation]] = {
    "adamw": _adam_like(optax.adamw, decays=True),
    "muon": _muon,
    "sgd": _sgd,
    "adam": _adam_like(optax.adam, decays=False),
    "nadam": _adam_like(optax.nadam, decays=False),
    "nadamw": _adam_like(optax.nadamw, decays=True),
    "adafactor": _adafactor,
    "adagrad": _adagrad,
    "lamb": _adam_like(optax.lamb, decays=True),
    "lion": _adam_like(optax.lion, decays=True),
    "rmsprop": _rmsprop,
}
