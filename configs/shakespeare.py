"""Tiny Shakespeare, in the time that nanoGPT's recipe for a CPU takes.

Give the text with --config.data.source=PATH/tinyshakespeare.txt. Its last tenth is held out.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base


def get_config(arg: str | None = None) -> ConfigDict:
    """A multiplicative LSTM of 256 units, two passes over 1 MB."""
    config: Any = base.small(base.get_config())
    config.data.splits = "0.9,0.1,0"
    config.train.steps = 900
    config.train.validate_every = 450
    config.train.validation_batch = 32
    config.checkpoint.every = 450
    return base.tiny(config) if base.is_tiny(arg) else config
