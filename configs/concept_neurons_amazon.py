"""concept_neurons' model of Amazon reviews: an LSTM of 2048 units that reads one-hot bytes.

As there: shape, beginning, batch, windows, Adam, clipping, cleaning, states reset at each shard.
Not as there: each shard is read once, where theirs were read three to ten times in a row, and the
run is one epoch, where theirs ended after 807 of 1000 shards.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SOURCE = "jacarvalho/concept_neurons, 2018"
PUBLISHED = "1.21 bits per byte, of training text, at the last shard"
PARAMETERS = 19_407_104
READS = 38_800_000_000
NEEDS = "amazon_reviews cleaned by concept_neurons (38.8 GB); 2 GiB on a GPU, 22 days on a Titan X"


def get_config(arg: str | None = None) -> ConfigDict:
    """2048 units, batch 128, windows of 128, Adam at 5e-4 falling linearly to 0, one epoch."""
    config: Any = lstm(base.get_config())
    config.train.epochs = 1.0
    config.train.validate_every = 50_000
    return base.tiny(config) if base.is_tiny(arg) else config


def lstm(config: Any) -> Any:
    """What the models of both texts have in common."""
    config.data.batch = 128
    config.data.window = 128
    config.data.reset = "shard"
    config.model.cell = "lstm"
    config.model.embedding = 0
    config.model.hidden = 2048
    config.model.weight_norm = False
    config.model.initialisation = "concept_neurons"
    config.model.forget_bias = 0.0
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 5e-4
    config.optimizer.clip_norm = 5.0
    config.checkpoint.every = 2_000
    config.log.every = 100
    return config
