"""A verdict asks what a neuron does: of two that follow the same, one is read and one is not."""

import dataclasses

import numpy as np
import pytest

import probing
from probing.evidence import causes
from probing.evidence.subjects import Direction, OneNeuron

DRAWS = 39


@pytest.fixture(scope="module")
def judged(cause):
    """Its text without the labelling function: whether a text is in quotes is then told, by a
    classifier of human text, from its capitals."""
    return dataclasses.replace(cause.data, judge=None)


def test_a_neuron_that_is_read_is_supported_and_its_copy_is_correlational_only(cause, judged):
    used, copy = (
        probing.verify(cause.model, f"0.c[{unit}]", judged, draws=DRAWS)
        for unit in (cause.used, cause.copy)
    )
    assert used.necessity.held
    assert used.sufficiency.held
    assert used.verdict == "supported"
    assert "encodes" in str(used)
    assert used.necessity.p < 0.01
    assert (copy.test.value, copy.p) == (used.test.value, used.p)
    assert copy.verdict == "correlational only"
    assert not copy.necessity.held
    assert not copy.sufficiency.held
    assert abs(copy.sufficiency.effects["slope by deviation"].value) < 1e-6
    assert "encodes" not in str(copy)
    assert used.plain()["necessity"]["effects"]["mean ablation"]["lower"] > 0


def test_what_is_not_asked_for_is_not_tested(cause, judged):
    claim = probing.verify(cause.model, f"0.c[{cause.used}]", judged, draws=DRAWS, causal=False)
    assert claim.necessity is claim.sufficiency is None
    assert claim.verdict == "correlational only"
    assert "necessity   not tested" in str(claim)


def test_a_verdict_that_does_not_hang_on_it_leaves_it_out(cause, judged):
    claim = probing.verify(cause.model, f"0.c[{cause.distractors[0]}]", judged, draws=DRAWS)
    assert claim.verdict in ("not significant", "explained by a baseline")
    assert claim.necessity is claim.sufficiency is None


def test_a_direction_is_taken_out_along_itself(cause, judged):
    vector = np.zeros(cause.model.config.hidden, np.float32)
    vector[cause.used] = 2
    neuron = causes.necessary(cause.model, OneNeuron("0.c", cause.used), judged)
    found = causes.necessary(cause.model, Direction("0.c", vector), judged)
    own, other = (check.effects["mean ablation"] for check in (neuron, found))
    np.testing.assert_allclose(dataclasses.astuple(own), dataclasses.astuple(other), atol=1e-4)
    assert found.held
    assert found.controls == causes.DIRECTIONS
    assert found.p == 1 / (1 + causes.DIRECTIONS)
