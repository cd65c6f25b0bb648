"""Where every config starts: the defaults, which stand at their fields in mlstm.training.config."""

from typing import Any

from ml_collections import ConfigDict

from mlstm.training.config import Config, to_dict


def get_config(arg: str | None = None) -> ConfigDict:
    """All fields with their defaults; data.source and the length of the run are still to be given.

    `tiny` as the argument: 16 units, 20 steps.
    """
    config = ConfigDict(to_dict(Config()))
    return tiny(config) if is_tiny(arg) else config


def is_tiny(arg: str | None) -> bool:
    """Whether a config was asked for as NAME.py:tiny. Any other argument is a mistake."""
    if arg not in (None, "", "tiny"):
        raise ValueError(f'no variant {arg!r} of this config; there is "tiny"')
    return arg == "tiny"


def small(config: ConfigDict) -> ConfigDict:
    """The recipe of the models that two cores train in minutes: 256 units, Muon."""
    config.data.batch = 32
    config.data.window = 64
    config.model.hidden = 256
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.02
    config.optimizer.adam_learning_rate = 0.004
    config.optimizer.schedule = "linear"
    config.optimizer.warmup = 50
    config.optimizer.final_fraction = 0.02
    config.optimizer.clip_norm = 1.0
    return config


def tiny(config: Any) -> ConfigDict:
    """The same experiment in seconds: a model of 16 units, 20 steps, 2 kB of text at a time."""
    config.model.hidden = min(16, config.model.hidden)
    config.model.embedding = min(8, config.model.embedding)
    config.data.batch = 4
    config.data.window = 16
    config.train.steps = 20
    config.train.epochs = 0.0
    config.train.validate_every = 10
    config.train.validation_batch = 64
    config.train.validation_window = 64
    config.optimizer.warmup = min(2, config.optimizer.warmup)
    config.optimizer.decay_steps = min(16, config.optimizer.decay_steps)
    config.mesh.data = config.mesh.model = 1
    config.log.every = 5
    config.log.sample_bytes = 40
    config.checkpoint.every = 10
    return config
