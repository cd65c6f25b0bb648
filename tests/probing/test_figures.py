import dataclasses
import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

import probing
from probing.views import figures
from probing.views.figures import (
    concept_neurons,
    diagnostic,
    full_probe,
    neurons,
    radford,
    steering,
    style,
)


def lines(axes) -> dict[str, np.ndarray]:
    """The x of each series of a plot of dots, by its name; its dots lie at their rows' names."""
    rows = axes.get_yticks()
    found = {}
    for line in axes.lines:
        if line.get_linestyle() == "None":
            assert (np.abs(line.get_ydata() - rows) < 0.5).all()
            found[line.get_label()] = np.asarray(line.get_xdata())
    return found


def words(figure: Figure) -> str:
    """All the text that its SVG has."""
    root = ElementTree.fromstring(figures.svg(figure))
    return " ".join(root.itertext())


@pytest.fixture(scope="module")
def table(planted, digits):
    return probing.score_neurons(planted, digits, "0.c")


def test_the_values_of_the_single_neuron_are_counted_by_kind(radford_report):
    axes = radford.values(radford_report).axes[0]
    negative, positive = (patch.get_data() for patch in axes.patches)
    shown = radford_report.values
    assert positive.values.sum() == 5
    assert negative.values.sum() == 3
    assert (np.histogram(shown[radford_report.labels], positive.edges)[0] == positive.values).all()
    assert (np.histogram(shown[~radford_report.labels], negative.edges)[0] == negative.values).all()
    assert axes.lines[0].get_xdata()[0] == radford_report.threshold.value
    said = words(radford.values(radford_report))
    for text in ("0.c[2]", "good", "not good", "threshold +0.250", "75.0%"):
        assert text in said


def test_the_plot_of_weights_has_each_weight_at_its_unit_and_names_the_largest(radford_report):
    figure = radford.weights(radford_report)
    axes = figure.axes[0]
    drawn = {x: y for (x, _), (_, y) in axes.collections[0].get_segments()}
    assert drawn == {0: 0.5, 2: -3.0, 3: 1.0}
    assert [t.get_text() for t in axes.texts] == ["0.c[2]"]
    assert axes.texts[0].xy == (2, -3.0)
    assert "3 of 4 weights" in words(figure)
    alone = dataclasses.replace(radford_report, weights=np.array([0.0] * 30 + [2.0] + [0.0] * 69))
    low, high = radford.weights(alone).axes[0].get_xlim()
    assert low < 0 < 99 < high


def test_the_curve_of_labelled_examples_has_its_band_and_what_it_is_compared_with(radford_report):
    axes = radford.labelled_examples(radford_report).axes[0]
    curve, probe, neuron, majority = axes.lines
    assert np.array(curve.get_xydata()).tolist() == [[16, 0.6], [32, 0.7], [64, 0.75]]
    band = axes.collections[0].get_paths()[0].vertices
    for n, mean, sd in radford_report.curve:
        assert {round(y, 6) for x, y in band if x == n} == {
            round(mean - sd, 6),
            round(mean + sd, 6),
        }
    levels = [line.get_ydata()[0] for line in (probe, neuron, majority)]
    assert levels == [0.875, 0.75, 0.625]
    assert axes.get_xscale() == "log"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["16", "32", "64"]


def test_without_a_point_of_the_curve_there_is_no_figure_of_it(radford_report):
    assert "radford_labelled_examples" in figures.of(radford_report)
    none = dataclasses.replace(radford_report, curve=())
    assert set(figures.of(none)) == {"radford_values", "radford_weights"}


def test_both_splits_of_concept_neurons_lie_beside_each_other(concept_neurons_report):
    report = concept_neurons_report
    drawn = figures.of(report)
    for part, axes in zip(
        (report.published, report.by_document), drawn["concept_neurons_f1"].axes, strict=True
    ):
        assert axes.get_title(loc="left") == part.split
        series = lines(axes)
        found = dict(zip(["NOUN", "$VERB$"], series["largest neuron"], strict=True))
        for probe in part.tags:
            assert found[probe.tag] == pytest.approx(concept_neurons.f1(probe, "top 1"))
        assert np.isnan(found["$VERB$"]) == (len(part.tags) == 1)
    accuracy = lines(drawn["concept_neurons_tags_accuracy"].axes[0])
    assert accuracy["all neurons"][0] == report.published.tags[0].accuracy["all"]
    assert accuracy["always no"][0] == 1 - 30 / 100
    totals = lines(drawn["concept_neurons_accuracy"].axes[1])
    assert totals["largest 2"] == pytest.approx([0.52, 0.42])
    assert totals["most frequent tag"][0] == report.by_document.majority
    assert "$VERB$" in words(drawn["concept_neurons_f1"])


