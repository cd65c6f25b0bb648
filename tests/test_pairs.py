import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from mlstm import pairs


def test_ties_count_half_and_are_told():
    share = pairs.Share.of(np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 2, 5]))
    assert (share.pairs, share.cheaper, share.ties, share.share) == (4, 2, 1, 0.625)


def test_the_interval_is_wilsons():
    found = pairs.Share(50, 41, 0).interval
    expected = binomtest(41, 50).proportion_ci(method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert pairs.Share(8, 8, 0).interval[1] == 1


def test_groups_are_shown_and_their_mean_is_of_groups_not_of_pairs():
    first = np.zeros(12)
    second = np.array([1.0] * 10 + [-1.0] * 2)
    groups = ["large"] * 10 + ["small"] * 2
    found = pairs.compare(("good", "bad"), {"bits": (first, second)}, groups)
    assert found.shares["bits"].share == pytest.approx(10 / 12)
    assert [found.groups[name].share for name in ("large", "small")] == [1, 0]
    record = json.loads(found.to_json())
    assert record["across_groups"] == {"mean": 0.5, "low": None, "high": None}
    for word in ("large", "small", "mean of groups", "0.833", "too few groups"):
        assert word in str(found)


def test_the_interval_over_groups_is_students():
    shares = [0.9, 0.7, 0.8, 0.75]
    second = np.concatenate([np.where(np.arange(20) < 20 * s, 1.0, -1.0) for s in shares])
    groups = np.repeat(["a", "b", "c", "d"], 20).tolist()
    found = pairs.compare(("good", "bad"), {"bits": (np.zeros(80), second)}, groups)
    expected = ttest_1samp(shares, 0).confidence_interval(0.95)
    assert found.across == pytest.approx((np.mean(shares), expected.low, expected.high))
    assert "too few" not in str(found)


def test_letters_alone_cannot_tell_two_orders_of_the_same_letters():
    letters = pairs.ByteCounts()
    for text in (b"the dog", b"dog the", b"eee"):
        letters.add(text)
    assert letters.bits(b"the dog") == letters.bits(b"dog the")
    total = 256 + 17
    assert letters.bits(b"e") == pytest.approx(-math.log2(6 / total))
