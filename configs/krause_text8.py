"""Krause, Lu, Murray & Renals 2016: the multiplicative LSTM of 45 million parameters on text8.

The recipe is krause_enwik8's, as in their code. Not as there: all 256 bytes have a symbol, where
theirs were the 27 that occur, so that this model has half a million parameters more.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, krause_enwik8

SOURCE = krause_enwik8.SOURCE
PUBLISHED = "1.27 bits per character on the last 5 MB; 1.19 with dynamic evaluation"
PARAMETERS = 45_000_000
READS = krause_enwik8.READS
NEEDS = "text8 (31 MB); 9 GB on a GPU, a week on a GTX 1080 Ti"


def get_config(arg: str | None = None) -> ConfigDict:
    """2800 units, embedding 400, dropout 0.2 and 0.5, Adam from 1e-3 to 7e-5, 40 epochs."""
    config: Any = krause_enwik8.get_config()
    config.data.source = "text8"
    return base.tiny(config) if base.is_tiny(arg) else config
