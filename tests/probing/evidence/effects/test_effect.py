"""Effects, sweeps, pulses and curves, each against the model run by itself."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

import probing
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.edits import erase
from probing.evidence.effects.given import given, like, random_erasures
from probing.evidence.effects.many import ablations
from probing.evidence.effects.marked import mark
from probing.evidence.effects.tally import tally
from probing.evidence.effects.units import output_weight, units

FEW = {"bytes": 1500, "compared_bytes": 700}


@pytest.fixture(scope="module")
def known(planted, digits):
    return units(planted, digits, "0.c")


def cost(model, text, edits=None):
    """Nats of each byte but the first, by the plain scan."""
    ids = jnp.asarray(np.asarray(text, np.int32))[:, None]
    state = language_model.initial_state(model.config, 1)
    out = language_model.forward(
        model.config, model.parameters, ids, state, edits=edits, reference=True
    )
    nats = language_model.negative_log_likelihood(
        model.config, model.parameters, out.hidden[:-1], ids[1:]
    )
    return np.asarray(nats, np.float64)[:, 0]


def test_sums_are_those_of_each_text_run_by_itself(planted, digits, known):
    marked = mark(planted, digits, "digit", bytes=1500)
    edits = ablations(planted, known, [[], [5], [2, 7]])
    found = tally(planted, marked, edits, divergence=True)
    np.testing.assert_allclose(found.nats[0], found.base, rtol=1e-6)
    for d, (text, on) in enumerate(zip(marked.texts, marked.on, strict=True)):
        for n, chosen in enumerate(([], [5], [2, 7])):
            keep, add = np.ones(16, np.float32), np.zeros(16, np.float32)
            keep[chosen], add[chosen] = 0, known.mean[chosen]
            nats = cost(planted, text, {"0.c": ({"keep": keep, "add": add},)})
            expected = [nats[~on[1:]].sum(), nats[on[1:]].sum()]
            np.testing.assert_allclose(found.nats[n, d], expected, rtol=1e-5)
    assert found.divergence is not None
    assert found.divergence[0].sum() < 1e-6
    assert (found.divergence[1:].sum(1) > 0).all()


def test_a_mean_is_of_train_documents_and_an_output_weight_of_all_readers(planted, digits, known):
    text = b"".join(digits.documents[i].data for i in digits.indices("train"))
    is_digit = np.isin(np.frombuffer(text, np.uint8), list(b"0123456789"))
    value = np.where(is_digit, 1, -1) * math.tanh(10)
    assert known.mean[5] == pytest.approx(value.mean(), abs=1e-4)
    assert known.deviation[5] == pytest.approx(value.std(), abs=1e-4)
    p = planted.parameters
    both = [p["layers"]["0"]["wh"][5].ravel(), p["readout"]["w"][5]]
    assert output_weight(planted, "0.c")[5] == pytest.approx(
        np.linalg.norm(np.concatenate(both)), rel=1e-5
    )


def test_an_effect_is_told_beside_all_other_neurons(planted, digits, tmp_path):
    found = probing.effect(planted, "0.c[5]", digits, "digit", kinds=("mean", "zero"), **FEW)
    assert [each.kind for each in found.changes] == ["mean", "zero"]
    for each in found.changes:
        assert each.difference.value == pytest.approx(each.on.value - each.elsewhere.value)
        assert each.comparison.n == 15
        assert len(each.comparison.effects) == 15
        assert each.comparison.p >= 1 / 16
        assert each.accuracy["before"] > 0.99
        assert each.accuracy["after"] < 0.9
    assert "no evidence alone" in found.notes[-1]
    found.save(tmp_path / "effect.json")
    saved = json.loads((tmp_path / "effect.json").read_text())
    assert saved["changes"][0]["on"]["value"] == found.changes[0].on.value
    for part in ("mean", "zero", "digit", "percentile"):
        assert part in str(found)
    needed = probing.necessity(planted, "0.c[5]", digits, "digit", **FEW)
    assert needed.rise.value == pytest.approx(found.changes[0].on.value, rel=1e-4)
    assert needed.p == found.changes[0].comparison.adjusted_p


def test_resampled_values_are_the_same_for_the_same_seed(planted, digits, known):
    marked = mark(planted, digits, "digit", bytes=700)
    first, same, other = (
        tally(planted, marked, ablations(planted, known, [[5]], "resample", seed)).nats
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-4


def test_a_set_is_told_beside_matched_sets_and_an_edit_beside_the_same_of_others(planted, digits):
    pair = probing.effect(
        planted, ["0.c[5]", "0.c[2]"], digits, "digit", kinds=("mean",), controls=20, **FEW
    )
    among = pair.changes[0].comparison
    assert among.controls == "matched random sets"
    assert among.n == 20
    assert set(among.balance) == {"log variance", "log output weight"}
    edit = probing.effect(planted, "0.c[5]=0.5", digits, "digit", **FEW)
    assert edit.changes[0].kind == "as given"
    assert edit.changes[0].comparison.n == 15
    whole = probing.effect(planted, "0.c[*]*=0.5", digits, "digit", **FEW)
    assert whole.changes[0].comparison is None
    assert "have no controls" in whole.notes[-1]
    v = np.eye(16, dtype=np.float32)[:, [5]]
    erased = probing.effect(
        planted, erase("0.c", np.zeros(16), -v, v.T), digits, "digit", controls=20, **FEW
    )
    assert erased.changes[0].comparison.controls == "random subspaces of the same rank"


def test_the_same_edit_of_another_unit_is_as_far_from_its_mean(planted, known):
    of = given(planted, ["0.c[5]=0.5", "0.c[2]=-1..1", "0.c[5]+=0.25@10:20"])
    ((set_to, clamped, shifted),) = like(of, known, [np.array([1, 8])])
    np.testing.assert_array_equal(of.units, [2, 5])
    assert (set_to.units, clamped.units, shifted.units) == ((8,), (1,), (8,))
    z = (0.5 - known.mean[5]) / known.deviation[5]
    assert set_to.values["value"][0] == pytest.approx(known.mean[8] + z * known.deviation[8])
    low = (-1 - known.mean[2]) / known.deviation[2]
    assert clamped.values["low"][0] == pytest.approx(known.mean[1] + low * known.deviation[1])
    assert shifted.values["value"][0] * known.deviation[5] == pytest.approx(
        0.25 * known.deviation[8], rel=1e-5
    )
    assert (shifted.start, shifted.stop) == (10, 20)


def test_a_random_subspace_takes_out_a_variance_of_one_in_whitened_states(planted, known):
    v = np.eye(16, dtype=np.float32)[:, [5]]
    of = given(planted, erase("0.c", known.mean, -v, v.T))
    x = known.pool - known.pool.mean(0)
    for ((edit,),) in zip(random_erasures(of, known, 3, 0), strict=True):
        into, out = edit.values["into"], edit.values["out"]
        np.testing.assert_allclose(out @ into, [[-1]], atol=1e-3)  # a projection
        assert (x @ into).std() == pytest.approx(1, abs=0.1)


def test_what_cannot_be_ablated_is_said(planted, digits):
    for edits, said in (
        (["0.c[1]", "0.h[2]"], "of one site"),
        ("0.c[99]", "no unit 99"),
        ("0.x[1]", "no site"),
        ([], "no edit is given"),
    ):
        with pytest.raises(InputError, match=said):
            probing.effect(planted, edits, digits, "digit", **FEW)
    with pytest.raises(InputError, match="one of mean, resample, zero"):
        probing.effect(planted, "0.c[1]", digits, "digit", kinds=("median",), **FEW)
