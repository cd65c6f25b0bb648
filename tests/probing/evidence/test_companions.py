import json
import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

import probing
from probing.evidence import companions
from probing.evidence.controls import control_labels
from probing.evidence.probes import LogisticProbe, MDLProbe
from probing.evidence.subjects import OneNeuron
from probing.states import rows
from probing.states.arrays import Arrays

SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def claim(planted, digits):
    return probing.verify(planted, None, digits, "digit", draws=39)


def test_a_planted_neuron_has_the_share_of_the_full_probe_and_is_selective(claim):
    assert claim.neuron == "0.c[5]"
    assert claim.tried == 16
    assert claim.probes["one neuron"]["share"] == pytest.approx(1, abs=0.02)
    assert claim.probes["other"]["unit"] != 5
    assert claim.probes["other"]["balanced accuracy"] < 0.9
    assert claim.control["selectivity"] > 0.2
    assert claim.probes["code"]["compression"] > claim.control["compression"]
    assert claim.ranks["place"]["AUC"] == 1


def test_of_a_coin_the_share_is_not_defined(planted, digits):
    claim = probing.verify(planted, None, digits, "coin", draws=39)
    assert claim.verdict == "not significant"
    assert math.isnan(claim.probes["one neuron"]["share"])


def test_the_figures_are_those_of_the_probes_on_the_arrays(planted, digits, claim):
    parts = {s: probing.arrays(planted, digits, "0.c", s, "digit") for s in SPLITS}
    train, test = parts["train"], parts["test"]
    full = claim.probes["all neurons"]
    probe = LogisticProbe(full["C"], class_weight="balanced").fit(train.x, train.y)
    expected = balanced_accuracy_score(test.y, probe.predict(test.x))
    assert full["balanced accuracy"] == pytest.approx(expected)
    fitted = MDLProbe(LogisticProbe(full["C"])).fit(train.x, train.y, train.groups)
    assert claim.probes["code"]["bits per label"] == pytest.approx(fitted.bits_per_label_)
    control = control_labels(digits.only("digit"))
    assert control is not None
    y = {
        s: np.concatenate([control.labels(int(i)).classes[:, 0] for i in digits.indices(s)])
        for s in SPLITS
    }
    again = companions.full_probe({s: parts[s]._replace(y=y[s]) for s in SPLITS}, True)
    score = "balanced accuracy"
    assert claim.control["selectivity"] == pytest.approx(full[score] - again[score])


def test_a_bounded_sample_is_part_of_all_positions(planted, digits):
    data = digits.only("place")
    chosen = rows.choose(data, 150, seed=3)
    found = rows.states(planted, data, "0.c", chosen)
    for split in SPLITS:
        assert len(found[split].y) == 150
        every = probing.arrays(planted, data, "0.c", split, "place")
        pairs = {(g, y): x for x, y, g in zip(*every, strict=True)}
        for x, y, group in zip(*found[split], strict=True):
            np.testing.assert_array_equal(x, pairs[group, y])


def test_a_sample_is_of_all_documents_and_each_position_is_as_likely(digits):
    data, of_place = digits.only("place"), np.zeros(0, int)
    train = data.indices("train")
    counts = np.zeros(len(data.documents), int)
    for seed in range(50):
        chosen = rows.choose(data, 100, seed)["train"]
        assert set(chosen) == set(train.tolist())
        for i, places in chosen.items():
            counts[i] += len(places)
            assert (np.diff(places) > 0).all()
            of_place = np.append(of_place, places / data.counts[i])
    assert counts.sum() == 50 * 100
    share = data.counts[train] / data.counts[train].sum()
    np.testing.assert_allclose(counts[train] / counts.sum(), share, atol=0.03)
    assert abs(of_place.mean() - 0.5) < 0.02
    np.testing.assert_array_equal(
        rows.choose(data, 100, 0)["test"][int(data.indices("test")[0])],
        rows.choose(data, 100, 0)["test"][int(data.indices("test")[0])],
    )


def test_a_number_has_its_figures_and_all_of_them_are_in_the_json(planted, digits):
    claim = probing.verify(planted, None, digits, "place", draws=39)
    saved = json.loads(claim.to_json())
    assert set(saved["probes"]["k neurons"]) == {"1", "2", "4", "8", "16"}
    assert saved["probes"]["all neurons"]["R2"] == claim.probes["all neurons"]["R2"]
    assert saved["ranks"]["place"]["Spearman"] == claim.ranks["place"]["Spearman"]
    assert saved["rotated"]["rotated"] == claim.rotated["rotated"]
    assert "selectivity" in saved["control"]
    assert "R2" in str(claim)


def test_the_best_threshold_parts_no_equal_values():
    on = np.array([False, False, True, True, True])
    assert companions.best_threshold(np.array([0.0, 1, 1, 2, 3]), on) == (1.5, 1)
    assert companions.best_threshold(-np.array([0.0, 1, 1, 2, 3]), on) == (-1.5, -1)


def test_a_neuron_with_a_heavy_tail_points_where_its_auc_does():
    draw = np.random.default_rng(0)
    parts = {}
    for split in SPLITS:
        y = np.arange(600) % 2 == 0
        x = draw.normal(size=(600, 4)).astype(np.float32)
        x[:, 1] = y + draw.normal(0, 0.1, 600)
        x[:6:2, 1] = -500  # few, and enough to turn the correlation around
        parts[split] = Arrays(x, y, np.arange(600, dtype=np.uint64) // 10)
    found = companions.rotated(parts, OneNeuron("0.c", 1), True, 0)
    assert found["neuron"] > 0.9
