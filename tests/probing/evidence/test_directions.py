import dataclasses
import hashlib
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import probing
from mlstm.errors import InputError
from probing.evidence import companions
from probing.evidence.subjects import Direction
from probing.tasks import LabelledData, LabelledDocument, every_byte, stored

DRAWS = 39
A, B = 3, 11  # each counts open brackets, and a walk that the other counts with the other sign
SPLITS = ("train", "dev", "test")


def ones(*units: int) -> np.ndarray:
    return np.isin(np.arange(16), units).astype(float)


@pytest.fixture(scope="module")
def pair(build):
    """An LSTM in which the sum of two units of c is the depth of round brackets."""
    units = {
        unit: {"i": [20], "f": [20], "u": [0, 0.3, -0.3, walk, -walk]}
        for unit, walk in ((A, 0.3), (B, -0.3))
    }
    return build(16, [b"(", b")", b"[", b"]"], units, embedding=6)


@pytest.fixture(scope="module")
def brackets() -> LabelledData:
    """Words without end in which a round bracket is open or not, and square ones come at random."""
    made = []
    for k in range(24):
        draw = np.random.default_rng(k)
        ids = draw.choice(list(b"abcdefgh[]"), 240, p=[0.08] * 8 + [0.18] * 2)
        on, place, open_now = np.zeros(240, bool), 0, False
        while (place := place + 1 + int(draw.geometric(0.04))) < 240:
            ids[place] = b")"[0] if open_now else b"("[0]
            open_now = not open_now
            on[place:] = open_now
        labels = every_byte(on[:, None], np.zeros((240, 0)))
        made.append(LabelledDocument(str(k), bytes(ids.tolist()), stored(labels)))
    return LabelledData("brackets", "drawn", "byte", ("open",), (), tuple(made))


@pytest.fixture(scope="module")
def claim(pair, brackets):
    options = {"direction": 7 * ones(A, B), "draws": DRAWS, "causal": False}
    return probing.verify(pair, "0.c", brackets, **options)


def test_a_concept_that_two_weak_neurons_carry_together_is_that_of_their_sum(claim, pair, brackets):
    x, y, _ = probing.arrays(pair, brackets, "0.c", "test", "open")
    assert all(abs(roc_auc_score(y, x[:, unit]) - 0.5) < 0.2 for unit in (A, B))
    assert claim.verdict == "correlational only"
    assert claim.test.value == pytest.approx(1)
    assert claim.p == 1 / (1 + DRAWS)
    assert (claim.neuron, claim.direction, claim.chosen) == ("0.c[direction]", 1, False)
    assert claim.tried == 1


def test_the_claim_names_the_vector_and_has_no_place_among_neurons(claim):
    of = np.asarray(7 * ones(A, B), "<f4")
    plain = json.loads(claim.to_json())
    assert plain["vector"] == {
        "sha256": hashlib.sha256(of.tobytes()).hexdigest(),
        "norm": pytest.approx(7 * np.sqrt(2)),
    }
    assert "place" not in claim.ranks
    assert claim.probes["direction"]["balanced accuracy"] > 0.99
    assert claim.probes["best neuron"]["balanced accuracy"] < 0.8
    assert "direction" in claim.rotated
    card = str(claim)
    for said in ("0.c[direction] follows", "named beforehand, 1 tried", "of this direction alone"):
        assert said in card
    assert "maximum over" not in card


def test_the_lead_is_over_a_probe_of_the_twin_too(claim, pair, brackets):
    twin = probing.random_twin(pair, 0)
    parts = {s: probing.arrays(twin, brackets, "0.c", s, "open") for s in SPLITS}
    expected = companions.full_probe(parts, True)
    assert claim.twin_probe.value == pytest.approx(expected["AUC"], abs=1e-5)
    assert claim.twin_probe.lower == pytest.approx(expected["lower"], abs=1e-4)
    best = max(claim.surface.value, claim.twin.value, claim.twin_probe.value)
    assert claim.lead.value == pytest.approx(claim.test.value - best)


