import numpy as np
import pytest
from scipy.signal import welch
from sklearn.linear_model import Ridge

from mlstm.model.sites import parse_neuron
from probing.states import activations, contexts, runs, spectrum
from probing.states.collect import collect, pilot_numbers
from probing.states.contexts import BANDS, TopContexts
from probing.states.gram import Gram
from probing.states.histogram import Histogram
from probing.states.moments import Moments
from probing.states.runs import RunLengths
from probing.states.spectrum import Spectrum
from probing.states.statistics import Statistics

ROWS, UNITS, SLOTS = 1000, 6, 5
SHAPE = T, B, H = 128, 4, 3


def nbytes(part) -> int:
    return sum(nbytes(p) if isinstance(p, tuple) else p.nbytes for p in part)


def test_each_accumulator_says_beforehand_what_it_takes():
    pilot = np.random.default_rng(0).normal(size=(300, UNITS)).astype(np.float32)
    edges = np.quantile(pilot, np.arange(1, 256) / 256, axis=0).T
    assert Moments.nbytes(SLOTS, 4, UNITS) == nbytes(Moments.init(SLOTS, 4, UNITS))
    assert Histogram.nbytes(UNITS, SLOTS, 4) == nbytes(Histogram.init(edges, SLOTS, 4))
    statistics = Statistics.init(pilot, 8, 3, np.ones((9, 2)))
    assert Statistics.nbytes(UNITS, 8, 3, 2) == nbytes(statistics[6:])
    assert Gram.nbytes(UNITS, 3, SLOTS) == nbytes(Gram.init(pilot[0], pilot[1], 3, SLOTS))
    assert TopContexts.nbytes(UNITS, 9) == nbytes(TopContexts.init(pilot, 9))
    assert RunLengths.nbytes(UNITS, B) == nbytes(RunLengths.init(pilot, B))
    assert Spectrum.nbytes(UNITS, T) == nbytes(Spectrum.init(UNITS, T))


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(1)
    x = (draw.normal(size=(ROWS, UNITS)) @ draw.normal(size=(UNITS, UNITS)) + 3).astype(np.float32)
    y = np.stack([x[:, 0] > 3, x[:, 1] + draw.normal(size=ROWS)], 1).astype(np.float32)
    return x, y, draw.integers(-1, SLOTS, ROWS).astype(np.int32)


def gram(x, y, slot, chunk: int) -> Gram:
    part = Gram.init(np.full(UNITS, 2.5), np.full(UNITS, 1.5), 2, SLOTS)
    for k in range(0, len(x), chunk):
        part = part.update(x[k : k + chunk], y[k : k + chunk], slot[k : k + chunk])
    return part


