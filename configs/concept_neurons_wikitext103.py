"""concept_neurons' model of WikiText-103: an LSTM of 2048 units that reads one-hot bytes.

As there: shape, beginning, batch, windows, Adam, clipping, headings and blank lines dropped, as
many updates. Not as there: the whole text is read five times, where their shards were read so one
after the other; validation is on WikiText's own validation articles, where theirs was a shard of
the training text; the state is reset at shards by size, where they had 98 of 9,000 lines (96 to
train on, one to validate and one to test): a text with splits of its own is not cut by --shards.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base
from configs.concept_neurons_amazon import lstm

SOURCE = "jacarvalho/concept_neurons, 2018"
PUBLISHED = "1.331 bits per byte, on a shard held out of the training text; 1.39 in training"
PARAMETERS = 19_407_104
READS = 161_909 * 128 * 128
NEEDS = "wikitext103 cleaned by concept_neurons (0.5 GB); 2 GiB on a GPU, 36 hours on a Titan X"


def get_config(arg: str | None = None) -> ConfigDict:
    """2048 units, batch 128, windows of 128, Adam at 5e-4 falling linearly to 0, five epochs."""
    config: Any = lstm(base.get_config())
    config.train.steps = 161_909
    config.train.validate_every = 10_000
    return base.tiny(config) if base.is_tiny(arg) else config
