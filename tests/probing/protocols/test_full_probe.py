import dataclasses
import json
from collections import Counter, defaultdict

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.preprocessing import StandardScaler

from mlstm.errors import InputError
from mlstm.trained import Model
from probing.evidence.controls import control_labels, random_twin
from probing.protocols.full_probe import CS, SEED, full_probe
from probing.protocols.full_probe_report import SCORES
from probing.states.arrays import arrays, sampled
from probing.tasks import (
    LabelledData,
    LabelledDocument,
    Labels,
    every_byte,
    part_of_speech,
    stored,
)

CLASSES = ("x", "y", "z")
LETTERS = "abcde"
ROWS = 500  # fewer than train and test have


@pytest.fixture(scope="module")
def remembered() -> LabelledData:
    """Words of two letters; the class of each is the first byte of its document, and of every tenth
    another one. What lies near a word says nothing of it."""
    draw = np.random.default_rng(0)
    documents = []
    for k in range(120):
        words = ["".join(draw.choice(list(LETTERS), 2)) for _ in range(25)]
        text = " ".join([CLASSES[k % 3] + "." * 12, *words]).encode()
        starts = (14 + 3 * np.arange(len(words))).astype(np.int32)
        on = np.full(len(words), k % 3)
        on[::10] = draw.integers(0, 3, len(on[::10]))
        classes = np.eye(3, dtype=bool)[on]
        labels = Labels(starts + 1, starts, starts + 2, classes, np.zeros((len(on), 0), np.float32))
        documents.append(LabelledDocument(f"document {k}", text, stored(labels)))
    return LabelledData(
        "remembered", "drawn", "token", CLASSES, (), tuple(documents), exclusive=True
    )


@pytest.fixture(scope="module")
def reader(build) -> Model:
    """An LSTM of 12 units, two of which keep whether x, and whether y, was read."""
    kept = {"i": [20], "f": [20], "o": [20]}
    units = {3: kept | {"u": [0, 2, 0]}, 4: kept | {"u": [0, 0, 2]}}
    return build(12, [b"x", b"y"], units, origin="reader")


@pytest.fixture(scope="module")
def report(reader, remembered):
    return full_probe(reader, remembered, rows=ROWS, twins=3)


def targets(data: LabelledData, split: str) -> np.ndarray:
    here = sampled(data, split, ROWS, SEED)
    return np.concatenate([data.target(data.labels(int(i))) for i in here])


def by_scikit_learn(X: dict, y: dict) -> tuple[float, dict[str, float]]:
    """The C up to which the accuracy on dev does not fall, and the scores on test."""
    scaler = StandardScaler().fit(X["train"])
    Z = {split: scaler.transform(X[split]) for split in X}
    best, accuracy = None, -1.0
    for C in CS:
        fit = LogisticRegression(C=C, tol=1e-6, max_iter=9999).fit(Z["train"], y["train"])
        found = fit.score(Z["dev"], y["dev"])
        if found < accuracy:
            break
        if found > accuracy:
            best, accuracy = fit, found
    told = best.predict(Z["test"])
    return best.C, {
        "accuracy": accuracy_score(y["test"], told),
        "balanced_accuracy": balanced_accuracy_score(y["test"], told),
        "macro_f1": f1_score(y["test"], told, average="macro"),
    }


def test_what_the_neurons_keep_is_told_and_neither_bytes_nor_words_nor_random_weights_tell_it(
    report,
):
    assert report.probe.accuracy > 0.9
    assert report.surface.accuracy < 0.5
    assert report.word.accuracy < 0.5
    assert report.usual.accuracy < 0.45
    for lead in (report.surface.lead, report.word.lead, report.usual.lead, report.twins.lead):
        assert lead.lower > 0.2
    assert report.selectivity.value == report.probe.accuracy - report.control.accuracy
    assert report.selectivity.lower > 0.2


def test_the_scores_are_those_of_scikit_learn(report, reader, remembered):
    parts = {
        split: arrays(reader, remembered, "0.c", split, rows=ROWS, seed=SEED)
        for split in ("train", "dev", "test")
    }
    X = {split: part.x for split, part in parts.items()}
    C, scores = by_scikit_learn(X, {split: part.y for split, part in parts.items()})
    assert report.probe.C == C
    control = control_labels(remembered, SEED)
    of_control, control_scores = by_scikit_learn(X, {split: targets(control, split) for split in X})
    assert of_control == report.control.C
    for score in SCORES:
        assert getattr(report.probe, score) == pytest.approx(scores[score], abs=0.005)
        assert getattr(report.control, score) == pytest.approx(control_scores[score], abs=0.01)
    assert report.rows == {split: len(part.y) for split, part in parts.items()}
    assert report.rows["test"] < report.available["test"]