def test_the_test_documents_do_not_say_which_way_it_points(claim, pair, brackets):
    tests = set(brackets.indices("test").tolist())

    def turned(document: LabelledDocument) -> LabelledDocument:
        labels = document.read()
        other = stored(labels._replace(classes=~labels.classes))
        return dataclasses.replace(document, read=other)

    documents = enumerate(brackets.documents)
    moved = dataclasses.replace(
        brackets, documents=tuple(turned(d) if i in tests else d for i, d in documents)
    )
    other = probing.verify(pair, "0.c", moved, direction=7 * ones(A, B), draws=DRAWS)
    assert (other.direction, other.select) == (claim.direction, claim.select)
    for name in ("test", "surface", "twin", "twin_probe"):
        ours, theirs = getattr(other, name), getattr(claim, name)
        assert ours.value == pytest.approx(1 - theirs.value)
    assert other.verdict == "explained by a baseline"


def test_a_direction_that_the_concept_is_not_in_is_not_significant(pair, brackets):
    claim = probing.verify(pair, "0.c", brackets, direction=ones(A) - ones(B), draws=DRAWS)
    assert claim.verdict == "not significant"
    assert claim.p >= 0.05


def test_a_random_direction_is_not_significant_for_a_coin(planted, digits):
    random = np.random.default_rng(0).normal(size=16)
    claim = probing.verify(planted, "0.c", digits, "coin", direction=random, draws=DRAWS)
    assert claim.verdict == "not significant"


def test_one_neuron_as_a_direction_has_the_neurons_figures_whatever_its_length(planted, digits):
    neuron = probing.verify(planted, "0.c[6]", digits, "digit", draws=DRAWS)
    along = probing.verify(planted, None, digits, "digit", direction=-9 * ones(6), draws=DRAWS)
    assert along.direction == -neuron.direction
    for name in ("test", "surface", "twin"):
        ours, theirs = getattr(along, name), getattr(neuron, name)
        assert (ours.value, ours.lower) == pytest.approx((theirs.value, theirs.lower))
    assert along.cohen_d == pytest.approx(-neuron.cohen_d, rel=1e-4)
    assert along.select == pytest.approx(neuron.select, abs=0.01)


def test_of_a_number_the_direction_has_a_correlation(planted, digits):
    weights = np.random.default_rng(1).normal(size=(1, 16))
    claim = probing.verify(planted, "0.h", digits, "place", direction=weights, draws=DRAWS)
    assert claim.metric == "r"
    assert np.isnan(claim.cohen_d)
    assert claim.select >= 0
    assert -1 <= claim.twin_probe.value <= 1
    assert "R2" in claim.probes["direction"]


def test_several_models_take_a_vector_each_and_nothing_is_matched(planted, digits):
    models = [planted, probing.random_twin(planted, 3)]
    claims = probing.verify(
        models, "0.c", digits, "digit", direction=[ones(5), ones(6)], draws=DRAWS
    )
    assert claims[0].vector != claims[1].vector
    assert claims.matches == ()
    with pytest.raises(InputError, match="2 models need 2 vectors, one each"):
        probing.verify(models, "0.c", digits, "digit", direction=[ones(5)])
    with pytest.raises(InputError, match="2 models need 2 vectors, one each"):
        probing.verify(models, "0.c", digits, "digit", direction=ones(5))


@pytest.mark.parametrize(
    ("of", "vector", "says"),
    [
        ("0.c", np.ones(15), r"shape \(15,\).* has 16 units, so it is \(16,\)"),
        ("0.c", np.ones((2, 16)), r"shape \(2, 16\)"),
        ("0.c", np.where(ones(4), np.nan, 1), "finite numbers alone; unit 4 has none"),
        ("0.c", np.full(16, 1e300), "finite numbers alone; unit 0"),
        ("0.c", np.zeros(16), "only zeros"),
        ("0.c", ["up"] * 16, "array of real numbers"),
        ("0.c", [[1], [1, 2]], "array of real numbers"),
        ("0.c[3]", np.ones(16), "states of one site"),
        ("0.c,0.h", np.ones(16), "states of one site"),
    ],
)
def test_what_is_no_direction_of_a_site_is_refused_in_one_line(planted, digits, of, vector, says):
    with pytest.raises(InputError, match=says) as refused:
        probing.verify(planted, of, digits, "digit", direction=vector)
    assert "\n" not in str(refused.value)


def test_a_score_of_raw_states_is_read_with_the_vector_at_length_one():
    draw = np.random.default_rng(0)
    x, vector = draw.normal(size=(5, 16)).astype(np.float32), draw.normal(size=16)
    found = Direction("0.c", (1e-30 * vector).astype(np.float32)).of(x)
    np.testing.assert_allclose(found, x @ vector / np.linalg.norm(vector), rtol=1e-4)
