import jax.numpy as jnp
import numpy as np
import pytest

from probing.states import statistics
from probing.states.statistics import Statistics, Sum

ROWS, UNITS, CLASSES = 3000, 5, 2


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    x = draw.normal(3, 2, (ROWS, UNITS)).astype(np.float32)
    x[:, 4] = 7  # a unit that never moves
    y = (draw.random((ROWS, CLASSES)) < 0.3).astype(np.int32)
    y = np.concatenate([y, draw.integers(0, 50, (ROWS, 1)).astype(np.int32)], 1)
    return x, y, draw.integers(-1, 2, ROWS).astype(np.int32)


def collect(x, y, fold, pilot, chunk: int) -> Statistics:
    part = Statistics.init(pilot, 2, CLASSES, 1)
    for k in range(0, len(x), chunk):
        cut = slice(k, k + chunk)
        part = statistics.update(part, jnp.asarray(x[cut]), jnp.asarray(y[cut]), fold[cut])
    return part


def test_moments_equal_those_of_numpy_in_float64(rows):
    x, y, fold = rows
    summary = collect(x, y, fold, x[:500], 500).finalize()
    z = (x.astype(float) - summary.centre) / summary.scale
    for f in (0, 1):
        here = fold == f
        for k in range(3):
            labels = y[here, k].astype(float)
            assert summary.y[f, k + 1] == labels.sum()
            assert summary.yy[f, k + 1] == (labels**2).sum()
            np.testing.assert_allclose(summary.yx[f, k + 1], labels @ z[here], rtol=1e-5, atol=0.01)
            np.testing.assert_allclose(summary.yxx[f, k + 1], labels @ z[here] ** 2, rtol=1e-5)
        assert summary.y[f, 0] == here.sum()


def test_histograms_equal_those_of_numpy(rows):
    x, y, fold = rows
    summary = collect(x, y, fold, x[:500], 500).finalize()
    for f in (0, 1):
        here = fold == f
        for unit in range(UNITS):
            place = np.searchsorted(summary.edges[unit].astype(np.float32), x[here, unit])
            for label in range(CLASSES):
                expected = np.bincount(place[y[here, label] == 1], minlength=statistics.BINS)
                assert (summary.counts[unit, f, :, label + 1] == expected).all()
            assert (summary.counts[unit, f, :, 0] == np.bincount(place, minlength=256)).all()


def test_merged_parts_give_the_same_as_one_pass_and_the_order_does_not_matter(rows):
    x, y, fold = rows
    whole = collect(x, y, fold, x[:500], 500).finalize()
    parts = [collect(x[k::2], y[k::2], fold[k::2], x[:500], 500) for k in (0, 1)]
    for merged in (parts[0].merge(parts[1]), parts[1].merge(parts[0])):
        summary = merged.finalize()
        for name, a, b in zip(summary._fields, summary, whole, strict=True):
            if name in ("counts", "y", "yy", "low", "high"):
                assert (a == b).all(), name
            else:
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-3, err_msg=name)


def test_rows_of_no_fold_count_nowhere(rows):
    x, y, fold = rows
    summary = collect(x, y, np.full_like(fold, -1), x[:500], 1000).finalize()
    assert not summary.counts.any()
    assert not summary.yx.any()


def test_a_long_sum_of_small_terms_keeps_what_float32_loses():
    total, plain = Sum.zeros(()), np.float32(0)
    for _ in range(2000):
        total, plain = total.add(jnp.float32(1e4 + 0.1)), plain + np.float32(1e4 + 0.1)
    exact = 2000 * float(np.float32(1e4 + 0.1))
    assert abs(float(total.value()) - exact) < 1e-3 < abs(float(plain) - exact)


def test_a_side_without_a_byte_has_a_density_of_zero(rows):
    x, y, fold = rows
    y = y.copy()
    y[:, 0], y[:, 1] = 0, 1
    summary = collect(x, y, fold, x[:500], 500).finalize()
    for label, empty in ((1, 1), (2, 2), (0, 2)):
        parts = summary.density(0, label, [0, 1], 30)
        assert not parts[empty].any()
        assert parts[3 - empty].sum() == pytest.approx(1)


def test_a_density_has_all_of_the_mass_on_either_side(rows):
    x, y, fold = rows
    summary = collect(x, y, fold, x[:500], 500).finalize()
    for unit in range(UNITS):
        borders, on, off = summary.density(unit, 1, [0, 1], 30)
        assert (np.diff(borders) > 0).all()
        assert on.sum() == pytest.approx(1)
        assert off.sum() == pytest.approx(1)
        assert min(on.min(), off.min()) >= 0