def test_every_twin_is_a_random_model_of_its_seed_and_their_spread_is_over_the_seeds(
    report, reader, remembered
):
    assert report.twins.seeds == (0, 1, 2)
    again = full_probe(random_twin(reader, 1), remembered, rows=ROWS, twins=0)
    assert again.twins is None
    assert again.probe.accuracy == report.twins.rows[1].accuracy
    assert again.probe.C == report.twins.rows[1].C
    for score in SCORES:
        values = [getattr(row, score) for row in report.twins.rows]
        assert len(set(values)) > 1
        assert report.twins.mean(score) == pytest.approx(sum(values) / 3)
        spread = np.sqrt(sum((value - sum(values) / 3) ** 2 for value in values) / 2)
        assert report.twins.sd(score) == pytest.approx(spread)
    lead = report.probe.accuracy - report.twins.mean("accuracy")
    assert report.twins.lead.value == pytest.approx(lead)
    assert f"{report.twins.sd('accuracy'):.4f}" in str(report)


def test_the_dictionary_is_of_all_words_outside_of_test_and_scored_on_the_sampled_ones(
    report, remembered
):
    seen = defaultdict(Counter)
    for i, document in enumerate(remembered.documents):
        if i not in remembered.indices("test"):
            for word, name in zip(
                document.data.decode().split()[1:],
                remembered.target(remembered.labels(i)),
                strict=True,
            ):
                seen[word][name] += 1
    usual = sum(seen.values(), Counter()).most_common(1)[0][0]
    right = []
    for i in sampled(remembered, "test", ROWS, SEED):
        names = remembered.target(remembered.labels(int(i)))
        for word, name in zip(
            remembered.documents[i].data.decode().split()[1:], names, strict=True
        ):
            count = seen.get(word, {usual: 1})
            right.append(min(count, key=lambda n: (-count[n], n)) == name)
    assert report.word.accuracy == pytest.approx(np.mean(right))
    assert report.word.fitted == sum(count.total() for count in seen.values())
    assert report.usual.name.endswith(usual)
    assert report.usual.accuracy == np.mean(targets(remembered, "test") == usual)


def test_all_rows_are_scored_on_the_same_positions(report):
    rows = [report.probe, *report.twins.rows, report.surface, report.word, report.usual]
    supports = [{s.name: s.rows for s in row.classes if s.rows} for row in rows]
    assert all(support == supports[0] for support in supports)
    assert sum(supports[0].values()) == report.rows["test"]
    assert sum(score.rows for score in report.control.classes) == report.rows["test"]


def test_the_labels_of_test_documents_decide_nothing_that_is_fitted_or_chosen(
    report, reader, remembered
):
    test = set(remembered.indices("test").tolist())

    def turned(i: int, document: LabelledDocument) -> LabelledDocument:
        labels = document.read()
        moved = labels._replace(classes=np.roll(labels.classes, 1, 1))
        return dataclasses.replace(document, read=stored(moved)) if i in test else document

    documents = tuple(turned(i, d) for i, d in enumerate(remembered.documents))
    other = full_probe(
        reader, dataclasses.replace(remembered, documents=documents), rows=ROWS, twins=0
    )
    for name in ("probe", "surface", "word", "usual", "control"):
        mine, its = getattr(report, name), getattr(other, name)
        assert (mine.name, mine.fitted, mine.C, mine.dev) == (its.name, its.fitted, its.C, its.dev)
    assert other.probe.accuracy < 0.1
    assert other.control.accuracy == report.control.accuracy


def test_the_size_of_the_sample_is_told_before_it_is_read(reader, remembered):
    heard = []

    def progress(done: int, total: int) -> None:
        heard.append((done, total))

    full_probe(reader, remembered, rows=ROWS, twins=1, tell=heard.append, progress=progress)
    assert heard[0].startswith("sample: 500 of 1,200 train, ")
    assert heard[1:] == [(done, 5) for done in range(1, 6)]


