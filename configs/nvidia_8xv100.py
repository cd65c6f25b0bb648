"""NVIDIA's sentiment-discovery with large batches: radford_amazon's model in 17 hours of 8 V100.

As there: shape, beginning, weight norm, 8 devices of 256 streams, Adam at 3e-3 on its way to 0 in
100,000 steps of which one epoch is about 73,000, the norm of a gradient held to 1. Not as there:
bfloat16 products, where theirs were float16 with a scaled loss; 256 bytes, where theirs had padding
besides. Their run of 128 V100 (3 epochs at a batch of 32,768) is not here: how its learning rate
fell is not known.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, radford_amazon

SOURCE = "Puri, Kirby, Yakovenko & Catanzaro 2018, arXiv 1808.01371; NVIDIA/sentiment-discovery"
PUBLISHED = "1.13 bits per byte after one epoch (read off a figure)"
PARAMETERS = radford_amazon.PARAMETERS
READS = radford_amazon.READS
NEEDS = "amazon_reviews cleaned by nvidia (38 GB); 8 GPUs"


def get_config(arg: str | None = None) -> ConfigDict:
    """4096 units, batch 2048, windows of 256, Adam from 3e-3, bfloat16, one epoch."""
    config: Any = radford_amazon.get_config()
    config.data.batch = 8 * 256
    config.model.products = "bfloat16"
    config.model.initialisation = "torch"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.decay_steps = 100_000
    config.optimizer.clip_norm = 1.0
    config.train.validate_every = 2_000
    config.checkpoint.every = 500
    config.mesh.data = 8
    return base.tiny(config) if base.is_tiny(arg) else config
