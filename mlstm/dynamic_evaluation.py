"""Bits per byte of a text under dynamic evaluation, beside those of the same model standing still.

The text is read by one stream, so that all that was read before is learned from; with several,
each reads its piece and learns from that alone, and the figure lies nearer to the static one. Where
rates are not given they are tuned: every one of a grid reads a part of a validation text, and the
best reads the text itself, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.corpus.reading import Split
from mlstm.corpus.stream import Stream
from mlstm.dynamic_result import DynamicEvaluation, Reading, Trial
from mlstm.dynamic_settings import Settings
from mlstm.errors import InputError
from mlstm.model import dynamic, language_model
from mlstm.model.config import ModelConfig
from mlstm.model.dynamic import Rates, Statistics
from mlstm.model.scoring import score_window
from mlstm.trained import Model
from mlstm.validated_text import same_text

Progress = Callable[[str, int, int], None]
STEPS = 256  # of a window, about: segments of one call
CONTEXT = 512  # read before the piece of each stream but the first, and neither charged nor learned
STREAMS = 100  # side by side for statistics, as in the published code


@dataclass(frozen=True)
class Head:
    """The first ids of a split."""

    split: Split
    length: int
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", min(self.length, self.split.length))
        object.__setattr__(self, "name", self.split.name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.split, name)


def evaluate(
    models: Model | Sequence[Model],
    split: Split,
    settings: Settings | None = None,
    *,
    train: Split | None = None,
    validation: Split | None = None,
    text: str = "text",
    tuned_on: str = "validation",
    statistics: str = "training text",
    most: int = 0,
    progress: Progress | None = None,
) -> DynamicEvaluation:
    """Score a split statically and dynamically, with every id but the first charged once.

    Args:
      train: the text of which the rule "rms" gathers statistics; that which the model was trained
        on, or like it.
      validation: what rates are tuned on, where the settings leave a choice.
      text, tuned_on, statistics: their names and that of `train`, for people.
      most: ids of the split that are read at most, 0 for all.
      progress: called with what is done, the ids read and all ids.

    Each model of a list is tuned, and adapts, by itself. Raises InputError for rates that are
    none, and where a text that is needed is missing, too short, or of another vocabulary, and where
    rates would be tuned on the very text that is scored.
    """
    settings = (settings or Settings()).check()
    several = list(models) if isinstance(models, Sequence) else [models]
    tell = progress or (lambda what, done, total: None)
    whole = Head(split, most or split.length)
    tuning = len(settings.grid) > 1
    if tuning and validation is None:
        raise InputError(
            "dynamic evaluation is tuned on a validation text, and there is none: name one, or "
            "give one learning rate and one decay"
        )
    if settings.rule == "rms" and train is None:
        raise InputError(
            "the rule rms needs the text that the model was trained on, or like it: name one"
        )
    for each, of in ((split, "text"), (train, "training text"), (validation, "validation text")):
        if each is not None and each.vocabulary != several[0].vocabulary:
            raise InputError(
                f"the {of} has the vocabulary {each.vocabulary}, the model's is "
                f"{several[0].vocabulary}"
            )
    if tuning and validation is not None and same_text(split, validation):
        raise InputError(
            f"{tuned_on} is the very text that is scored: rates that are tuned on it would make "
            "the figure too low; name another text, or give one learning rate and one decay"
        )
    gathers = settings.rule == "rms" and train is not None
    seen = gathers and train is not None and same_text(split, train)
    tuning_streams = None
    if tuning and validation is not None:
        tuning_streams = _windows(Head(validation, settings.tune_ids), settings).batch_size
    readings = []
    for number, model in enumerate(several):
        of = f", model {number + 1} of {len(several)}" if len(several) > 1 else ""
        known = None
        if settings.rule == "rms" and train is not None:
            known = gather(model, train, settings, partial(tell, f"statistics{of}"))
        rates, trials, static = settings.grid[0], [], None
        if tuning and validation is not None:
            head = Head(validation, settings.tune_ids)
            rates, trials, static = _tuned(model, head, known, settings, tell, of)
        nats = _static(model, whole, settings, partial(tell, f"static{of}"))
        moved = _dynamic(model, whole, known, rates, settings, partial(tell, f"dynamic{of}"))
        readings.append(
            Reading(model.seed, model.origin, rates, bits(nats, whole), bits(moved, whole), trials,
                    static)
        )  # fmt: skip
    return DynamicEvaluation(
        text,
        whole.split.spelled(1, whole.length).bytes,
        settings.rule,
        settings.segment,
        _windows(whole, settings).batch_size,
        tuned_on if tuning else None,
        tuning_streams,
        statistics if gathers else None,
        seen,
        tuple(readings),
    )


def bits(nats: float, head: Head) -> float:
    """Per byte, of all ids but the first, with what the spelling of unknown ones costs."""
    spelled = head.split.spelled(1, head.length)
    return (nats + spelled.nats) / spelled.bytes / math.log(2)


def gather(
    model: Model, train: Split, settings: Settings, tell: Callable[[int, int], None]
) -> Statistics:
    """The statistics of gradients over the training text, from places all over it."""
    streams = max(1, min(STREAMS, train.length // (4 * settings.segment)))
    stream = Stream(train, streams, settings.segment, context=1)
    count = min(settings.batches, stream.windows)
    state = language_model.initial_state(
        model.config, streams, language_model.dtype_of(model.parameters)
    )
    total = jax.tree.map(jnp.zeros_like, model.parameters)
    for number in range(count):
        batch = stream.batch(0, number)
        total, state = _squares(model.config, model.parameters, total, state, batch)
        if number % 4 == 3:  # no further ahead of the device
            jax.block_until_ready(state)
        tell((number + 1) * stream.window_bytes, count * stream.window_bytes)
    return dynamic.statistics(total, count)


def _tuned(
    model: Model,
    head: Head,
    known: Statistics | None,
    settings: Settings,
    tell: Progress,
    of: str,
) -> tuple[Rates, list[Trial], float]:
    """The rates with the fewest bits on the head of a validation text, all that were tried, and the
    static bits of the same text."""
    static = bits(_static(model, head, settings, lambda done, total: None), head)
    trials = []
    for number, rates in enumerate(settings.grid):
        tell_one = partial(tell, f"tuning {number + 1} of {len(settings.grid)}{of}")
        nats = _dynamic(model, head, known, rates, settings, tell_one)
        trials.append(Trial(rates, bits(nats, head)))
    finite = [trial for trial in trials if math.isfinite(trial.bits_per_byte)]
    if not finite:
        raise InputError("no rate of the grid stays finite on the validation text: give lower ones")
    return min(finite, key=lambda trial: trial.bits_per_byte).rates, trials, static


def _windows(head: Head, settings: Settings) -> Stream:
    if head.length < 2:
        raise InputError(f"the text has {head.length} ids; at least 2 are needed to score it")
    steps = max(1, STEPS // settings.segment) * settings.segment
    streams = min(settings.streams, max(1, head.length // (2 * settings.segment)))
    return Stream(head, streams, steps, context=CONTEXT)  # pyright: ignore[reportArgumentType]


def _static(
    model: Model, head: Head, settings: Settings, tell: Callable[[int, int], None]
) -> float:
    stream = _windows(head, settings)
    dtype = language_model.dtype_of(model.parameters)
    state = language_model.initial_state(model.config, stream.batch_size, dtype)

    def one(state: Any, batch: Any) -> tuple[Any, jax.Array]:
        return _score(model.config, model.parameters, state, batch)

    return _summed(stream, one, state, tell)


def _dynamic(
    model: Model,
    head: Head,
    known: Statistics | None,
    rates: Rates,
    settings: Settings,
    tell: Callable[[int, int], None],
) -> float:
    stream = _windows(head, settings)
    carry = dynamic.begin(model.config, model.parameters, stream.batch_size)

    def one(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
        return _read(model.config, settings.segment, model.parameters, known, rates, carry, batch)

    return _summed(stream, one, carry, tell)


def _summed(stream: Stream, one: Any, carry: Any, tell: Callable[[int, int], None]) -> float:
    """The nats of all windows."""
    nats = []
    for window in range(stream.windows):
        carry, found = one(carry, stream.batch(0, window))
        nats.append(found)
        if window >= 2:  # dispatched ahead of the device by this many
            jax.block_until_ready(nats[window - 2])
        tell((window + 1) * stream.window_bytes, stream.windows * stream.window_bytes)
    return math.fsum(map(float, np.asarray(jax.device_get(nats), np.float64)))


@partial(jax.jit, static_argnames="config")
def _squares(config: ModelConfig, parameters, total, state, batch):
    return dynamic.squares(config, parameters, total, state, batch)


@partial(jax.jit, static_argnames="config")
def _score(config: ModelConfig, parameters, state, batch):
    return score_window(config, parameters, state, batch)


@partial(jax.jit, static_argnames=("config", "segment"), donate_argnames="carry")
def _read(config: ModelConfig, segment, parameters, known, rates, carry, batch):
    return dynamic.read(config, parameters, known, rates, carry, dynamic.cut(batch, segment))
