"""Radford, Jozefowicz & Sutskever 2017: one epoch of Amazon reviews, 1.12 bits per byte.

As there: shape, weight norm, batch, windows, Adam, states reset at each shard. Not known, and so
chosen here: the beginning. Give the prepared reviews with --config.data.source.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SOURCE = "Radford, Jozefowicz & Sutskever 2017, arXiv 1704.01444"
PUBLISHED = "1.12 bits per byte; SST 91.8%, IMDB 92.88%, one unit alone 92.30% on IMDB"
PARAMETERS = 86_319_360
READS = 38_800_000_000
NEEDS = "amazon_reviews cleaned by openai (38.8 GB); a month on 4 Pascal GPUs"


def get_config(arg: str | None = None) -> ConfigDict:
    """4096 units, batch 128, windows of 256, Adam at 5e-4 falling linearly to 0, weight norm."""
    config: Any = base.get_config()
    config.data.batch = 128
    config.data.window = 256
    config.data.reset = "shard"
    config.model.hidden = 4096
    config.model.forget_bias = 0.0
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 5e-4
    config.train.epochs = 1.0
    config.train.validate_every = 20_000
    config.checkpoint.every = 2_000
    config.log.every = 100
    return base.tiny(config) if base.is_tiny(arg) else config
