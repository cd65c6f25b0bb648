"""The runs of a study: the base run's text, parameters and batch, another mask, a schedule anew.

This is the one module of probing that trains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import mlstm
from mlstm import checkpoint_files, devices
from mlstm.corpus.reading import Corpus
from mlstm.corpus.stream import Stream
from mlstm.errors import InputError
from mlstm.model import pruning
from mlstm.model.pruning import Units
from mlstm.runs import read_config, seeds_of
from mlstm.trained import Model
from mlstm.training import config as configs
from mlstm.training import loop
from mlstm.training.config import Config
from mlstm.training.validation import Validation

GENTLY = 0.25
"""Of the learning rate that the base run began with: at all of it an untouched model, too, first
gets worse than it was, and what is seen is not what pruning did."""


@dataclass(frozen=True)
class Schedule:
    """How long a model is retrained, and how. A rate of 0 is `GENTLY` that of the base run."""

    steps: int
    every: int
    learning_rate: float = 0.0
    warmup: int = 0

    def measured(self) -> list[int]:
        """The steps of checkpoints that are measured: every so many, and the last."""
        return [*range(self.every, self.steps, self.every), self.steps]


class Interrupted(Exception):
    """The study was asked to stop; all that was done is on the disk."""


def config_of(run: Path, schedule: Schedule) -> Config:
    """That of the base run, its text where it is now, on one device. Raises InputError."""
    record, tree = read_config(run), configs.to_dict(Config())
    if len(seeds_of(record, run / "config.json")) > 1:
        raise InputError(f"{run} holds several models: a study begins with a run of one")
    if record.get("train", {}).get("prune"):
        raise InputError(f"{run} has pruned units already: a study begins with a run that has none")
    for section in ("model", "data", "optimizer", "train"):
        known = {k: v for k, v in record.get(section, {}).items() if k in tree[section]}
        tree[section] |= known
    tree["data"] |= {"source": str(mlstm.corpus_of(run)), "folder": "", "splits": "", "reset": ""}
    theirs = tree["optimizer"]["learning_rate"]
    rate = schedule.learning_rate or GENTLY * theirs
    tree["optimizer"]["adam_learning_rate"] *= rate / theirs
    tree["optimizer"] |= {
        "learning_rate": rate,
        "schedule": "linear",
        "final_fraction": 0.0,
        "warmup": schedule.warmup,
    }
    points = len(schedule.measured())
    tree["train"] |= {
        "steps": schedule.steps, "epochs": 0.0, "validate_every": 0, "patience": 0,
        "on_nonfinite": "stop", "prune": "",
    }  # fmt: skip
    tree["checkpoint"] |= {"every": schedule.every, "newest": points, "log_spaced": False}
    tree["log"] |= {"samples": 0, "gate_saturation": False}
    return configs.from_config_dict(tree)


def retrain(config: Config, run: Path, folder: Path, units: Units, first_window: int) -> None:
    """Train in `folder` with these units pruned, from the base run's parameters; one that was begun
    goes on, one that is done does nothing. Raises Interrupted, and InputError where it diverges."""
    own = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, first_window=first_window),
        train=dataclasses.replace(config.train, prune=pruning.format_units(units)),
    )
    own.check()
    result = loop.run(own, folder, init_from=str(run))
    if result.ended == "interrupted":
        raise Interrupted(str(result))
    if result.ended != "finished":
        raise InputError(f"{result}; a lower learning rate helps")


def last_alone(folder: Path, steps: int) -> None:
    """Delete the checkpoints of a run that is done and measured, but for the last."""
    checkpoints = folder / "checkpoints"
    for step in checkpoint_files.steps(checkpoints):
        if step != steps:
            checkpoint_files.delete(checkpoints / str(step))


def first_windows(config: Config, seeds: int) -> list[int]:
    """For each seed the window at which its models begin to read: evenly spread over an epoch."""
    split = Corpus.open(config.data.source).split("train")
    windows = Stream(split, config.data.batch, config.data.window).windows
    return [seed * windows // seeds for seed in range(seeds)]


def held_out_bits(config: Config) -> tuple[str, Callable[[Model], float]]:
    """The split that is read, and the function: a model -> its bits per byte."""
    corpus = Corpus.open(config.data.source)
    split = next((name for name in ("validation", "test") if name in corpus.splits), None)
    if split is None:
        raise InputError(
            f"{config.data.source}: no validation or test split, so that nothing is held out"
        )
    validation = Validation(config, corpus.split(split), devices.mesh())

    def bits(model: Model) -> float:
        parameters = jax.tree.map(jnp.asarray, model.parameters)
        found: Any = validation.bits_per_byte(parameters)
        return float(found)

    return split, bits
