"""The word model of Dahlberg's thesis: an LSTM of 672 units on TED talks, 300 numbers a word.

As there: what a word is, which are in the vocabulary, shape, dropout, RMSprop at 5e-5, batch, an
end when two validations have not become better. Not as there: each of 8 words in a window has a
target, where theirs predicted the ninth alone, from windows that overlap and states that are
carried into them; dropout is before the readout, where Keras drops what the layer reads; the
vectors of GloVe are as they were published, where theirs were trained on with word2vec. Give the
talks with --config.data.source and the vectors with --config.train.vectors.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SOURCE = "Dahlberg 2019, KTH; johndah/Visualization-of-Recurrent-Neural-Networks"
PUBLISHED = "none but its own log, which ends at 2.565 nats a word or blank"
VOCABULARY = 16_280  # about: e to the 9.698 nats that it has before training
READS = 100 * 9_000_000  # about: epochs may be fewer, and the talks' words are not counted
NEEDS = "English TED talks (WIT3), one text; GloVe 840B 300d; hours on a GPU"


def get_config(arg: str | None = None) -> ConfigDict:
    """672 units, words seen ten times, batch 352, windows of 8, at most 100 epochs."""
    config: Any = base.get_config()
    config.data.vocabulary = "words"
    config.data.word_pattern = r"\w+|[^\w]"
    config.data.minimum_count = 10
    config.data.unseen = "unknown"
    config.data.batch = 352
    config.data.window = 8
    config.model.cell = "lstm"
    config.model.vocabulary = 0
    config.model.embedding = 300
    config.model.hidden = 672
    config.model.weight_norm = False
    config.model.output_dropout = 0.44
    config.optimizer.name = "rmsprop"
    config.optimizer.learning_rate = 5e-5
    config.optimizer.schedule = "constant"
    config.optimizer.momentum = 0.0
    config.optimizer.epsilon = 1e-7
    config.train.epochs = 100.0
    config.train.validate_every = 2_000
    config.train.patience = 2
    config.log.every = 100
    if base.is_tiny(arg):
        config.data.minimum_count = 2
        return base.tiny(config)
    return config
