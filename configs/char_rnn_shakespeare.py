"""The Shakespeare model of Char-RNN-Understanding: an LSTM of 2 x 128 units, in minutes.

As there: shape, beginning, embedding, characters. Not as there: each batch is the next window of 32
streams, with their states, where theirs was 128 random chunks of 200 from a state of zeros; Muon in
4,900 steps of 2,048 characters, where theirs was Adam at 0.01 in 3,000 of 25,600, for that costs
eight times as much and is slow to begin (3.1 bits after 800 steps of 3,200).
--config.model.cell=gru is their other model. The last tenth is held out.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base
from configs.char_rnn_linux import stack

SOURCE = "tychovdo/Char-RNN-Understanding, 2017"
PUBLISHED = (
    '"perplexity" 2.55 (LSTM) and 2.68 (GRU), which is 2^nats: 1.95 and 2.05 '
    "bits per character, derived; on random chunks"
)
VOCABULARY = 66  # those of the nine tenths, and one for any other
READS = 4_900 * 32 * 64
NEEDS = "tiny_shakespeare (1.1 MB); two cores for minutes"


def get_config(arg: str | None = None) -> ConfigDict:
    """Two layers of 128 units, 4900 steps: the nine tenths ten times."""
    config: Any = stack(base.small(base.get_config()), layers=2, hidden=128)
    config.data.source = "tiny_shakespeare"
    config.data.vocabulary = "characters"
    config.model.vocabulary = 0
    config.train.steps = 4_900
    config.train.validate_every = 980
    config.train.validation_batch = 32
    config.checkpoint.every = 980
    return base.tiny(config) if base.is_tiny(arg) else config
