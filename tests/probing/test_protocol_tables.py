import csv
import dataclasses
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probing import results
from probing.protocols.radford import Mistake
from probing.views import protocol_tables


def read(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_accuracy_of_radford_is_in_its_csv(radford_report, tmp_path):
    results.write_published(tmp_path, "radford", radford_report, figures=False)
    rows = read(tmp_path / "radford.csv")
    found = {
        (r["what"], r["C"], r["labelled_documents"], r["split"]): float(r["accuracy"]) for r in rows
    }
    assert len(found) == len(rows) == 6 + 2 + 3
    assert found["all neurons", "0.5", "100", "train"] == 0.95
    assert found["all neurons", "0.5", "100", "dev"] == 0.85
    assert found["all neurons", "0.5", "100", "test"] == 0.875
    assert found["neuron 0.c[2]", "", "100", "train"] == 0.8
    assert found["neuron 0.c[2]", "", "100", "test"] == 0.75
    assert found["most frequent label", "", "100", "test"] == 0.625
    assert found["C tried", "0.25", "100", "dev"] == 0.8
    assert found["fewer labels", "0.5", "32", "test"] == 0.7
    assert [r["sd"] for r in rows if r["what"] == "fewer labels"] == ["0.05", "0.02", "0.01"]
    assert {r["sd"] for r in rows if r["what"] != "fewer labels"} == {""}


def test_what_is_told_wrongly_reads_back_as_it_was(radford_report, tmp_path):
    results.write_published(tmp_path, "radford", radford_report, figures=False)
    rows = read(tmp_path / "radford_mistakes.csv")
    probe, neuron = rows[:2], rows[2:]
    assert {r["told_by"] for r in probe} == {"all neurons"}
    assert {r["told_by"] for r in neuron} == {"neuron 0.c[2]"}
    assert probe[0]["text"] == '\'=HYPERLINK("x", "y")'
    assert probe[1]["text"] == radford_report.mistakes[1].text
    assert [r["text"] for r in neuron] == ["é “quoted”", ""]
    assert [r["label"] for r in rows] == ["good", "bad", "good", "bad"]
    assert [float(r["score"]) for r in rows] == [0.02, 0.9, -0.65, 0.05]


@given(st.lists(st.text(), max_size=4))
def test_any_text_reads_back_and_none_begins_as_a_formula_does(radford_report, texts):
    wrong = tuple(Mistake(text, "good", 0.5) for text in texts)
    report = dataclasses.replace(radford_report, mistakes=wrong, neuron_mistakes=())
    written = protocol_tables.mistakes(report)
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [r["text"].removeprefix("'") for r in rows] == [t.removeprefix("'") for t in texts]
    assert not any(
        r["text"][:1] in ("=", "+", "-", "@", "\t", "\r", "\n") for r in rows if r["text"]
    )


def test_a_row_for_each_split_tag_and_number_of_neurons(concept_neurons_report, tmp_path):
    results.write_published(tmp_path, "concept_neurons", concept_neurons_report, figures=False)
    rows = {
        (r["split"], r["tag"], r["neurons_used"]): r for r in read(tmp_path / "concept_neurons.csv")
    }
    assert len(rows) == (2 + 1) * 4
    for part in (concept_neurons_report.published, concept_neurons_report.by_document):
        for probe in part.tags:
            for way in ("all", "top 1", "top 2", "top 3"):
                row = rows[part.split, probe.tag, way]
                assert float(row["accuracy"]) == probe.accuracy[way]
                assert float(row["precision"]) == probe.precision[way]
                assert float(row["recall"]) == probe.recall[way]
                assert int(row["positives"]) == probe.positives
    assert rows["by document", "NOUN", "top 2"]["neurons"] == "0.c[4] 0.c[7]"
    assert rows["by document", "NOUN", "all"]["neurons"] == ""
    totals = read(tmp_path / "concept_neurons_all_tags.csv")
    assert len(totals) == 2 * 4
    assert float(totals[1]["accuracy"]) == 0.51
    assert float(totals[1]["balanced_accuracy"]) == pytest.approx(0.41)
    assert [float(r["majority"]) for r in totals] == [0.3] * 4 + [0.25] * 4


def test_a_row_for_each_hypothesis_with_empty_fields_where_nothing_is_defined(
    diagnostic_report, tmp_path
):
    results.write_published(tmp_path, "diagnostic", diagnostic_report, figures=False)
    quote, rare, depth = read(tmp_path / "diagnostic.csv")
    assert quote["hypothesis"] == '=quote, "x"'
    told = ("accuracy", "precision", "recall", "f1")
    assert [float(quote[name]) for name in told] == [0.95, 0.92, 0.88, 0.9]
    assert [float(quote[f"equal_weights_{name}"]) for name in told] == [0.9, 0.8, 0.91, 0.85]
    assert [quote[name] for name in ("share", "always_yes_f1", "r")] == ["0.25", "0.4", "0.85"]
    assert [quote[n] for n in ("neuron", "neuron_f1", "neuron_r")] == ["0.c[1]", "0.7", "0.6"]
    assert [rare[name] for name in (*told, "r", "neuron", "neuron_f1")] == [""] * 7
    assert [depth[name] for name in ("share", "f1", "r", "neuron_r")] == ["", "", "0.8", "-0.6"]


def test_a_row_for_each_way_and_its_classes(full_probe_report, tmp_path):
    results.write_published(tmp_path, "full_probe", full_probe_report, figures=False)
    rows = read(tmp_path / "full_probe.csv")
    names = [r["way"] for r in rows]
    assert names[:3] == ["all neurons", "random weights, seed 4", "random weights, seed 9"]
    assert [float(r["accuracy"]) for r in rows] == [0.8, 0.5, 0.52, 0.7, 0.75, 0.6]
    assert [r["C"] for r in rows] == ["0.25", "0.5", "0.5", "1.0", "", ""]
    assert [r["lead"] for r in rows] == ["", "0.3", "0.3", "0.1", "0.05", "0.2"]
    for row in rows:
        ends = [float(row[name]) - float(row["accuracy"]) for name in ("lower", "upper")]
        assert ends == pytest.approx([-0.02, 0.03])
        assert float(row["accuracy"]) - float(row["balanced_accuracy"]) == pytest.approx(0.04)
        assert float(row["accuracy"]) - float(row["macro_f1"]) == pytest.approx(0.06)
    of_classes = read(tmp_path / "full_probe_classes.csv")
    assert len(of_classes) == 6 * 2
    verb = of_classes[1]
    assert [verb[name] for name in ("way", "class", "positives")] == [
        "all neurons",
        "VERB, 2",
        "40",
    ]
    assert [float(verb[n]) for n in ("precision", "recall", "f1")] == pytest.approx([0.8, 0.5, 0.6])


def test_another_result_has_no_csv(tmp_path):
    assert protocol_tables.of("a text") == {}
