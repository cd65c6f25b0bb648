import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlstm.errors import InputError
from mlstm.trained import Model
from probing.protocols.radford import GRID, best_threshold, radford
from probing.protocols.radford_controls import compare
from probing.tasks import LabelledData, LabelledDocument, Labels, stored

UNIT = 3


@pytest.fixture(scope="module")
def opinions() -> LabelledData:
    """Documents with a '+' somewhere, or a '-'; one in twenty has the wrong label."""
    draw = np.random.default_rng(0)
    documents = []
    for k in range(300):
        positive = k % 2 == 0
        letters = draw.choice(list("abcdefg"), size=20)
        letters[draw.integers(20)] = "+" if positive else "-"
        text = f"\n{''.join(letters)}&amp;".encode()
        label = np.array([[positive != (k % 20 == 1)]])
        end = np.array([len(text)], np.int32)
        labels = Labels(end - 1, end * 0, end, label, np.zeros((1, 0), np.float32))
        documents.append(LabelledDocument(f"opinion {k}", text, stored(labels)))
    return LabelledData(
        "sentiment", "drawn", "document", ("positive",), (), tuple(documents), True, "negative"
    )


@pytest.fixture(scope="module")
def reader(build) -> Model:
    """An LSTM whose unit 3 of c is moved by '+' and '-' and then keeps its value."""
    unit = {"i": [20], "f": [20], "o": [20], "u": [0, 2, -2]}
    return build(16, [b"+", b"-"], {UNIT: unit}, origin="reader")


def test_the_neuron_that_decides_is_found_and_the_noise_of_the_labels_is_all_that_is_wrong(
    reader, opinions
):
    report = radford(reader, opinions)
    assert report.neuron == f"0.c[{UNIT}]"
    assert report.weight > 0
    assert report.test > 0.9
    assert report.neuron_test > 0.9
    assert len(report.neuron_mistakes) == round((1 - report.neuron_test) * len(report.labels))
    assert all(("+" in m.text) != (m.label == "positive") for m in report.neuron_mistakes)
    assert sum(report.documents.values()) == 300
    assert list(report.grid) == list(GRID)
    assert report.dev == report.grid[report.C] == max(report.grid.values())
    assert [n for n, _, _ in report.curve] == [16, 32, 64]
    assert "neuron 0.c[3]" in str(report)
    assert json.loads(report.to_json())["nonzero"] == report.nonzero


def test_what_was_learned_leads_its_baselines_and_noise_does_not(reader, opinions):
    report = radford(reader, opinions, draws=1)
    every, neuron = report.comparisons
    assert (every.test, neuron.test) == pytest.approx((report.test, report.neuron_test))
    assert every.best == neuron.best == "surface model"
    assert every.leads
    assert neuron.leads
    assert every.beside["most frequent label"] == report.majority
    assert radford(reader, opinions, draws=1, controls=False).comparisons == ()

    def drawn(k: int, document: LabelledDocument) -> LabelledDocument:
        label = np.array([[bool(np.random.default_rng(k).integers(2))]])
        labels = document.read()._replace(classes=label)
        return dataclasses.replace(document, read=stored(labels))

    noise = dataclasses.replace(
        opinions, documents=tuple(drawn(k, d) for k, d in enumerate(opinions.documents))
    )
    none = radford(reader, noise, draws=1)
    assert not any(each.leads for each in none.comparisons)
    assert str(none).count("explained by a baseline") == 2


def test_a_lead_is_paired_and_over_the_best_baseline():
    draw = np.random.default_rng(0)
    own = draw.random(400) < 0.9
    beside = {name: draw.random(400) < share for name, share in (("a", 0.5), ("b", 0.7))}
    found = compare("it", own, beside, np.arange(400))
    differences = own.astype(float) - beside["b"]
    error = differences.std(ddof=1) / 20
    assert found.best == "b"
    assert found.lead.value == pytest.approx(differences.mean())
    assert found.lead.lower == pytest.approx(differences.mean() - 1.966 * error, abs=1e-4)
    assert found.leads
    assert "more than any baseline" in str(found)


def test_the_labels_of_test_documents_decide_nothing_that_is_chosen(reader, opinions):
    report = radford(reader, opinions)
    test = set(opinions.indices("test").tolist())

    def turned(i: int, document: LabelledDocument) -> LabelledDocument:
        labels = document.read()
        flipped = labels._replace(classes=~labels.classes)
        return dataclasses.replace(document, read=stored(flipped)) if i in test else document

    other = dataclasses.replace(
        opinions, documents=tuple(turned(i, d) for i, d in enumerate(opinions.documents))
    )
    moved = radford(reader, other)
    for name in ("C", "neuron", "weight", "nonzero", "threshold", "train", "dev", "grid"):
        assert getattr(moved, name) == getattr(report, name)
    assert moved.test == pytest.approx(1 - report.test)
    assert moved.neuron_test == pytest.approx(1 - report.neuron_test)


def test_the_text_is_cleaned_as_the_released_code_does_it(reader, opinions):
    def rewritten(document: LabelledDocument) -> LabelledDocument:
        data = b"  " + document.data.strip().replace(b"&amp;", b"&") + b"\n"
        end = np.array([len(data)], np.int32)
        labels = document.read()._replace(positions=end - 1, ends=end)
        return dataclasses.replace(document, data=data, read=stored(labels))

    documents = tuple(map(rewritten, opinions.documents))
    # by the bytes of its documents the split would be another
    clean = dataclasses.replace(
        opinions.take(range(300)),
        documents=tuple(
            dataclasses.replace(d, split=o.split)
            for d, o in zip(documents, opinions.take(range(300)).documents, strict=True)
        ),
    )
    np.testing.assert_allclose(
        radford(reader, clean, draws=1).weights, radford(reader, opinions, draws=1).weights
    )


def test_labels_of_tokens_are_refused_in_one_line(reader, digits):
    with pytest.raises(InputError, match="takes documents of two kinds"):
        radford(reader, digits)


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_is_better_than_the_best(pairs):
    values, labels = (np.array(part) for part in zip(*pairs, strict=True))
    found = best_threshold(values, labels)

    def accuracy(threshold: float, direction: int) -> float:
        return float(((direction * (values - threshold) > 0) == labels).mean())

    assert found.accuracy == pytest.approx(accuracy(found.value, found.direction))
    every = [(t, d) for t in np.arange(-5.5, 5.5) for d in (1, -1)]
    assert found.accuracy == pytest.approx(max(accuracy(*one) for one in every))