def test_documents_have_neither_words_nor_a_control_task_and_are_cleaned_as_the_models_text_was(
    reader,
):
    draw = np.random.default_rng(0)
    documents = []
    for k in range(150):
        on = k % 3 == 0
        text = f"{'&amp;' if on else ''}{''.join(draw.choice(list(LETTERS), 9))}".encode()
        end = np.array([len(text)], np.int32)
        labels = Labels(end - 1, end * 0, end, np.array([[on]]), np.zeros((1, 0), np.float32))
        documents.append(LabelledDocument(f"opinion {k}", text, stored(labels)))
    data = LabelledData(
        "opinions", "drawn", "document", ("good",), (), tuple(documents), True, "bad"
    )
    model = dataclasses.replace(reader, cleaning="openai")  # which makes one byte of &amp;
    report = full_probe(model, data, twins=0)
    assert (report.word, report.control, report.selectivity) == (None, None, None)
    assert report.classes == ("good", "bad")
    X, y = {}, {}
    for split in ("train", "dev", "test"):
        here = data.indices(split)
        X[split] = model.encode([documents[i].data for i in here], "0.c")
        y[split] = np.concatenate([data.target(data.labels(int(i))) for i in here])
    C, scores = by_scikit_learn(X, y)
    assert report.probe.C == C
    assert report.probe.accuracy == pytest.approx(scores["accuracy"], abs=0.02)
    assert "control" not in str(report)


def test_the_report_is_json_with_a_row_for_each_seed_and_class(report, tmp_path):
    report.save(tmp_path / "full.json")
    saved = json.loads((tmp_path / "full.json").read_text())
    assert saved["kind"] == "full_probe"
    assert saved["probe"]["accuracy"] == report.probe.accuracy
    assert [row["accuracy"] for row in saved["twins"]["rows"]] == [
        row.accuracy for row in report.twins.rows
    ]
    assert {score["name"] for score in saved["probe"]["classes"]} == set(CLASSES)
    assert saved["selectivity"]["value"] == report.selectivity.value
    assert "documents by the hash of their groups, 40 / 20 / 40%" in str(report)


def test_train_and_dev_files_are_a_split_whose_test_is_dev(reader, tmp_path):
    for part, count in (("train", 30), ("dev", 5)):
        (tmp_path / f"{part}.txt").write_text("a_DET b_NOUN\nb_NOUN c_VERB\n" * count)
    report = full_probe(reader, part_of_speech(tmp_path), twins=0)
    assert report.rows["test"] == report.available["test"] == 20
    assert report.rows["train"] + report.rows["dev"] == 120
    assert "dev is the test, and 20% of the train groups" in str(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ()}, "place: numbers and no class"),
        ({}, "name the concept: digit, coin, never"),
        ({"concept": "place"}, "place is a number"),
        ({"concept": "nothing"}, "no concept 'nothing'"),
        ({"concept": "never"}, "the train bytes are all not never"),
        ({"concept": "digit", "twins": -1}, "twins is -1"),
        ({"concept": "digit", "site": "0.q"}, "0.q"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(planted, digits, change, words):
    data = digits
    if "classes" in change:
        documents = tuple(
            dataclasses.replace(
                d, read=stored(every_byte(np.zeros((len(d.data), 0)), d.read().numbers))
            )
            for d in digits.documents
        )
        data = dataclasses.replace(digits, classes=(), documents=documents)
    with pytest.raises(InputError, match=words.replace(".", r"\.")) as error:
        full_probe(planted, data, **{k: v for k, v in change.items() if k != "classes"})
    assert "\n" not in str(error.value)


def test_of_classes_that_may_overlap_one_is_told_from_its_absence(planted, digits):
    report = full_probe(planted, digits, concept="digit", twins=1)
    assert report.classes == ("digit", "not digit")
    assert report.probe.accuracy > 0.99
    assert report.word is None
    assert report.control.accuracy < 0.9
    assert report.twins.sd("accuracy") != report.twins.sd("accuracy")  # of one seed there is none


def test_a_control_task_of_one_class_is_left_out(reader, remembered, monkeypatch):
    def constant(data, seed):
        labels = [data.labels(i) for i in range(len(data.documents))]
        same = [part._replace(classes=np.eye(3, dtype=bool)[part.positions * 0]) for part in labels]
        documents = zip(data.documents, same, strict=True)
        return dataclasses.replace(
            data,
            documents=tuple(dataclasses.replace(d, read=stored(part)) for d, part in documents),
        )

    monkeypatch.setitem(full_probe.__globals__, "control_labels", constant)
    found = full_probe(reader, remembered, rows=ROWS, twins=0)
    assert found.control is None
    assert "selectivity" not in str(found)
