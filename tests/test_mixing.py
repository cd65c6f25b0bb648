"""Numbers that look drawn."""

import numpy as np

from mlstm.mixing import mixed


def test_mixed_numbers_are_those_of_splitmix64():
    """Of its generator with seed 1234567, as published beside it."""
    step, seed = 0x9E3779B97F4A7C15, 1234567
    states = np.array([(seed + k * step) % 2**64 for k in (1, 2, 3)], np.uint64)
    assert mixed(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
