import jax
import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from probing.evidence import measures
from probing.states.histogram import BINS, Histogram

ROWS, CHUNK = 200_000, 20_000


@pytest.mark.parametrize("step", [0, 0.1], ids=["no ties", "ties"])
def test_auc_of_200_000_rows_equals_mann_whitney_within_its_bound(step):
    draw = np.random.default_rng(0)
    on = draw.random(ROWS) < 0.2
    x = draw.normal(size=(ROWS, 3)).astype(np.float32)
    x[:, 1] += on
    x[:, 2] -= 0.2 * on
    if step:
        x = (np.round(x / step) * step).astype(np.float32)
    edges = np.quantile(x[:16384], np.arange(1, BINS) / BINS, axis=0).T
    histogram, update = Histogram.init(edges, 1, 2), jax.jit(Histogram.update)
    y = np.stack([np.ones(ROWS), on], 1).astype(np.int32)
    for start in range(0, ROWS, CHUNK):
        here = slice(start, start + CHUNK)
        histogram = update(histogram, x[here], y[here], np.zeros(CHUNK, np.int32))
    counts = np.asarray(histogram.counts)[:, 0]
    area, bound = measures.auc(counts[..., 1], counts[..., 0] - counts[..., 1])
    for unit in range(3):
        u = mannwhitneyu(x[on, unit], x[~on, unit]).statistic
        assert abs(area[unit] - u / (on.sum() * (~on).sum())) <= bound[unit]
    # values that all lie in one bin are equal ones: the bound holds them too
    assert (bound < (0.03 if step else 0.0025)).all()
