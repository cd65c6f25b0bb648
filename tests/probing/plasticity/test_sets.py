"""Which units are pruned, and that the twins are what they are called."""

import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model
from probing.evidence import ranking
from probing.evidence.effects.units import Units as Known
from probing.evidence.effects.units import output_weight
from probing.plasticity import sets
from probing.plasticity.rows import Kept

H = 32
CONFIG = ModelConfig(hidden=H, embedding=4, layers=2)
CONCEPT = {"0.c": (1, 5, 9), "1.c": (0,), "1.m": (7, 8)}


@pytest.fixture(scope="module")
def kept():
    draw = np.random.default_rng(0)
    n = 900
    y = draw.random((n, 2)) < 0.3
    x = draw.normal(size=(n, H)).astype(np.float32)
    for unit, effect in ((3, 3.0), (11, -1.5), (4, 0.4)):
        x[:, unit] += effect * y[:, 1]
    x[:, 4] *= 40  # of large range, and little to tell
    return Kept(x, y, np.arange(n) % 3)


@pytest.mark.parametrize("name", sets.RANKINGS)
def test_every_ranking_finds_the_units_that_tell_the_class(kept, name):
    order = sets.ranked(kept, name, 1, 3)
    assert sorted(order.tolist()) == list(range(H))
    first = {"probeless": 4}.get(name, 3)  # as published, neurons of large range lead
    assert order[0] == first
    assert {3, 11} <= set(order[:4].tolist())


def test_rankings_see_train_alone(kept):
    turned = kept._replace(states=np.where((kept.splits == 0)[:, None], kept.states, 0))
    want = ranking.auc(kept.x("train"), kept.y("train")[:, 1]).order
    assert (sets.ranked(turned, "auc", 1, 3) == want).all()


def test_random_units_are_uniform_disjoint_and_as_many_of_each_site():
    counts = {site: np.zeros(H) for site in CONCEPT}
    for seed in range(600):
        found = sets.random_units(CONFIG, CONCEPT, seed)
        assert {site: len(units) for site, units in found.items()} == {"0.c": 3, "1.c": 1, "1.m": 2}
        for site, units in found.items():
            assert len(set(units)) == len(units)
            assert not set(units) & set(CONCEPT[site])
            counts[site][list(units)] += 1
    for site, units in CONCEPT.items():
        assert not counts[site][list(units)].any()
        others = np.delete(counts[site], list(units))
        want = 600 * len(units) / len(others)
        assert (((others - want) ** 2) / want).sum() < 2 * len(others)  # chi square, far below
    assert sets.random_units(CONFIG, CONCEPT, 5) == sets.random_units(CONFIG, CONCEPT, 5)


@pytest.fixture(scope="module")
def known():
    draw = np.random.default_rng(1)
    return {
        site: Known(site, *np.exp(draw.normal(size=(3, H))), np.zeros((0, H)))
        for site in ("0.c", "1.c")
    }


def test_matched_units_are_nearer_than_random_ones_and_disjoint(known):
    concept = {"0.c": (1, 5, 9), "1.c": (0, 2)}

    def apart(found):
        of = sets.balance(known, concept, found)
        return abs(of.deviation_apart) + abs(of.output_apart)

    matched = [sets.matched_units(concept, known, seed) for seed in range(20)]
    for found in matched:
        assert {site: len(units) for site, units in found.items()} == {"0.c": 3, "1.c": 2}
        assert not any(set(found[site]) & set(concept[site]) for site in concept)
    assert matched[3] == sets.matched_units(concept, known, 3)
    assert len({tuple(found["0.c"]) for found in matched}) > 5
    chance = [apart(sets.random_units(CONFIG, concept, seed)) for seed in range(20)]
    assert np.mean([apart(found) for found in matched]) < 0.6 * np.mean(chance)


def test_what_units_are_like_is_read_off_the_states_of_their_site():
    config = ModelConfig(hidden=8, embedding=4, layers=2)
    model = Model(config, language_model.init_parameters(config, jax.random.key(0)), Bytes())
    x = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32) * np.arange(16)
    found = sets.known_units(model, ("0.m", "1.c"), x)
    np.testing.assert_allclose(found["1.c"].deviation, x[:, 8:].std(0), rtol=1e-5)
    np.testing.assert_allclose(found["0.m"].mean, x[:, :8].mean(0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["0.m"].weight, output_weight(model, "0.m"))


def test_the_balance_is_in_standard_deviations_of_the_logs(known):
    found = sets.balance(known, {"0.c": (0, 1), "1.c": (2,)}, {"0.c": (3, 4), "1.c": (5,)})
    want, logs = [], []
    for site, ours, theirs in (("0.c", [0, 1], [3, 4]), ("1.c", [2], [5])):
        weight = np.log(known[site].weight)
        logs.append((weight[theirs].mean() - weight[ours].mean()) / weight.std() * len(ours) / 3)
        want.append(known[site].deviation[theirs].sum() / 3)
    assert found.deviation == pytest.approx(sum(want))
    assert found.output_apart == pytest.approx(sum(logs))


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("0.1", 3), ("0.001", 1), ("1.0", 32)])
def test_a_count_or_a_share_is_read(text, count):
    assert sets.parse_count(text, 32) == count


@pytest.mark.parametrize("text", ["0", "33", "0.0", "1.5", "-0.1", "nan", "x", "-3"])
def test_what_is_neither_is_one_line(text):
    with pytest.raises(InputError, match=r"^prune "):
        sets.parse_count(text, 32)


def test_a_twin_needs_as_many_others():
    with pytest.raises(InputError, match=r"17 of the 32 units of .* pruned leave 15 others"):
        sets.check_twins(CONFIG, ("0.c",), {"0.c": tuple(range(17))}, ("random",))
    sets.check_twins(CONFIG, ("0.c",), {"0.c": tuple(range(17))}, ("untouched",))
    sets.check_twins(CONFIG, ("0.c",), {"0.c": tuple(range(16))}, ("random",))
    with pytest.raises(InputError, match=r"11 of the 32 .* leave 21 others: too few"):
        sets.check_twins(CONFIG, ("0.c",), {"0.c": tuple(range(11))}, ("random", "matched"))
    with pytest.raises(InputError, match="twin 'other': it is one of"):
        sets.check_twins(CONFIG, ("0.c",), {"0.c": (1,)}, ("other",))
