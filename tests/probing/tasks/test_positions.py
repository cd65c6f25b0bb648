"""Which bytes of a span carry its label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.errors import InputError
from probing.tasks.positions import POSITIONS, check_position, place

LENGTHS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=10)


@settings(deadline=None)
@given(LENGTHS, st.sampled_from(POSITIONS))
def test_positions_are_the_named_bytes_of_each_span_in_order(gaps_and_lengths, rule):
    starts, ends, here = [], [], 0
    for gap, length in gaps_and_lengths:
        starts.append(here + gap)
        ends.append(here := here + gap + length)
    positions, of = place(np.array(starts, np.int32), np.array(ends, np.int32), rule)
    chosen = {"last": slice(-1, None), "first": slice(0, 1), "every": slice(None)}[rule]
    expected = [
        (byte, span)
        for span, (start, end) in enumerate(zip(starts, ends, strict=True))
        for byte in list(range(start, end))[chosen]
    ]
    assert list(zip(positions.tolist(), of.tolist(), strict=True)) == expected
    assert positions.dtype == np.int32


def test_an_unknown_rule_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="'middle': it is one of last, every, first"):
        check_position("middle")
