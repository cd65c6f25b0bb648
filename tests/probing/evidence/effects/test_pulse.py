"""A push of a neuron: how long it lasts, and what reads it."""

import math

import numpy as np
import pytest

import probing
from mlstm.errors import InputError
from probing.evidence.effects.responses import half_lives

KEPT = 0.9


@pytest.fixture(scope="module")
def slow(build):
    """Unit 3 keeps 0.9 of its c at each step and adds 1 after a digit; its o is open."""
    forget = math.log(KEPT / (1 - KEPT))
    unit = {"i": [-20, 40], "f": [forget], "o": [20], "u": [20]}
    return build(16, [b"0123456789"], {3: unit})


@pytest.fixture(scope="module")
def pushed(slow, digits):
    return probing.pulse(slow, "0.c[3]", digits, steps=40, places=64, context=48)


def test_a_leaky_neuron_forgets_as_its_gate_says(pushed):
    np.testing.assert_allclose(pushed.response[:, 0], KEPT ** np.arange(41), atol=1e-4)
    assert pushed.forget_gate == pytest.approx(KEPT, abs=1e-5)
    half = math.log(0.5) / math.log(KEPT)
    assert pushed.gate_half_life == pytest.approx(half, rel=1e-3)
    assert pushed.half_life.value == pytest.approx(half, abs=0.05)
    assert pushed.half_life.lower <= pushed.half_life.value <= pushed.half_life.upper
    assert pushed.lasting == 0
    assert (pushed.divergence[:5, 0] > 0).all()
    assert pushed.places == 64


def test_readers_are_told_by_what_the_readout_takes_less_what_all_bytes_get(slow, pushed):
    row = slow.parameters["readout"]["w"][3]
    reading = pushed.readout
    order = np.argsort(-row)
    assert [name for name, _ in reading.raises] == [repr(bytes([b]))[1:] for b in order[:8]]
    size = (row - row.mean())[order[0]] * reading.slope * pushed.deviation
    assert reading.raises[0][1] == pytest.approx(size, rel=1e-5)
    assert 0 < reading.slope < 1
    names = [each.neuron for each in pushed.driven]
    assert "0.c[3]" not in names
    assert len(names) == 8


def test_half_lives_are_between_steps_and_some_never_come():
    response = np.array([[1, 1, 1, -1], [0.75, 0.9, 0.4, -0.6], [0.25, 0.8, 0.9, -0.2]])
    half, lasting = half_lives(response)
    np.testing.assert_allclose(half, [1.5, np.inf, 5 / 6, 1.25])
    assert lasting == 0.25


def test_a_push_of_what_never_varies_or_of_short_texts_is_refused(build, digits):
    still = build(16, [b"0"], {3: {"f": [-20], "i": [-20]}})
    with pytest.raises(InputError, match="never varies"):
        probing.pulse(still, "0.c[3]", digits)
    with pytest.raises(InputError, match="more than 100000 bytes"):
        probing.pulse(still, "0.c[4]", digits, steps=100000)
