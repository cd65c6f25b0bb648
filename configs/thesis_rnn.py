"""The vanilla network of Dahlberg's thesis: 224 units, characters of TED talks, one at a time.

As there: shape, one stream, windows of 25, AdaGrad with forgetting (RMSprop) at 9e-5, each element
of the gradient held to 5 (of a sum over the window: 0.2 of the mean), 2% held out, as many windows.
Its weights begin as He et al. or from 0.01, by a setting; He's here. Give the talks, one file, with
--config.data.source.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SOURCE = "Dahlberg 2019, KTH; johndah/Visualization-of-Recurrent-Neural-Networks"
PUBLISHED = "2.99 bits per character (2.072 nats) on 2% held out"
VOCABULARY = 128  # about: the characters of the talks are not counted
READS = 674_039 * 25
NEEDS = "English TED talks (WIT3), one text; one core for hours"


def get_config(arg: str | None = None) -> ConfigDict:
    """224 units, batch 1, windows of 25, RMSprop at a constant 9e-5, 674,039 steps."""
    config: Any = base.get_config()
    config.data.vocabulary = "characters"
    config.data.splits = "0.98,0.02,0"
    config.data.batch = 1
    config.data.window = 25
    config.model.cell = "rnn"
    config.model.vocabulary = 0
    config.model.embedding = 0
    config.model.hidden = 224
    config.model.weight_norm = False
    config.model.initialisation = "he"
    config.model.forget_bias = 0.0
    config.optimizer.name = "rmsprop"
    config.optimizer.learning_rate = 9e-5
    config.optimizer.schedule = "constant"
    config.optimizer.momentum = 0.0
    config.optimizer.epsilon = 1e-10
    config.optimizer.clip_value = 0.2
    config.train.steps = 674_039
    config.train.validate_every = 50_000
    config.train.validation_batch = 16
    config.checkpoint.every = 20_000
    config.log.every = 5_000
    return base.tiny(config) if base.is_tiny(arg) else config
