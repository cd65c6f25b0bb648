import jax.numpy as jnp
import numpy as np
import pytest

from probing.states.histogram import BINS
from probing.states.statistics import Statistics
from probing.states.sums import Sum

ROWS, UNITS, CLASSES, FOLDS = 3000, 5, 2, 3
PILOT = np.random.default_rng(1).normal(3, 2, (500, UNITS)).astype(np.float32)
PILOT[:, 4] = 7
NUMBERS = np.arange(50.0)[:, None]


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    x = draw.normal(3, 2, (ROWS, UNITS)).astype(np.float32)
    x[:, 4] = 7  # a unit that never moves
    y = (draw.random((ROWS, CLASSES)) < 0.3).astype(np.int32)
    y = np.concatenate([y, draw.integers(0, 50, (ROWS, 1))], 1).astype(np.float32)
    return x, y, draw.integers(-1, 2 + FOLDS, ROWS).astype(np.int32)


def collect(x, y, slot, chunk: int) -> Statistics:
    part = Statistics.init(PILOT, FOLDS, CLASSES, NUMBERS)
    for k in range(0, len(x), chunk):
        cut = slice(k, k + chunk)
        part = part.update(jnp.asarray(x[cut]), y[cut, :CLASSES], y[cut, CLASSES:], slot[cut])
    return part


def test_moments_equal_those_of_numpy_in_float64(rows):
    x, y, slot = rows
    summary = collect(x, y, slot, 500).finalize()
    z = (x.astype(float) - summary.centre) / summary.scale
    number = (y[:, CLASSES:] - summary.number_centre) / summary.number_scale
    labels = np.concatenate([np.ones((ROWS, 1)), y[:, :CLASSES], number], 1)
    for s in range(2 + FOLDS):
        here = slot == s
        expected = {
            "y": labels[here].sum(0),
            "yy": (labels[here] ** 2).sum(0),
            "yx": labels[here].T @ z[here],
            "yxx": labels[here].T @ z[here] ** 2,
        }
        for name, sums in expected.items():
            np.testing.assert_allclose(
                getattr(summary, name)[s] / here.sum(), sums / here.sum(), rtol=1e-6, atol=1e-6
            )
        assert (summary.y[s, : 1 + CLASSES] == expected["y"][: 1 + CLASSES]).all()


def test_histograms_equal_those_of_numpy(rows):
    x, y, slot = rows
    summary = collect(x, y, slot, 500).finalize()
    for s in range(2 + FOLDS):
        here = slot == s
        for unit in range(UNITS):
            place = np.searchsorted(summary.edges[unit].astype(np.float32), x[here, unit])
            for label in range(CLASSES):
                expected = np.bincount(place[y[here, label] == 1], minlength=BINS)
                assert (summary.counts[unit, s, :, label + 1] == expected).all()
            assert (summary.counts[unit, s, :, 0] == np.bincount(place, minlength=256)).all()


def test_merged_parts_give_the_same_as_one_pass_and_the_order_does_not_matter(rows):
    x, y, slot = rows
    whole = collect(x, y, slot, 500).finalize()
    parts = [collect(x[k::2], y[k::2], slot[k::2], 500) for k in (0, 1)]
    for merged in (parts[0].merge(parts[1]), parts[1].merge(parts[0])):
        summary = merged.finalize()
        for name, a, b in zip(summary._fields, summary, whole, strict=True):
            if name in ("counts", "low", "high"):
                assert (a == b).all(), name
            else:
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-3, err_msg=name)


def test_rows_of_no_slot_count_nowhere(rows):
    x, y, slot = rows
    summary = collect(x, y, np.full_like(slot, -1), 1000).finalize()
    assert not summary.counts.any()
    assert not summary.yx.any()


def test_a_long_sum_of_small_terms_keeps_what_float32_loses():
    total, plain = Sum.zeros(()), np.float32(0)
    for _ in range(2000):
        total, plain = total.add(jnp.float32(1e4 + 0.1)), plain + np.float32(1e4 + 0.1)
    exact = 2000 * float(np.float32(1e4 + 0.1))
    assert abs(float(total.value()) - exact) < 1e-3 < abs(float(plain) - exact)


def test_a_side_without_a_byte_has_a_density_of_zero(rows):
    x, y, slot = rows
    y = y.copy()
    y[:, 0], y[:, 1] = 0, 1
    summary = collect(x, y, slot, 500).finalize()
    for label, empty in ((1, 1), (2, 2), (0, 2)):
        parts = summary.density(0, label, [0, 1], 30)
        assert not parts[empty].any()
        assert parts[3 - empty].sum() == pytest.approx(1)


def test_a_density_has_all_of_the_mass_on_either_side(rows):
    x, y, slot = rows
    summary = collect(x, y, slot, 500).finalize()
    for unit in range(UNITS):
        borders, on, off = summary.density(unit, 1, [0, 1], 30)
        assert (np.diff(borders) > 0).all()
        assert on.sum() == pytest.approx(1)
        assert off.sum() == pytest.approx(1)
        assert min(on.min(), off.min()) >= 0
