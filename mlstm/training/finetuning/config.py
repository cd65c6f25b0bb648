"""What a fine-tuning is asked to do; beside a field stands what it may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlstm.errors import InputError
from mlstm.features import check_pooling
from mlstm.model.head import ACTIVATIONS
from mlstm.training.config import OptimizerConfig, setting

THRESHOLDS = ("accuracy", "f1", "none")
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True)
class FinetuneConfig:
    """A zero turns off what can be turned off. The defaults are those of the best accuracy on the
    dev part of 2,000 film reviews, of a few that were tried with a model of 256 units."""

    sites: tuple[str, ...] = ()  # states that are read; none is the primary one
    poolings: tuple[str, ...] = ("mean", "max")  # one after another: last, mean, max, min
    sizes: tuple[int, ...] = ()  # hidden layers of the head; none is a linear one
    activation: str = setting("relu", choices=tuple(ACTIVATIONS))
    dropout: float = setting(0.0, low=0, below=1)  # of what each layer of the head reads

    epochs: int = setting(3, low=0)
    batch: int = setting(16, low=1)  # texts of a step
    freeze: int = setting(200, low=0)  # steps of the head alone, before the first epoch
    learning_rate: float = setting(2e-3, above=0)  # of the head
    model_rate: float = setting(1.0, low=0)  # that of the language model, as a share of it
    optimizer: str = setting("adamw", choices=("adamw", "adam", "sgd", "rmsprop", "lamb", "lion"))
    schedule: str = setting("linear", choices=("constant", "linear", "cosine"))
    warmup: float = setting(0.1, low=0, high=1)  # share of the steps
    weight_decay: float = setting(0.0, low=0)
    clip: float = setting(1.0, low=0)  # largest norm of the whole gradient

    language_model_loss: float = setting(0.0, low=0)  # weight of the nats for each byte
    class_weights: str = setting("none", choices=CLASS_WEIGHTS)
    thresholds: str = setting("accuracy", choices=THRESHOLDS)  # what they are best at on dev
    limit: int = setting(0, low=0)  # the last bytes, or tokens, of a text that are read; 0 is all
    truncate: int = setting(1024, low=0)  # the last bytes that a gradient goes through; 0 is all
    buckets: int = setting(6, low=1)  # lengths of batches, each compiled once
    seed: int = setting(0, low=0, high=2**31 - 1)

    def check(self) -> FinetuneConfig:
        """Return self, or raise InputError that names the field and what it may be."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _check_type(field.name, value, str(field.type))
            _check(field.name, value, field.metadata)
        if not self.poolings:
            raise InputError("no pooling is named")
        for name in self.poolings:
            check_pooling(name)
        for name in ("sites", "poolings"):
            check_once(name, getattr(self, name))
        for size in self.sizes:
            if size < 1:
                raise InputError(f"sizes has {size!r}: a layer has a whole number of units above 0")
        if not self.epochs and not self.freeze:
            raise InputError("epochs and freeze are both 0: there is nothing to train")
        return self

    def optimizer_config(self, rate: float, steps: int, share: float = 1.0) -> OptimizerConfig:
        """Of so many steps, at this share of the learning rate; clipping is done outside."""
        return OptimizerConfig(
            name=self.optimizer,
            learning_rate=rate * share,
            schedule=self.schedule,
            warmup=round(self.warmup * steps),
            weight_decay=self.weight_decay,
        )


def check_once(name: str, values: Sequence[str]) -> None:
    """InputError for a value that is there twice."""
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"{name} has {value} twice; each is read once")


_TYPES = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a word"),
    "tuple[int, ...]": ((int,), "a tuple of whole numbers"),
    "tuple[str, ...]": ((str,), "a tuple of names"),
}
"""By the type of a field: of what types its values are, and how they are called."""


def _check_type(name: str, value: Any, of: str) -> None:
    types, called = _TYPES[of]
    several = of.startswith("tuple")
    each = value if isinstance(value, tuple) else (value,)
    fit = isinstance(value, tuple) == several
    fit = fit and all(isinstance(x, types) and not isinstance(x, bool) for x in each)
    if not fit:
        raise InputError(f"{name} is {value!r}: it has to be {called}")


def _check(name: str, value: Any, limits: Any) -> None:
    if not limits:
        return
    choices = limits["choices"]
    if choices:
        if value not in choices:
            raise InputError(f"{name} is {value!r}; it may be {', '.join(choices)}")
        return
    # Written so that nan fails each.
    if limits["low"] is not None and not value >= limits["low"]:
        raise InputError(f"{name} is {value!r}: it has to be at least {limits['low']}")
    if limits["above"] is not None and not value > limits["above"]:
        raise InputError(f"{name} is {value!r}: it has to be more than {limits['above']}")
    if limits["high"] is not None and not value <= limits["high"]:
        raise InputError(f"{name} is {value!r}: it has to be at most {limits['high']}")
    if limits["below"] is not None and not value < limits["below"]:
        raise InputError(f"{name} is {value!r}: it has to be less than {limits['below']}")
    if value == float("inf"):
        raise InputError(f"{name} is {value!r}: it has to be finite")
