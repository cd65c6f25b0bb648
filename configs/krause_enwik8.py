"""Krause, Lu, Murray & Renals 2016: the multiplicative LSTM of 46 million parameters on enwik8.

As in their code: shape, beginning, weight norm, both kinds of dropout with masks of a whole window,
batch, windows, Adam, its learning rate and where that stops to fall, 90 million bytes 40 times. Not
as there: all 256 bytes have a symbol, where theirs were the 205 that occur.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SOURCE = "Krause, Lu, Murray & Renals 2016, arXiv 1609.07959; benkrause/mLSTM"
PUBLISHED = "1.24 bits per character on the last 5 MB; 1.08 with dynamic evaluation"
PARAMETERS = 46_000_000
READS = 40 * 90_000_000
NEEDS = "enwik8 (36 MB); 9 GB on a GPU, a week on a GTX 1080 Ti"


def get_config(arg: str | None = None) -> ConfigDict:
    """2800 units, embedding 400, dropout 0.2 and 0.5, Adam from 1e-3 to 7e-5, 40 epochs."""
    config: Any = base.get_config()
    config.data.source = "enwik8"
    config.data.batch = 100
    config.data.window = 200
    config.model.embedding = 400
    config.model.hidden = 2800
    config.model.initialisation = "krause"
    config.model.forget_bias = 3.0
    config.model.hidden_dropout = 0.2
    config.model.embedding_dropout = 0.5
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.final_fraction = 0.07
    config.optimizer.decay_steps = 100_440  # on its way to 0 in 108,000
    config.train.epochs = 40.0
    config.train.validate_every = 4_500
    config.log.every = 100
    return base.tiny(config) if base.is_tiny(arg) else config
