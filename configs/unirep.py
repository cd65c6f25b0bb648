"""UniRep: the multiplicative LSTM of 1900 units on amino acids, 24 million proteins of UniRef50.

As there: shape, weight norm, the 26 symbols, states reset at each protein, one epoch. Not known,
and so chosen here: the beginning, batch, windows and learning rate, which their code, of evaluation
and of tuning alone, does not have. Prepare the proteins, one a line, with the vocabulary of a model
of theirs, and give them with --config.data.source.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SOURCE = "Alley, Khimulya, Biswas, AlQuraishi & Church 2019, Nature Methods 16; churchlab/UniRep"
PUBLISHED = "none of the language model: features for proteins' properties"
READS = 24_000_000 * 300
NEEDS = "UniRef50 without proteins of 2000 amino acids or more (7 GB); 4 GiB on a GPU"


def get_config(arg: str | None = None) -> ConfigDict:
    """1900 units, embedding 10, batch 256, windows of 128, Adam at 1e-3 falling linearly to 0."""
    config: Any = base.get_config()
    config.data.batch = 256
    config.data.window = 128
    config.data.reset = "document"
    config.model.vocabulary = 26
    config.model.embedding = 10
    config.model.hidden = 1900
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.train.epochs = 1.0
    config.train.validate_every = 10_000
    config.checkpoint.every = 2_000
    config.log.every = 100
    return base.tiny(config) if base.is_tiny(arg) else config
