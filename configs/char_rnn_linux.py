"""The Linux model of Char-RNN-Understanding: an LSTM of 3 x 512 units with dropout.

As there: shape, beginning, embedding, dropout 0.3, Adam at 0.01, batch 128, windows of 200, 40,000
updates. Not as there: each batch is the next window of 128 streams, with their states, where theirs
was random chunks from a state of zeros; bytes, where theirs were 100 printable characters; the norm
of a gradient is held to 5, which their code means to do and does not. --config.model.cell=gru is
their other model.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SOURCE = "tychovdo/Char-RNN-Understanding, 2017"
PUBLISHED = (
    '"perplexity" 2.23 (LSTM) and 2.29 (GRU), which is 2^nats: 1.67 and 1.72 '
    "bits per character, derived; on random chunks"
)
READS = 40_000 * 128 * 200
NEEDS = "karpathy_linux (6.2 MB); 2 GiB on a GPU"


def get_config(arg: str | None = None) -> ConfigDict:
    """Three layers of 512 units, dropout 0.3 between them, Adam at a constant 0.01."""
    config: Any = stack(base.get_config(), layers=3, hidden=512)
    config.data.source = "karpathy_linux"
    config.data.batch = 128
    config.data.window = 200
    config.model.dropout = 0.3
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "constant"
    config.optimizer.clip_norm = 5.0
    config.train.steps = 40_000
    config.train.validate_every = 2_000
    config.log.every = 100
    return base.tiny(config) if base.is_tiny(arg) else config


def stack(config: Any, *, layers: int, hidden: int) -> Any:
    """What the models of both texts have in common."""
    config.model.cell = "lstm"
    config.model.layers = layers
    config.model.hidden = config.model.embedding = hidden
    config.model.weight_norm = False
    config.model.initialisation = "char_rnn"
    config.model.forget_bias = 0.0
    return config
