"""The figures of effects show the numbers that their results have."""

import dataclasses
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from probing.evidence.claims import Interval
from probing.evidence.effects import Curves, Effect, Pulse, Sweep
from probing.evidence.effects.changes import Change
from probing.evidence.effects.comparison import against_others, against_sets
from probing.evidence.effects.curves import Point
from probing.evidence.effects.sweep import Verified
from probing.views import figures
from probing.views.figures import effects, style

OF = {
    "concept": "$x$ string",
    "rule": "the predicted byte is labelled",
    "task": "source_code",
    "model": "by hand",
    "data": "drawn",
    "data_digest": "0",
    "split": "test",
    "documents": 3,
    "bytes": {"elsewhere": 90, "on": 10},
    "before": {"elsewhere": 2.0, "on": 1.5},
}


def words(figure) -> str:
    """All the text that its SVG has."""
    return " ".join(ElementTree.fromstring(figures.svg(figure)).itertext())


@pytest.fixture
def effect() -> Effect:
    draw = np.random.default_rng(0)
    others, covariates = draw.normal(size=40), draw.normal(size=(41, 2))
    parts = (against_others(own, others, covariates, 100) for own in (3.0, -0.5))
    interval = Interval(0.1, 0.0, 0.2)
    change = Change(
        "mean", interval, interval, interval, {"on": 0.1, "elsewhere": 0.2}, None, *parts
    )
    return Effect(("0.c[3]",), changes=(change,), **OF)


def test_a_neuron_is_marked_among_all_others(effect):
    figure = effects.controls(effect)
    for axes, among in zip(
        figure.axes, (effect.changes[0].comparison, effect.changes[0].specificity), strict=True
    ):
        (stairs,) = axes.patches
        values, borders, _ = stairs.get_data()
        assert values.sum() == 40
        assert borders[0] <= min(among.effects)
        (dot,) = (line for line in axes.lines if line.get_marker() == "o")
        np.testing.assert_array_equal(dot.get_xdata(), [among.effect])
        assert to_rgb(dot.get_color()) == to_rgb(style.ORANGE)
        assert f"adjusted p = {among.adjusted_p:.4f} among 40" in axes.get_title(loc="left")
    assert "$x$ string" in words(figure)


def test_an_effect_without_controls_has_no_figure(effect):
    bare = dataclasses.replace(effect.changes[0], comparison=None, specificity=None)
    assert figures.of(dataclasses.replace(effect, changes=(bare,))) == {}


def test_of_sets_p_is_not_said_to_be_adjusted(effect):
    among = against_sets(1.0, np.zeros(20), {"log variance": (1.0, 0.1)}, 100)
    change = dataclasses.replace(effect.changes[0], comparison=among, specificity=among)
    axes = effects.controls(dataclasses.replace(effect, changes=(change,))).axes[0]
    assert axes.get_title(loc="left").endswith("\np = 0.0476 among 20")
    assert axes.get_ylabel() == "matched random sets"


@pytest.mark.parametrize("accuracy", [0.9, float("nan")])
def test_curves_are_drawn_with_the_band_of_random_sets(accuracy):
    def points(least: float) -> tuple[Point, ...]:
        return tuple(
            Point(
                k, least + k, least - k, accuracy, (0, k, 2 * k), (0, 1, 2), (0.5, 0.6, 0.7), 0.05
            )
            for k in (1, 2, 4)
        )

    found = Curves(
        "0.c", "effect", ("0.c[1]",), "mean", accuracy=accuracy, sets=20, drop=points(0),
        keep=points(9), **OF,
    )  # fmt: skip
    figure = effects.curves(found)
    assert len(figure.axes) == (6 if accuracy == accuracy else 4)
    for axes, least in zip(figure.axes[:2], (0, 9), strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
        np.testing.assert_array_equal(drawn["by effect"], [least + 1, least + 2, least + 4])
        np.testing.assert_array_equal(drawn["their median"], [1, 2, 4])
        (band,) = axes.collections
        assert band.get_paths()[0].get_extents().y1 == 8
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == ["1", "2", "4"]


def test_a_response_is_drawn_beside_what_the_forget_gate_leaves():
    steps = np.arange(21)
    response = np.stack([0.8**steps, 0.7**steps, 0.9**steps], 1)
    found = Pulse(
        "0.c[3]", "by hand", "drawn", 1.0, 3, 64, 48, response, 1e-3 * response,
        Interval(3.1, 3.0, 3.2), 0.0, 0.9, None, (),
    )  # fmt: skip
    figure = effects.response(found)
    above, below = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in above.lines}
    np.testing.assert_array_equal(drawn["median over places"], response[:, 0])
    np.testing.assert_allclose(drawn["forget gate alone, median 0.900"], 0.9**steps)
    assert below.get_yscale() == "log"
    assert "half-life 3.1 bytes" in words(figure)
    assert "mathdefault" not in words(figure)


def test_the_largest_of_a_sweep_are_drawn_with_their_estimates():
    verified = tuple(Verified(f"0.c[{k}]", 0.1 * k, 1.0 - k, 0.5, k + 1) for k in range(3))
    found = Sweep("0.c", estimates=np.zeros((8, 2)), verified=verified, correlation=0.9, **OF)
    (axes,) = effects.largest(found).axes
    drawn = {line.get_label(): line.get_xdata() for line in axes.lines}
    np.testing.assert_allclose(drawn["on the concept"], [1.0, 0.0, -1.0])
    np.testing.assert_allclose(drawn["on the concept, by gradient"], [0.0, 0.1, 0.2])
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0.c[0]", "0.c[1]", "0.c[2]"]
    assert set(figures.of(found)) == {"effect_sweep"}
