"""A first model in minutes on two cores: 256 units, the Python standard library once."""

from typing import Any

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str | None = None) -> ConfigDict:
    """One pass over the library's .py files with Muon."""
    config: Any = base.get_config()
    config.data.source = "python_stdlib"
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
    config.train.epochs = 1.0
    config.train.validate_every = 1000
    config.train.validation_batch = 64
    config.checkpoint.every = 500
    return base.tiny(config) if base.is_tiny(arg) else config
