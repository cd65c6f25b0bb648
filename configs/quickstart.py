"""A first model in minutes on two cores: 256 units, the Python standard library."""

from typing import Any

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str | None = None) -> ConfigDict:
    """4800 steps with Muon: the training part once, and a quarter of it again."""
    config: Any = base.small(base.get_config())
    config.data.source = "python_stdlib"
    config.train.steps = 4800
    config.train.validate_every = 800
    config.train.validation_batch = 64
    config.checkpoint.every = 500
    return base.tiny(config) if base.is_tiny(arg) else config