def test_f1_is_the_harmonic_mean_and_0_where_nothing_is_told(concept_neurons_report):
    probe = concept_neurons_report.published.tags[0]
    assert concept_neurons.f1(probe, "all") == pytest.approx(2 * 0.8 * 0.5 / 1.3)
    assert concept_neurons.f1(probe, "top 3") == 0


def test_classes_are_shown_by_f1_and_numbers_by_correlation(diagnostic_report):
    axes = diagnostic.classes(diagnostic_report).axes[0]
    series = lines(axes)
    assert [t.get_text() for t in axes.get_yticklabels()] == ['=quote, "x"  0.c[1]', "rare"]
    assert series["probe"][0] == 0.9
    assert series["probe, classes weighed equally"][0] == 0.85
    assert series["its largest neuron alone"][0] == 0.7
    assert series["always yes"].tolist() == [0.4, 0.0]
    assert np.isnan(series["probe"][1])
    numbers = lines(diagnostic.numbers(diagnostic_report).axes[0])
    assert numbers["probe"].tolist() == [0.8]
    assert numbers["its largest neuron alone"].tolist() == [-0.6]


def test_all_neurons_are_shown_beside_each_random_model_and_every_other_way(full_probe_report):
    axes = full_probe.accuracy(full_probe_report).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [
        "all neurons",
        "random weights, seed 4",
        "random weights, seed 9",
        "surface model",
        "most frequent class of the word",
        "most frequent class",
    ]
    series = lines(axes)
    assert series["accuracy"].tolist() == [0.8, 0.5, 0.52, 0.7, 0.75, 0.6]
    assert series["balanced accuracy"] == pytest.approx(series["accuracy"] - 0.04)
    assert series["macro F1"] == pytest.approx(series["accuracy"] - 0.06)
    ends = np.array([[x for x, _ in part] for part in axes.collections[0].get_segments()])
    assert ends[:, 0] == pytest.approx(series["accuracy"] - 0.02)
    assert ends[:, 1] == pytest.approx(series["accuracy"] + 0.03)
    of_classes = lines(full_probe.classes(full_probe_report).axes[0])
    assert of_classes["all neurons"] == pytest.approx([0.75, 0.6])
    assert of_classes["surface model"] == pytest.approx([0.65, 0.5])
    assert of_classes["most frequent class of the word"] == pytest.approx([0.7, 0.55])


def test_the_best_neurons_have_their_interval_and_their_twin(table):
    figure = neurons.best(table)
    classes, numbers = figure.axes
    rows = [row for row in table.rows() if row.neuron]
    aucs = [row for row in rows if row.metric == "AUC"]
    assert lines(classes)["best neuron"].tolist() == [row.test for row in aucs]
    assert lines(classes)["random twin"].tolist() == [row.twin_test for row in aucs]
    ends = [[x for x, _ in segment] for segment in classes.collections[0].get_segments()]
    assert ends == [[row.low, row.high] for row in aucs]
    assert lines(numbers)["best neuron"].tolist() == [row.test for row in rows if row.metric == "r"]
    assert lines(classes)["surface model"].tolist() == [row.surface for row in aucs]
    assert lines(numbers)["control task"].tolist() == [
        row.control_test for row in rows if row.metric == "r"
    ]
    bare = dataclasses.replace(table, surface=None, control=None)
    assert set(lines(neurons.best(bare).axes[0])) == {"best neuron", "random twin"}
    assert "digit" in words(figure)


def test_a_histogram_of_a_class_is_the_density_of_its_best_neuron(table):
    row = table.best("digit")
    unit = int(row.neuron.split("[")[1][:-1])
    borders, on, off = table.summaries["0.c"].density(unit, 1, slice(2, None), neurons.BARS)
    axes = neurons.histogram(table, "digit").axes[0]
    drawn = {patch.get_label(): patch.get_data() for patch in axes.patches}
    assert (drawn["in the class"].values == on).all()
    assert (drawn["elsewhere"].values == off).all()
    assert (drawn["elsewhere"].edges == borders).all()
    panels = neurons.values(table).axes
    assert [a.get_title(loc="left").split()[0] for a in panels] == ["digit", "coin"]


def test_every_figure_is_saved_whole_as_svg_and_png(
    table, radford_report, concept_neurons_report, diagnostic_report, full_probe_report, tmp_path
):
    for result in (table, radford_report, concept_neurons_report, diagnostic_report):
        written = figures.write(result, tmp_path)
        assert len(written) == len(figures.of(result)) >= 2
        for name, svg in written.items():
            assert (tmp_path / f"{name}.svg").read_text("utf-8") == svg
            assert ElementTree.fromstring(svg).tag.endswith("svg")
            assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def check_edges(result, folder) -> None:
    """Nothing of a figure reaches the edge of its picture."""
    figures.write(result, folder)
    for picture in folder.glob("*.png"):
        ink = imread(picture)[:, :, :3].min(-1) < 1
        assert ink.any()
        for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
            assert not edge.any(), picture.name


