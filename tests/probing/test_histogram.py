"""What a histogram counts, on each kind of device, against numpy."""

import jax
import numpy as np
import pytest

from probing.states import histogram
from probing.states.histogram import Histogram

UNITS, SLOTS, LABELS, ROWS = 3, 2, 3, 500


@pytest.mark.parametrize("bins", [2, 4, 64, 256])
@pytest.mark.parametrize("way", [histogram._counted_at_once, histogram._counted_by_unit])
def test_each_row_is_in_the_bin_that_numpy_finds(bins, way):
    draw = np.random.default_rng(bins)
    x = draw.integers(-20, 20, (ROWS, UNITS)).astype(np.float32) / 8  # many lie on an edge
    edges = np.sort(draw.choice(x.ravel(), (UNITS, bins - 1)), axis=1)
    y = (draw.random((ROWS, LABELS)) < 0.3).astype(np.int32)
    slot = draw.integers(-1, SLOTS, ROWS).astype(np.int32)
    empty = Histogram.init(edges, SLOTS, LABELS)
    found = np.asarray(jax.jit(way)(empty.counts, empty.edges, x, y, slot))

    expected = np.zeros((UNITS, SLOTS, bins, LABELS), int)
    for unit in range(UNITS):
        bin_of = np.searchsorted(edges[unit], x[:, unit], side="left")
        counted = slot >= 0
        np.add.at(expected[unit], (slot[counted], bin_of[counted]), y[counted])
    np.testing.assert_array_equal(found, expected)
    updated = jax.jit(Histogram.update)(empty, x, y, slot)
    np.testing.assert_array_equal(updated.counts, expected)
