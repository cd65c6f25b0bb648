import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlstm.errors import InputError
from probing.evidence.probes import MDLProbe


def test_labels_that_states_tell_are_compressed_and_random_ones_are_not():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 8))
    told = MDLProbe().fit(X, X[:, 3] > 0)
    assert told.compression_ > 5
    random = MDLProbe().fit(X, rng.integers(2, size=2000))
    assert 0.85 < random.compression_ < 1.02
    assert random.bits_per_label_ == pytest.approx(random.bits_ / 2000)
    assert random.compression_ == pytest.approx(1 / random.bits_per_label_)


def test_blocks_end_where_voita_and_titov_end_them():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10000, 1))
    probe = MDLProbe(random_state=3).fit(X, rng.integers(4, size=10000))
    assert list(probe.ends_) == [10, 20, 40, 80, 160, 312, 625, 1250, 2500, 5000, 10000]
    assert probe.block_bits_[0] == 10 * 2
    assert probe.bits_ == pytest.approx(probe.block_bits_.sum())


def test_the_code_is_what_a_loop_over_labels_pays():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = np.array(["a", "b", "c"])[
        (X @ rng.normal(size=(3, 3)) + rng.gumbel(size=(400, 3))).argmax(1)
    ]
    base = LogisticRegression(C=0.3)
    probe = MDLProbe(base, fractions=(0.25, 0.5, 1.0), random_state=5).fit(X, y)
    order = np.argsort(np.random.RandomState(5).permutation(400), kind="stable")
    X, y = X[order], y[order]
    bits = 100 * np.log2(3)
    for start, end in ((100, 200), (200, 400)):
        model = LogisticRegression(C=0.3).fit(X[:start], y[:start])
        for row in range(start, end):
            p = model.predict_proba(X[[row]])[0][list(model.classes_).index(y[row])]
            bits -= np.log2((start * p + 1) / (start + 3))
    assert probe.bits_ == pytest.approx(bits, rel=1e-6)


def test_a_class_that_no_block_before_had_costs_finite_bits():
    X = np.arange(20.0)[:, None]
    y = np.array(["a"] * 19 + ["b"])
    for seed in range(5):
        probe = MDLProbe(random_state=seed).fit(X, y)
        assert np.isfinite(probe.bits_)
        # One of the two classes 19 times of 20 costs less than a bit a label at the worst place.
        assert probe.bits_ < 20


def test_the_order_is_drawn_from_the_seed():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 2)), rng.integers(2, size=300)
    assert MDLProbe(random_state=1).fit(X, y).bits_ == MDLProbe(random_state=1).fit(X, y).bits_
    assert MDLProbe(random_state=1).fit(X, y).bits_ != MDLProbe(random_state=2).fit(X, y).bits_


def test_a_document_is_not_coded_by_a_probe_that_saw_part_of_it():
    """Labels drawn for each document, which its states name: nothing to tell of a new one."""
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(60), 20)
    X = np.eye(60)[documents] + 0.01 * rng.normal(size=(1200, 60))
    y = rng.integers(2, size=60)[documents]
    apart = MDLProbe().fit(X, y)
    together = MDLProbe().fit(X, y, groups=documents)
    assert (together.ends_ % 20 == 0).all()
    assert apart.compression_ > 1.5 > 1.05 > together.compression_


@pytest.mark.parametrize("fractions", [(), (0.5,), (0.5, 0.2, 1.0), (0.0, 1.0)])
def test_blocks_that_are_none_are_refused(fractions):
    with pytest.raises(InputError, match="fractions"):
        MDLProbe(fractions=fractions).fit(np.ones((4, 1)), [0, 1, 0, 1])
