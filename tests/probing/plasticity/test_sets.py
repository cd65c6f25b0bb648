"""Which units are pruned, and that the twins are what they are called."""

import jax
import numpy as np
import pytest

from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.loading import Model
from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig
from probing.evidence import ranking
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


def test_matched_units_are_nearer_than_random_ones_and_disjoint():
    draw = np.random.default_rng(1)
    like = np.exp(draw.normal(size=(2 * H, 2)))
    concept = {"0.c": (1, 5, 9), "1.c": (0, 2)}
    sites = ("0.c", "1.c")
    ours = sets.places_of(sites, concept, H)

    def apart(found):
        places = sets.places_of(sites, found, H)
        logs = np.log(like)
        return np.abs(logs[places].mean(0) - logs[ours].mean(0)).sum()

    matched = [sets.matched_units(CONFIG, sites, concept, like, seed) for seed in range(20)]
    for found in matched:
        assert {site: len(units) for site, units in found.items()} == {"0.c": 3, "1.c": 2}
        assert not any(set(found[site]) & set(concept[site]) for site in concept)
    chance = [apart(sets.random_units(CONFIG, concept, seed)) for seed in range(20)]
    assert np.mean([apart(found) for found in matched]) < 0.5 * np.mean(chance)


def test_a_unit_that_has_a_double_is_matched_with_it():
    like = np.exp(np.random.default_rng(2).normal(size=(H, 2)))
    like[17] = like[4]
    found = sets.matched_units(CONFIG, ("0.c",), {"0.c": (4,)}, like, 0)
    assert found == {"0.c": (17,)}


@pytest.mark.parametrize("weight_norm", [True, False])
def test_output_norms_are_of_the_weights_that_read_a_unit(weight_norm):
    config = ModelConfig(hidden=8, embedding=4, layers=2, weight_norm=weight_norm)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    model = Model(config, parameters, Bytes())
    first, second = (
        {
            name: np.asarray(w)
            for kind in ("weights", "input_weights")
            for name, w in getattr(
                language_model._module(config, parameters).layers[layer], kind
            )().items()
        }
        for layer in ("0", "1")
    )
    readout = np.asarray(parameters["readout"]["w"])
    for unit in (0, 5):
        for site, parts in {
            "0.c": (first["wmh"], second["wx"], second["wmx"]),
            "1.h": (second["wmh"], readout),
            "0.m": (first["wh"],),
        }.items():
            want = np.sqrt(sum((part[unit] ** 2).sum() for part in parts))
            assert sets.output_norms(model, site)[unit] == pytest.approx(want, rel=1e-5)


def test_the_balance_is_in_standard_deviations():
    like = np.array([[1.0, 10], [3, 10], [5, 40], [7, 20]])
    found = sets.balance(like, np.array([0, 1]), np.array([2, 3]))
    assert (found.deviation, found.output) == (6, 30)
    assert found.deviation_apart == pytest.approx(4 / like[:, 0].std())
    assert found.output_apart == pytest.approx(20 / like[:, 1].std())


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
    with pytest.raises(InputError, match="twin 'other': it is one of"):
        sets.check_twins(CONFIG, ("0.c",), {"0.c": (1,)}, ("other",))
