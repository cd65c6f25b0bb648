"""A verdict asks what a neuron does: of two that follow the same, one is read and one is not."""

import dataclasses

import numpy as np
import pytest

import probing
from probing.evidence import causes
from probing.evidence.claims import Interval, decide
from probing.evidence.effects.units import units
from probing.evidence.steering.levers import levers
from probing.evidence.subjects import Direction, OneNeuron
from probing.tasks import stored

FEW = {"bytes": 1500, "compared_bytes": 1500, "controls": 120}
LEAD = Interval(0.2, 0.1, 0.3)


@pytest.fixture(scope="module")
def judged(cause):
    """Its text without the labelling function: whether a text is in quotes is then told, by a
    classifier of human text, from its capitals."""
    return dataclasses.replace(cause.data, judge=None)


@pytest.fixture(scope="module")
def checks(cause, judged):
    """Of both neurons, with fewer texts than a verdict has."""
    fewer = {"prompts": 8, "samples": 1, "length": 96, "controls": 40}
    return {
        name: (
            causes.necessary(cause.model, OneNeuron("0.c", unit), judged, **FEW),
            causes.sufficient(cause.model, OneNeuron("0.c", unit), 1, judged, **fewer),
        )
        for name, unit in (("used", cause.used), ("copy", cause.copy))
    }


def test_a_neuron_that_is_read_is_needed_and_enough(checks):
    needed, enough = checks["used"]
    assert needed.held
    assert enough.held
    assert needed.p < 0.01
    assert enough.p == 1 / 41
    assert needed.effects["mean ablation"].lower > 0.1
    assert enough.effects["slope by deviation"].lower > 0.05
    assert decide(0.01, LEAD, needed, enough) == "supported"


def test_a_copy_that_nothing_reads_is_neither(checks):
    needed, enough = checks["copy"]
    assert not needed.held
    assert not enough.held
    assert abs(needed.effects["mean ablation"].value) < 1e-6
    assert abs(enough.effects["slope by deviation"].value) < 1e-6
    assert min(needed.p, enough.p) > 0.05
    assert decide(0.01, LEAD, needed, enough) == "correlational only"


def test_one_that_holds_is_not_both(checks):
    needed, enough = checks["used"][0], checks["copy"][1]
    assert decide(0.01, LEAD, needed, enough) == "correlational only"
    assert decide(0.01, LEAD, enough, needed) == "correlational only"


@pytest.mark.slow
def test_of_two_neurons_that_follow_the_same_the_one_that_is_read_is_supported(cause, judged):
    used, copy = (
        probing.verify(cause.model, f"0.c[{unit}]", judged, draws=39)
        for unit in (cause.used, cause.copy)
    )
    assert used.verdict == "supported"
    assert "encodes" in str(used)
    assert used.plain()["necessity"]["effects"]["mean ablation"]["lower"] > 0
    assert (copy.test.value, copy.p) == (used.test.value, used.p)
    assert copy.verdict == "correlational only"
    assert "encodes" not in str(copy)


def test_what_is_not_asked_for_is_not_tested(cause, judged):
    claim = probing.verify(
        cause.model, f"0.c[{cause.used}]", judged, draws=20, rows=300, causal=False
    )
    assert claim.necessity is claim.sufficiency is None
    assert claim.verdict == "correlational only"
    assert "necessity   not tested" in str(claim)


def test_a_verdict_that_does_not_hang_on_it_leaves_it_out(cause, judged):
    neuron = f"0.c[{cause.distractors[0]}]"
    claim = probing.verify(cause.model, neuron, judged, draws=20, rows=300)
    assert claim.verdict in ("not significant", "explained by a baseline")
    assert claim.necessity is claim.sufficiency is None


def test_a_direction_is_taken_out_along_itself(cause, judged):
    vector = np.zeros(cause.model.config.hidden, np.float32)
    vector[cause.used] = 2
    neuron = causes.necessary(cause.model, OneNeuron("0.c", cause.used), judged, **FEW)
    found = causes.necessary(cause.model, Direction("0.c", vector), judged, **FEW)
    own, other = (check.effects["mean ablation"] for check in (neuron, found))
    np.testing.assert_allclose(dataclasses.astuple(own), dataclasses.astuple(other), atol=1e-4)
    assert found.held
    assert {"mean ablation", "resample ablation"} < set(found.effects)
    assert found.effects["resample ablation"].lower > 0.1
    assert found.controls == 120
    assert found.p == 1 / 121


def test_what_cannot_be_tested_says_why_and_does_not_hold(cause, judged):
    def never(document):
        labels = document.read()
        return dataclasses.replace(
            document, read=stored(labels._replace(classes=np.zeros_like(labels.classes)))
        )

    none = dataclasses.replace(judged, documents=tuple(map(never, judged.documents)))
    subject = OneNeuron("0.c", cause.used)
    needed = causes.necessary(cause.model, subject, none)
    enough = causes.sufficient(cause.model, subject, 1, none, prompts=4, length=8)
    for check, why in ((needed, "no byte"), (enough, "one value")):
        assert not check.held
        assert why in str(check)
        assert str(check).startswith("not tested")
    assert decide(0.01, LEAD, needed, enough) == "correlational only"


def test_random_directions_are_found_whose_variance_is_like_the_directions(cause):
    known = units(cause.model, cause.data, "0.c")
    sizes, axes = np.linalg.eigh(np.cov(known.pool.T))
    for vector in (axes[:, -1] + 0.5 * axes[:, -3], axes[:, np.argmax(sizes > 1e-4)], axes[:, -30]):
        found, _ = levers(Direction("0.c", vector.astype(np.float32)), known, 100, 0)
        before, after = found.balance["log variance"]
        assert abs(after) < min(1.0, abs(before) + 0.1)
