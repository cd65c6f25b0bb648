"""What a study says: table, csv and figures of a report by hand."""

import csv
import io
import json

import numpy as np
import pytest

from probing.plasticity.measurement import Measurement
from probing.plasticity.report import COLUMNS, Arm, PlasticityReport, over_seeds
from probing.plasticity.roles import Role
from probing.plasticity.sets import Balance
from probing.views import figures, plasticity_tables
from probing.views.figures import plasticity as drawn

H, SITES = 6, ("0.m", "0.c", "0.h")
NAN = float("nan")


def measured(seed, dead=()):
    draw = np.random.default_rng(seed)
    names = [name for name, *_ in COLUMNS]
    values = {site: draw.random(H).round(3) for site in SITES}
    for site in ("0.c", "0.h"):
        values[site][list(dead)] = NAN
    of_neurons = {site: of.tolist() for site, of in values.items()}
    strengths = {f"strength {site}": float(draw.random()) for site in SITES}
    return Measurement(
        figures=dict(zip(names, draw.random(len(names)).tolist(), strict=True)) | strengths,
        best_neuron="0.c[1]",
        roles=[Role("0.c[2]", "0.c[0]", 0.8, 0.1)] if dead else [],
        auc=of_neurons,
        saliency=of_neurons,
        followed={"0.c": [1] * H},
        words={"0.c": [[] if unit in dead else ["def", f"w{unit}"] for unit in range(H)]},
        passages={"0.c": [["a"]] * H},
    )


@pytest.fixture(scope="module")
def report():
    arms = [
        Arm(
            name,
            seed,
            {"0.c": dead} if dead else {},
            Balance(1, 2, 0.1, -0.2) if dead else None,
            {step: measured(100 * nth + 10 * seed + step, dead) for step in (0, 2, 4)},
        )
        for nth, (name, dead) in enumerate([("concept", (2, 5)), ("untouched", ())])
        for seed in (0, 1, 2)
    ]
    asked = {"concept": "keyword", "sites": ("0.c",), "ranking": "auc", "seeds": 3}
    return PlasticityReport(
        "run, step 8", "source_code", "code", "d", asked, "validation", 0.01, 4000,
        ("keyword", "string"), measured(1), arms,
    )  # fmt: skip


def test_a_measurement_is_the_same_from_the_disk(report, tmp_path):
    found = report.arms[0].curve[2]
    found.save(tmp_path / "one.json")
    again = Measurement.load(tmp_path / "one.json")
    assert again.roles == found.roles
    assert again.figures == found.figures
    np.testing.assert_equal(again.saliency, found.saliency)


def test_the_json_has_no_number_that_json_has_not(report, tmp_path):
    report.save(tmp_path / "plasticity.json")
    saved = json.loads((tmp_path / "plasticity.json").read_text(), parse_constant=pytest.fail)
    first = saved["arms"][0]
    assert first["pruned"] == "0.c[2,5]"
    assert first["curve"]["4"]["saliency"]["0.c"][2] is None
    assert "saliency" not in first["curve"]["2"]
    assert first["curve"]["2"]["roles"][0]["new"] == "0.c[0]"


def test_the_table_has_a_row_for_each_arm_and_step(report):
    printed = str(report)
    assert printed.count("concept ") >= 3
    for part in ('plasticity of "keyword"', "untouched", "pruned: 2 units of 0.c by auc", " ±"):
        assert part in printed


def test_the_csv_of_the_curves_is_tidy(report):
    rows = list(csv.DictReader(io.StringIO(plasticity_tables.curves_csv(report))))
    figures = report.base.figures
    assert len(rows) == len(figures) * (1 + 6 * 3)
    (found,) = (
        row["value"]
        for row in rows
        if [row["arm"], row["seed"], row["step"], row["figure"]]
        == ["concept", "0", "2", "bits_per_byte"]
    )
    assert float(found) == report.arms[0].curve[2].figures["bits_per_byte"]


def test_the_csv_of_the_neurons_has_words_and_saliency_of_every_time(report):
    text = plasticity_tables.of(report)["plasticity_neurons-concept-0"]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == H
    assert list(rows[0])[:7] == [
        "neuron-id", "neuron", "pruned", "current_concepts", "concepts_1", "concepts_2",
        "concepts_3",
    ]  # fmt: skip
    dead = [row for row in rows if row["pruned"] == "1"]
    assert [row["neuron"] for row in dead] == ["0.c[2]", "0.c[5]"]
    for row in dead:
        assert row["current_concepts"]
        assert row["saliency_current"]
        assert (row["concepts_1"], row["saliency_3"]) == ("", "")
    assert [rows[0][f"step_{n}"] for n in (1, 2, 3)] == ["0", "2", "4"]


def test_the_figures_show_what_was_measured(report):
    found = drawn.figures(report)
    assert figures.of(report).keys() == found.keys()
    assert set(found) == {"plasticity_curves", "plasticity_saliency", "plasticity_map"}
    axes = found["plasticity_curves"].axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    bits = [report.point("concept", step, "bits_per_byte").mean for step in report.steps]
    np.testing.assert_allclose(lines["pruned: the concept's"].get_ydata(), bits)
    assert lines["before the pruning"].get_ydata()[0] == report.base.figures["bits_per_byte"]
    before, pruned = (found["plasticity_map"].axes[k] for k in (0, 1))
    assert len(before.lines[0].get_xdata()) == 0
    # Sites from above: c, m, h; units along.
    crosses = set(zip(*(part.tolist() for part in pruned.lines[0].get_data()), strict=True))
    sites = list(report.base.saliency)
    assert crosses == {
        (2, sites.index("0.c")), (5, sites.index("0.c")), (2, sites.index("0.h")),
        (5, sites.index("0.h")),
    }  # fmt: skip


def test_intervals_over_seeds_are_students():
    found = over_seeds([1.0, 2.0, 6.0, float("nan")])
    assert found.mean == 3
    assert found.high - found.mean == pytest.approx(4.302653 * np.std([1, 2, 6], ddof=1) / 3**0.5)
    assert np.isnan(over_seeds([1.0]).low)


def test_the_concept_is_compared_with_its_twins_seed_by_seed(report):
    own, twin = (report.seeds_of(name) for name in ("concept", "untouched"))
    apart = [
        a.curve[4].figures["best_auc"] - b.curve[4].figures["best_auc"]
        for a, b in zip(own, twin, strict=True)
    ]
    found = report.apart("untouched", 4, "best_auc")
    assert found == over_seeds(apart)
    assert f"best AUC {found.mean:+.3f} ±{found.high - found.mean:.3f}" in str(report)
    saved = json.loads(report.to_json())["concept_less_twin"]["untouched"]["4"]["best_auc"]
    assert saved["mean"] == pytest.approx(found.mean)
