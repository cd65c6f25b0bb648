import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from probing import tasks
from probing.evidence.surface import SurfaceModel
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored


def drawn(label, size: int, unit="byte") -> LabelledData:
    """Documents of every length, so that nothing may depend on it."""
    draw = np.random.default_rng(0)
    documents = []
    for k in range(size):
        data = bytes(draw.choice(list(b"abc "), 40 + k).tolist())
        if unit == "byte":
            labels = label(data)
        else:
            data = data.replace(b"cab", b"cac") if k % 3 else data[:20] + b"cab" + data[20:]
            end, on = np.array([len(data)], np.int32), np.array([[k % 3 == 0]])
            labels = Labels(end - 1, end * 0, end, on, np.full((1, 1), len(data), np.float32))
        documents.append(LabelledDocument(f"document {k}", data, stored(labels)))
    return LabelledData("task", "drawn", unit, ("on",), ("number",), tuple(documents))


def after_abc(data: bytes) -> Labels:
    """The class: the three bytes up to here are abc or caa. The number: a's among the last two."""
    on = [data[max(0, t - 2) : t + 1] in (b"abc", b"caa") for t in range(len(data))]
    numbers = [data[max(0, t - 1) : t + 1].count(b"a") for t in range(len(data))]
    return every_byte(np.array(on)[:, None], np.array(numbers, np.float32)[:, None])


def of_test(data: LabelledData, model: SurfaceModel) -> tuple[np.ndarray, Labels]:
    tests = data.indices("test")
    labels = [data.labels(int(i)) for i in tests]
    scores = np.concatenate([model.scores(data, int(i)) for i in tests])
    return scores, Labels(*(np.concatenate(part) for part in zip(*labels, strict=True)))


def test_a_label_that_the_last_bytes_decide_is_told_in_documents_of_other_lengths():
    data = drawn(after_abc, 60)
    scores, labels = of_test(data, SurfaceModel().fit(data))
    assert roc_auc_score(labels.classes[:, 0], scores[:, 0]) > 0.999
    assert np.corrcoef(labels.numbers[:, 0], scores[:, 1])[0, 1] > 0.99


def test_features_are_of_the_bytes_and_not_of_the_document_that_has_them():
    def row(data: bytes, start: int) -> np.ndarray:
        end = np.array([data.index(b"dog") + 3], np.int32)
        start_of = np.array([start], np.int32)
        labels = Labels(end - 1, start_of, end, np.ones((1, 1), bool), np.zeros((1, 0)))
        document = LabelledDocument("x", data, stored(labels))
        return model._features(document.data, labels).toarray()

    model = SurfaceModel().fit(drawn(after_abc, 10))
    here = row(b"a dog", 2)
    np.testing.assert_array_equal(row(b"that is a dog that barks", 10), here)
    assert (row(b"the dog", 4) != here).any()
    assert (row(b"a dot dog", 6) != here).any()


def test_nothing_after_the_position_is_seen():
    model = SurfaceModel().fit(drawn(after_abc, 10))
    at = np.array([3], np.int32)
    labels = Labels(at, at - 3, at + 4, np.ones((1, 1), bool), np.zeros((1, 0)))
    a, b = (model._features(data, labels).toarray() for data in (b"abcdefg hi", b"abcdXYZ"))
    np.testing.assert_array_equal(a, b)


def test_documents_are_told_by_the_ngrams_within_them_and_by_their_length():
    data = drawn(None, 400, "document")
    scores, labels = of_test(data, SurfaceModel().fit(data))
    assert roc_auc_score(labels.classes[:, 0], scores[:, 0]) > 0.9
    assert np.corrcoef(labels.numbers[:, 0], scores[:, 1])[0, 1] > 0.9


def test_the_same_seed_gives_the_same_scores_and_rows_bound_what_is_read():
    data = drawn(after_abc, 40)
    a, b = (SurfaceModel(seed=1, rows=300).fit(data).scores(data, 0) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    asked = []
    counted = drawn(after_abc, 40)
    counted.counts  # noqa: B018 reads every document once
    for document in counted.documents:
        read = document.read
        object.__setattr__(document, "read", lambda read=read: asked.append(1) or read())
    SurfaceModel(rows=100).fit(counted)
    assert len(asked) < 8


def test_a_class_that_train_documents_lack_scores_0():
    data = drawn(lambda data: every_byte(np.zeros((len(data), 1)), np.ones((len(data), 1))), 10)
    assert not SurfaceModel().fit(data).scores(data, 0).any()


def test_the_class_of_the_highest_score_is_told_and_one_that_train_lacks_never_is():
    def which(data: bytes) -> Labels:
        kinds = np.frombuffer(data, np.uint8)[:, None] == np.frombuffer(b"abc ", np.uint8)
        kinds = np.concatenate([np.zeros((len(data), 1), bool), kinds[:, [2, 0, 1, 3]]], 1)
        return every_byte(kinds, np.zeros((len(data), 0)))

    data = drawn(which, 30)
    classes = ("absent", "c", "a", "b", "space")
    data = LabelledData("t", "drawn", "byte", classes, (), data.documents, exclusive=True)
    tests = data.indices("test")
    told = SurfaceModel().fit_classifier(data).told(data, tests)
    truth = np.concatenate([data.target(data.labels(int(i))) for i in tests])
    assert (told == truth).mean() > 0.999
    assert set(told) == {"a", "b", "c", "space"}


def test_one_class_is_told_from_its_absence():
    data = dataclasses.replace(drawn(after_abc, 60).only("on"), exclusive=True, otherwise="off")
    tests = data.indices("test")
    told = SurfaceModel().fit_classifier(data).told(data, tests)
    truth = np.concatenate([data.target(data.labels(int(i))) for i in tests])
    assert (told == truth).mean() > 0.99
    assert set(told) == {"on", "off"}


@pytest.mark.slow
def test_words_of_a_treebank_have_the_accuracy_of_published_surface_models(mlstm_data):
    data = tasks.part_of_speech(mlstm_data / "pos")
    model = SurfaceModel(rows=20_000).fit(data)
    scores, labels = of_test(data, model)
    assert 0.86 < (scores.argmax(1) == labels.classes.argmax(1)).mean() < 0.95


@pytest.mark.slow
def test_reviews_have_the_accuracy_of_character_ngrams(mlstm_data):
    folder = mlstm_data / "sentiment"
    data = tasks.sentiment([folder / f"{part}_binary_sent.csv" for part in ("train", "dev")])
    scores, labels = of_test(data, SurfaceModel().fit(data))
    assert 0.78 < ((scores[:, 0] > 0) == labels.classes[:, 0]).mean() < 0.84
