"""Every neuron of a site: estimated by one gradient, exact for the best; curves in their order."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

import probing
from mlstm.errors import InputError
from mlstm.model import language_model
from probing.evidence.effects import screen as screening
from probing.evidence.effects.changes import rises
from probing.evidence.effects.many import ablations
from probing.evidence.effects.marked import mark
from probing.evidence.effects.screen import screen
from probing.evidence.effects.tally import tally
from probing.evidence.effects.units import units

BYTES = 1200
curving = importlib.import_module("probing.evidence.effects.curves")


@pytest.fixture(scope="module")
def swept(cause):
    return probing.sweep(cause.model, cause.data, site="0.c", verify=6, bytes=BYTES)


def test_the_sweep_finds_the_neuron_that_is_read(cause, swept):
    assert swept.verified[0].neuron == f"0.c[{cause.used}]"
    assert swept.verified[0].place == 1
    assert abs(swept.estimates[cause.copy]).max() < 1e-5
    effects = [each.on for each in swept.verified]
    assert effects == sorted(effects, reverse=True)
    assert f"rank correlation of estimate and exact effect {swept.correlation:.3f}" in str(swept)
    assert len(json.loads(swept.to_json())["estimates"]) == 256
    assert swept.split == "train"


def test_the_order_of_a_sweep_begins_with_what_was_verified(swept):
    ranking = swept.ranking()
    assert [f"0.c[{unit}]" for unit in ranking.order[:6]] == [v.neuron for v in swept.verified]
    np.testing.assert_array_equal(np.sort(ranking.order), np.arange(256))


def test_a_sweep_by_zero_estimates_and_ablates_by_zero(planted, digits):
    options = {"site": "0.c", "kind": "zero", "verify": 16, "bytes": 600}
    found = probing.sweep(planted, digits, "digit", **options)
    marked, known = (
        mark(planted, digits, "digit", split="train", bytes=600),
        units(planted, digits, "0.c"),
    )
    edits = ablations(planted, known, [[unit] for unit in range(16)], "zero")
    exact = rises(tally(planted, marked, edits), marked)[:, 1]
    for each in found.verified:
        unit = int(each.neuron[4:-1])
        assert each.on == pytest.approx(exact[unit], rel=1e-4, abs=1e-6)
    known.mean[:] = 0
    np.testing.assert_allclose(found.estimates, screen(planted, marked, known), atol=1e-6)
    assert "zero ablation of each" in str(found)
    saved = json.loads(found.to_json())
    assert (saved["kind"], saved["ablation"]) == ("sweep", "zero")


@pytest.mark.parametrize("site", ["0.c", "0.h", "0.u"])
def test_estimates_are_near_exact_effects(planted, digits, site, monkeypatch):
    """Of a network that predicts badly the curvature is not known from gradients: the neurons are
    moved a little only, where the first order is all."""
    marked, known = mark(planted, digits, "digit", bytes=BYTES), units(planted, digits, site)
    known.mean[:] = 0
    readout = planted.parameters["readout"]
    monkeypatch.setitem(readout, "w", 0.05 * readout["w"])
    edits = ablations(planted, known, [[unit] for unit in range(16)])
    exact = rises(tally(planted, marked, edits), marked)
    found = screen(planted, marked, known)
    for side in (0, 1):
        assert spearmanr(found[:, side], exact[:, side]).statistic > 0.9


def test_an_estimate_is_gradient_times_difference_and_half_its_square(planted, digits):
    """Of texts shorter than a window, by autodiff of the plain scan."""
    marked = mark(planted, digits, "digit", bytes=300)
    known = units(planted, digits, "0.h")
    assert max(marked.lengths) <= screening.WINDOW

    def run(tap, ids, emit=()):
        return language_model.forward(
            planted.config,
            planted.parameters,
            ids,
            language_model.initial_state(planted.config, 1),
            edits={"0.h": ({"at": {"add": tap}},)},
            emit=emit,
            reference=True,
        )

    @jax.jit
    def gradient(tap, ids, on):
        def cost(tap):
            hidden = run(tap, ids).hidden[:-1]
            nats = language_model.negative_log_likelihood(
                planted.config, planted.parameters, hidden, ids[1:]
            )
            return (nats[:, 0] * on[1:]).sum()

        return jax.grad(cost)(tap)

    expected = 0.0
    for text, on in zip(marked.texts, marked.on, strict=True):
        ids, tap = jnp.asarray(text.astype(np.int32))[:, None], jnp.zeros((len(text), 1, 16))
        g = np.asarray(gradient(tap, ids, on), np.float64)[:, 0]
        x = np.asarray(run(tap, ids, ("0.h",)).emitted["0.h"], np.float64)[:, 0]
        moved = g * (known.mean - x)
        expected += (moved + moved**2 / 2).sum(0)
    expected /= marked.counts()[:, 1].sum() * np.log(2)
    np.testing.assert_allclose(screen(planted, marked, known)[:, 1], expected, atol=1e-5)


def test_curves_drop_and_keep_the_first_of_an_order(planted, digits):
    found = probing.curves(
        planted,
        digits,
        [5, *(u for u in range(16) if u != 5)],
        "digit",
        site="0.c",
        bytes=BYTES,
        sets=20,
    )
    assert [q.k for q in found.drop] == [q.k for q in found.keep] == [1, 2, 4, 8]
    alone = probing.effect(
        planted, "0.c[5]", digits, "digit", kinds=("mean",), controls=0, bytes=BYTES
    )
    assert found.drop[0].on == pytest.approx(alone.changes[0].on.value, rel=1e-4)
    assert found.drop[0].accuracy == pytest.approx(alone.changes[0].accuracy["after"])
    assert found.keep[0].accuracy > max(q.random_accuracy[1] for q in found.keep[:1])
    for q in (*found.drop, *found.keep):
        assert q.random_on[0] <= q.random_on[1] <= q.random_on[2]
        assert 1 / 21 <= q.p <= 1
    assert found.sets == 20
    for said in ("keep", "not matched", "p not corrected for the number of k"):
        assert said in str(found)
    for wrong, said in (({"sets": 19}, "at least 20"), ({"ks": [16]}, "from 1 to 15")):
        with pytest.raises(InputError, match=said):
            probing.curves(planted, digits, np.arange(16), "digit", site="0.c", **wrong)
    with pytest.raises(InputError, match="each unit once"):
        probing.curves(planted, digits, [1, 1], "digit", site="0.c")


def test_what_never_varies_is_in_no_random_set(build, digits, monkeypatch):
    """Of 8 units 5 are still: random sets of one are of the other 3."""
    still = {"i": [-20], "f": [-20]}
    model = build(8, [b"0"], dict.fromkeys((0, 2, 3, 5, 7), still))
    asked = []

    def spied(model, of, sets, *rest):
        asked.extend(sets)
        return ablations(model, of, sets, *rest)

    monkeypatch.setattr(curving, "ablations", spied)
    order = [1, 4, 6, 0, 2, 3, 5, 7]
    found = probing.curves(model, digits, order, "digit", site="0.c", sets=20, bytes=300)
    assert [q.k for q in found.drop] == [1]
    assert {int(unit) for (unit,) in asked[1:22]} == {1, 4, 6}
    assert all({0, 2, 3, 5, 7} <= set(dropped.tolist()) for dropped in asked[22:])
    with pytest.raises(InputError, match=r"from 1 to 2: 3 units of 0\.c vary"):
        probing.curves(model, digits, order, "digit", site="0.c", ks=[3], bytes=300)