def test_means_and_covariances_of_any_slots_equal_those_of_numpy(rows):
    x, y, slot = rows
    summary = gram(x, y, slot, 300).finalize()
    for slots in ([0], [1, 4], range(SLOTS)):
        here = np.isin(slot, list(slots))
        exact = np.cov(x[here].astype(float).T, bias=True)
        np.testing.assert_allclose(summary.covariance(list(slots)), exact, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(summary.mean(list(slots)), x[here].mean(0, float), rtol=1e-6)
        part = summary.of(list(slots))
        np.testing.assert_allclose(part.y[1:], y[here].sum(0, float), rtol=1e-6)
        np.testing.assert_allclose(part.yy[1:], (y[here].astype(float) ** 2).sum(0), rtol=1e-6)


def test_merged_chunks_have_the_sums_of_the_whole(rows):
    x, y, slot = rows
    whole = gram(x, y, slot, ROWS).finalize()
    merged = gram(x[::3], y[::3], slot[::3], 50)
    for k in (1, 2):
        merged = merged.merge(gram(x[k::3], y[k::3], slot[k::3], 100))
    for a, b in zip(merged.finalize(), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-3)


def test_ridge_regression_without_a_fold_is_a_subtraction(rows):
    x, y, slot = rows
    summary = gram(x, y, slot, 250).finalize()
    kept = [0, 1, 3]
    here = np.isin(slot, kept)
    z = (x.astype(float) - summary.centre) / summary.scale
    part = summary.of(kept)
    n, mean_x, mean_y = part.y[0], part.xy[:, 0] / part.y[0], part.y[1:] / part.y[0]
    xx = part.xx - n * np.outer(mean_x, mean_x)
    xy = part.xy[:, 1:] - n * np.outer(mean_x, mean_y)
    found = np.linalg.solve(xx + 2.0 * np.eye(UNITS), xy)
    exact = Ridge(alpha=2.0).fit(z[here], y[here].astype(float))
    np.testing.assert_allclose(found.T, exact.coef_, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def windows():
    """Three windows of states with the documents and positions of their cells."""
    draw = np.random.default_rng(2)
    steps = 3 * T
    x = np.cumsum(draw.normal(size=(steps, B, H)), 0).astype(np.float32)
    document = np.zeros((steps, B), np.int32)
    position = np.zeros((steps, B), np.int32)
    for b, cuts in enumerate([[384], [128, 384], [50, 300], [200, 201, 384]]):
        start = 0
        for k, end in enumerate(cuts):
            document[start:end, b] = 10 * b + k
            position[start:end, b] = np.arange(end - start)
            start = end
        document[start:, b] = -1
    return [(x[k : k + T], document[k : k + T], position[k : k + T]) for k in range(0, steps, T)]


def pieces(windows):
    """Of each document its number and states."""
    x, document, _ = (np.concatenate(part) for part in zip(*windows, strict=True))
    for i in np.unique(document[document >= 0]):
        step, stream = np.nonzero(document == i)
        yield i, x[step, stream]


def test_runs_are_those_of_a_loop_over_each_document(windows):
    pilot = np.concatenate([x for _, x in pieces(windows)])
    part = RunLengths.init(pilot, B)
    for window in windows:
        part = runs.update(part, *window)
    found = part.finalize()
    counts, total = np.zeros((H, 2, runs.BINS), int), np.zeros((H, 2), int)
    for _, x in pieces(windows):
        above = x > np.median(pilot, 0)
        for unit in range(H):
            borders = np.flatnonzero(np.diff(above[:, unit])) + 1
            for run in np.split(above[:, unit], borders):
                counts[unit, int(run[0]), int(np.log2(len(run)))] += 1
                total[unit, int(run[0])] += len(run)
    assert (found.counts == counts).all()
    assert (found.bytes == total).all()
    np.testing.assert_allclose(found.mean, total / counts.sum(-1))


def test_runs_of_two_parts_merge_to_those_of_both(windows):
    pilot = windows[0][0].reshape(-1, H)

    def collected(streams) -> RunLengths:
        part = RunLengths.init(pilot, len(streams))
        for window in windows:
            part = runs.update(part, *(array[:, streams] for array in window))
        return part

    whole = collected([0, 1, 2, 3]).finalize()
    merged = collected([0, 1]).merge(collected([2, 3])).finalize()
    assert (merged.counts == whole.counts).all()
    assert (merged.bytes == whole.bytes).all()


def test_contexts_lie_in_their_bands_and_the_outer_ones_are_the_extremes(windows):
    pilot = np.concatenate([x for _, x in pieces(windows)])
    edges = np.quantile(pilot, BANDS, axis=0)
    part = TopContexts.init(pilot, 4)
    for window in windows:
        part = contexts.update(part, *window)
    found = part.finalize()
    of = dict(pieces(windows))
    for unit in range(H):
        for band in range(len(BANDS) + 1):
            values = found.value[unit, band]
            kept = np.flatnonzero(found.document[unit, band] >= 0)
            assert len(kept)
            places = zip(found.document[unit, band], found.position[unit, band], strict=True)
            for k, (i, place) in enumerate(places):
                if k in kept:
                    assert values[k] == of[i][place, unit]
                    assert np.searchsorted(edges[:, unit], values[k], "left") == band
        assert found.value[unit, -1, 0] == pilot[:, unit].max()
        assert found.value[unit, 0, 0] == pilot[:, unit].min()


def test_contexts_of_windows_merge_to_those_of_one_pass(windows):
    pilot = windows[0][0].reshape(-1, H)
    whole, parts = TopContexts.init(pilot, 3), []
    for window in windows:
        whole = contexts.update(whole, *window)
        parts.append(contexts.update(TopContexts.init(pilot, 3), *window))
    merged = parts[2].merge(parts[0]).merge(parts[1])
    for a, b in zip(merged.finalize(), whole.finalize(), strict=True):
        assert (a == b).all()


def test_the_spectrum_is_that_of_scipy_over_whole_stretches(windows):
    part = Spectrum.init(H, T)
    for x, document, _ in windows:
        part = spectrum.update(part, x, document)
    found = part.finalize()
    whole = [
        x[:, b] for x, document, _ in windows for b in range(B)
        if len(set(document[:, b])) == 1 and document[0, b] >= 0
    ]  # fmt: skip
    assert found.stretches == len(whole) > 5
    frequency, density = welch(np.concatenate(whole), nperseg=T, noverlap=0, axis=0)
    np.testing.assert_allclose(found.frequency, frequency)
    np.testing.assert_allclose(found.density, density, rtol=1e-3, atol=1e-4 * density.max())


def test_one_pass_feeds_any_accumulators(planted, digits):
    pilot = activations.sample(planted, digits, ("0.c",))["0.c"]
    units = planted.config.hidden
    numbers = pilot_numbers(digits)
    streams = next(activations.stream(planted, digits, ("0.c",))).every.text.shape[1]
    parts = {
        "0.c": [
            Statistics.init(pilot, 8, 3, numbers),
            Gram.init(pilot.mean(0), pilot.std(0), 4),
            TopContexts.init(pilot),
            RunLengths.init(pilot, streams),
            Spectrum.init(units, activations.WINDOW),
        ]
    }
    summary, products, found, on_off, power = collect(planted, digits, parts)["0.c"]
    assert summary.y[:, 0].sum() == products.y[:, 0].sum() == digits.bytes
    sizes = [len(d.data) for d in digits.documents]
    for split, slots in (("train", range(8)), ("dev", [8]), ("test", [9])):
        here = digits.indices(split)
        assert products.y[list(slots), 0].sum() == sum(sizes[i] for i in here)
    trace = activations.traces(
        planted, [d.data for d in digits.documents], [parse_neuron(f"0.c[{k}]") for k in range(16)]
    )
    every = np.concatenate(trace)
    np.testing.assert_allclose(
        products.covariance(list(range(10))), np.cov(every.T, bias=True), atol=1e-5
    )
    top = found.document[2, -1, 0], found.position[2, -1, 0]
    assert trace[top[0]][top[1], 2] == every[:, 2].max() == found.value[2, -1, 0]
    assert on_off.bytes.sum(1).tolist() == [digits.bytes] * units
    assert np.isfinite(power.density).all()
