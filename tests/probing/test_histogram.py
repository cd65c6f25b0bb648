"""What a histogram counts, on each kind of device, against numpy."""

import jax
import numpy as np
import pytest

from probing.states import histogram
from probing.states.histogram import Histogram, quantile_edges

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
    found = jax.jit(way)(empty.counts, empty.edges, x, y, slot)

    expected = np.zeros((UNITS, SLOTS, bins, LABELS), int)
    for unit in range(UNITS):
        bin_of = np.searchsorted(edges[unit], x[:, unit], side="left")
        counted = slot >= 0
        np.add.at(expected[unit], (slot[counted], bin_of[counted]), y[counted])
    np.testing.assert_array_equal(found, expected)
    updated = jax.jit(Histogram.update)(empty, x, y, slot)
    np.testing.assert_array_equal(updated.counts, expected)


def test_edges_part_the_pilot_into_equal_shares_and_lie_between_states():
    draw = np.random.default_rng(0)
    pilot = np.stack([draw.normal(size=4096), draw.standard_cauchy(4096)], 1).astype(np.float32)
    edges = quantile_edges(pilot)
    assert edges.shape == (2, 255)
    for unit in range(2):
        filled = np.histogram(pilot[:, unit], np.r_[-np.inf, edges[unit], np.inf])[0]
        assert filled.min() >= 10  # of 16, had they equal shares
        assert filled.max() <= 22
        apart = np.abs(pilot[:, unit][:, None] - edges[unit]).min(0)
        assert (apart > 2e-6 * np.abs(edges[unit])).all()


def test_rounding_moves_no_state_of_the_pilot_to_another_bin():
    draw = np.random.default_rng(1)
    pilot = draw.normal(size=(300, 4)).astype(np.float32).repeat(7, axis=0)
    pilot[:700, 1] = 0.25  # more rows than a bin has
    pilot[:, 2] = np.float32(1 / 3)
    edges = quantile_edges(pilot)
    for sign in (-1, 1):
        rounded = np.nextafter(pilot, np.float32(sign * np.inf))
        for unit in range(4):
            np.testing.assert_array_equal(
                np.searchsorted(edges[unit], rounded[:, unit]),
                np.searchsorted(edges[unit], pilot[:, unit]),
            )


def test_a_unit_that_never_varies_has_one_bin():
    edges = quantile_edges(np.zeros((10, 1), np.float32), 4)
    assert (np.searchsorted(edges[0], np.zeros(3)) == 0).all()


def test_more_rows_of_one_bin_than_16_bits_count():
    rows = 1 << 16
    empty = Histogram.init(np.zeros((1, 3), np.float32), 1, 1)
    ones, slot = np.ones((rows, 1), np.int32), np.zeros(rows, np.int32)
    for _ in range(2):
        empty = jax.jit(Histogram.update)(empty, np.ones((rows, 1), np.float32), ones, slot)
    assert np.asarray(empty.counts).ravel().tolist() == [0, 0, 0, 2 * rows]
