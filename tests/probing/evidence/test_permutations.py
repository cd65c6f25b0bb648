import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import probing
from probing.evidence.controls import control_labels
from probing.evidence.permutations import Drawn, Significance
from probing.evidence.scores import ALPHA
from probing.evidence.significance import benjamini_hochberg
from probing.evidence.surface import SurfaceModel, surface_figures
from probing.states import activations

DRAWS = 39


@pytest.fixture(scope="module")
def table(planted, digits):
    return probing.score_neurons(planted, digits, "0.c,0.h", twin_seed=None, draws=DRAWS)


def test_the_p_of_the_best_neuron_is_that_of_verify(table, planted, digits):
    for concept in ("digit", "coin", "place"):
        claim = probing.verify(planted, "0.c,0.h", digits, concept, draws=DRAWS)
        row = table.best(concept)
        assert row.neuron == claim.neuron
        assert row.p == pytest.approx(claim.p)
        assert row.surface == pytest.approx(claim.surface.value)
        if concept != "place":
            assert row.majority == pytest.approx(claim.majority)


def test_q_is_of_the_p_of_single_neurons_and_the_planted_one_has_the_least(table):
    null = table.significance
    assert isinstance(null, Significance)
    k = table.concepts.index("digit")
    np.testing.assert_array_equal(null.q[:, k], benjamini_hochberg(null.p[:, k]))
    assert null.p[5, k] == 1 / (1 + DRAWS)
    assert (null.p <= null.p_max)[:, k].all()
    assert table.best("digit").found == (null.q[:, k] < ALPHA).sum()
    assert np.isnan(null.p[:, table.concepts.index("never")]).all()


def test_the_control_is_the_best_neuron_on_control_labels(table, planted, digits):
    control = control_labels(digits, 0)
    assert control is not None
    alone = probing.score_neurons(
        planted, control, "0.c,0.h", twin_seed=None, draws=0, controls=False
    )
    for concept in ("digit", "coin", "place"):
        row, expected = table.best(concept), alone.best(concept)
        assert row.control_neuron == expected.neuron
        assert row.control_test == pytest.approx(expected.test)


def test_surface_figures_are_nan_where_a_concept_does_not_vary(digits):
    found = surface_figures(digits)
    assert found[0] > 0.99
    assert np.isnan(found[2])
    assert SurfaceModel().fit(digits).scores(digits, 0).shape[1] == len(found)


def test_the_text_names_what_was_left_out(table, planted, digits):
    assert f"{DRAWS} draws" in str(table)
    assert "left out" not in str(table)
    assert max(map(len, str(table).splitlines())) <= 120
    bare = str(
        probing.score_neurons(planted, digits, "0.c", twin_seed=None, draws=0, controls=False)
    )
    assert "controls left out" in bare
    assert "p left out" in bare


def test_threads_of_two_sites_get_the_same_labels_of_a_window(planted, digits, monkeypatch):
    windows = list(activations.stream(planted, digits, ("0.c",)))
    alone = [list(Drawn(digits, DRAWS, 0).blocks(windows[0]))]
    drawn = Drawn(digits, DRAWS, 0)
    made = drawn._blocks

    def slowly(window):
        time.sleep(0.05)
        return made(window)

    monkeypatch.setattr(drawn, "_blocks", slowly)
    for window in windows:
        both = threading.Barrier(2)

        def ask(_, window=window, both=both):
            both.wait()
            return drawn.blocks(window)

        with ThreadPoolExecutor(2) as threads:
            one, other = threads.map(ask, range(2))
        assert one is other
        alone.append(one)
    for found, expected in zip(alone[1], alone[0], strict=True):
        for part, same in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, same)
    counts = {int(i): int(digits.counts[i]) for i in digits.indices("test")}
    assert drawn.seen == counts