def test_nothing_of_a_figure_is_cut_at_its_edge(
    table, radford_report, concept_neurons_report, diagnostic_report, full_probe_report, tmp_path
):
    for result in (
        table,
        radford_report,
        concept_neurons_report,
        diagnostic_report,
        full_probe_report,
    ):
        check_edges(result, tmp_path)


def test_long_names_are_cut_and_leave_room_for_what_is_drawn(table, diagnostic_report, tmp_path):
    long = "a concept with a long name " * 9
    classes = (long, *table.classes[1:])
    drawn = neurons.best(dataclasses.replace(table, classes=classes))
    figures.svg(drawn)  # lays it out
    check_edges(dataclasses.replace(table, classes=classes), tmp_path)
    assert drawn.axes[0].get_position().width > 0.4
    name = drawn.axes[0].get_yticklabels()[0].get_text()
    assert len(name) == 48
    assert name.endswith(f"…  {table.best('digit').neuron}")
    first = dataclasses.replace(diagnostic_report.hypotheses[0], concept=long)
    check_edges(dataclasses.replace(diagnostic_report, hypotheses=(first,)), tmp_path)


def test_weights_that_are_all_zero_and_a_neuron_that_never_moves_are_drawn(
    radford_report, tmp_path
):
    still = dataclasses.replace(
        radford_report, weights=np.zeros(4), values=np.zeros(8), nonzero=0, neuron="0.c[0]"
    )
    check_edges(still, tmp_path)
    assert "0 of 4 weights" in words(radford.weights(still))


def test_the_same_result_is_the_same_svg(radford_report):
    first, second = (figures.svg(radford.weights(radford_report)) for _ in range(2))
    assert first == second


def test_a_result_without_figures_writes_none(tmp_path):
    assert figures.write("a text", tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()


def test_colours_differ_in_lightness_and_markers_in_shape():
    light = [np.dot(to_rgb(colour), [0.299, 0.587, 0.114]) for colour in (style.ORANGE, style.BLUE)]
    assert abs(light[0] - light[1]) > 0.1
    marks = [style.BEST, style.OTHER, style.THIRD, style.FOURTH, style.LEVEL]
    for one, other in itertools.combinations(marks, 2):
        assert one["marker"] != other["marker"]


PROGRAM = """
import sys
import probing
assert "matplotlib" not in sys.modules, "import probing is to stay light"
from probing.views import figures
from matplotlib.figure import Figure
figures.save(Figure(), sys.argv[1], "empty")
import matplotlib
assert "matplotlib.pyplot" not in sys.modules, "pyplot keeps figures"
assert matplotlib.rcParams["text.parse_math"], "the settings are not left behind"
"""


def test_matplotlib_comes_with_the_figures_alone_and_pyplot_never(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty.svg").exists()


@pytest.fixture(scope="module")
def steered(planted, digits):
    """A neuron at three doses, of which two are nearly one."""
    settings = {"prompts": 3, "prompt_bytes": 20, "samples": 1, "length": 12, "controls": 5}
    doses = {"quantiles": (0.9, 0.1, 0.95)}
    return probing.steer(planted, "0.c[2]", digits, "digit", **settings, **doses)


def test_the_dose_response_is_drawn_among_its_controls(steered):
    figure = steering.response(steered)
    above, below = figure.axes
    (curve,) = [line for line in above.lines if line.get_label().startswith("0.c[2]")]
    order = np.argsort([dose.z for dose in steered.doses])
    assert curve.get_xdata().tolist() == [steered.doses[k].z for k in order]
    assert curve.get_ydata().tolist() == [steered.doses[k].level.score.value for k in order]
    (median,) = [line for line in above.lines if line.get_label() == "their median"]
    expected = [np.median(steered.doses[k].controls) for k in order]
    np.testing.assert_allclose(median.get_ydata(), expected)
    bits = below.lines[0].get_ydata().tolist()
    assert bits == [steered.doses[k].level.bits.value for k in order]
    said = words(figure)
    for text in ("slope", "5 matched controls", "unedited", "bits per byte", '"digit"'):
        assert text in said


def test_ticks_that_lie_too_near_are_left_out(steered):
    near = dataclasses.replace(steered.doses[0], z=1.0)
    others = [dataclasses.replace(near, z=z) for z in (1.01, 3.0)]
    assert [bool(label) for label in steering._ticks([near, *others])] == [True, False, True]


def test_steering_without_controls_is_drawn(steered):
    doses = tuple(dataclasses.replace(dose, controls=()) for dose in steered.doses)
    alone = dataclasses.replace(steered, doses=doses, slopes=(), controls=())
    assert set(figures.of(alone)) == {"steering"}
    assert "controls" not in words(steering.response(alone))
