"""What is told of documents without fine-tuning, each row beside another way to find it."""

import dataclasses

import jax
import numpy as np
import pytest
from sklearn.metrics import f1_score

from mlstm.classifier import BINARY, EXCLUSIVE, SEVERAL
from mlstm.corpus.vocabulary import Bytes
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.model.whole_texts import What
from mlstm.trained import Model
from probing.evidence.documents import (
    several_labels,
    told_by_majority,
    told_by_ngrams,
    told_by_probe,
    whole_documents,
)
from probing.evidence.probes.logistic import LogisticProbe, choose_C
from probing.evidence.surface import SurfaceModel
from probing.tasks.labelled import SPLITS, LabelledData, LabelledDocument, Labels, stored

MEAN = What(("0.c",), ("mean",))


@pytest.fixture(scope="module")
def model() -> Model:
    config = ModelConfig(embedding=4, hidden=12)
    return Model(config, language_model.init_parameters(config, jax.random.key(0)), Bytes())


def task(texts, classes, names, otherwise=""):
    """Documents of their texts and (N, K) classes, a half train, a quarter dev, a quarter test."""
    documents = []
    for n, (text, row) in enumerate(zip(texts, classes, strict=True)):
        last = np.array([len(text) - 1], np.int32)
        labels = Labels(
            last, 0 * last, last + 1, np.array([row], bool), np.zeros((1, 0), np.float32)
        )
        split = SPLITS[(0, 1, 0, 2)[n % 4]]
        documents.append(LabelledDocument(f"{n:03}", text, stored(labels), split=split))
    return LabelledData("made", "made up", "document", names, (), tuple(documents), True, otherwise)


def letters(draw, size=40):
    return draw.choice(list(b"abcd "), size).astype(np.uint8)


def yes_no(count=160, seed=0, share=0.5, noise=0.0):
    """Texts that begin with "xxxxx" where the label is yes, but for the share of the noise."""
    draw = np.random.default_rng(seed)
    texts, on = [], draw.random(count) < share
    for yes in on:
        text = letters(draw)
        if yes ^ (draw.random() < noise):
            text[:5] = ord("x")
        texts.append(text.tobytes())
    return task(texts, on[:, None], ("positive",), "negative")


def test_the_probe_is_a_logistic_regression_on_what_the_model_encodes(model):
    data = whole_documents(yes_no(noise=0.1))
    found = told_by_probe(model, data, MEAN)
    X = {s: model.encode(data.texts(s), pooling="mean") for s in SPLITS}
    y = {s: data.labels(s) for s in SPLITS}
    chosen = choose_C(LogisticProbe(), (X["train"], y["train"]), (X["dev"], y["dev"]))
    alone = chosen.probe.predict(X["test"])
    np.testing.assert_array_equal(found, alone[:, None] == np.arange(2))
    assert 0.7 < (alone == y["test"]).mean() < 1  # neither all nor nothing is told


@pytest.mark.parametrize("told", ["probe", "ngrams"])
def test_the_limit_says_what_is_read(model, told):
    data = whole_documents(yes_no())
    everything, end = (
        told_by_probe(model, data, MEAN, limit)
        if told == "probe"
        else told_by_ngrams(data, limit=limit)
        for limit in (0, 30)
    )
    on = data.labels("test")
    assert (everything.argmax(1) == on).mean() > 0.9
    assert (end.argmax(1) == on).mean() < 0.75  # what tells is before it


@pytest.mark.parametrize("told", ["probe", "ngrams"])
def test_the_cleaning_says_what_is_read(model, told):
    draw = np.random.default_rng(0)
    on = draw.random(160) < 0.5
    ends = [(b"&amp;" if yes else b"&") * 9 for yes in on]
    texts = [letters(draw, 35).tobytes() + end for end in ends]
    data = whole_documents(task(texts, on[:, None], ("positive",), "negative"))
    right = {}
    for cleaning in ("none", "openai"):  # which makes "&" of both
        cleaned = dataclasses.replace(model, cleaning=cleaning)
        found = (
            told_by_probe(cleaned, data, MEAN, 8)
            if told == "probe"
            else told_by_ngrams(data, cleaning, 8)
        )
        right[cleaning] = (found.argmax(1) == data.labels("test")).mean()
    assert right["none"] == 1
    assert right["openai"] < 0.75


def test_ngrams_are_the_surface_model_where_no_threshold_is_chosen():
    made = yes_no(noise=0.15)
    data = whole_documents(made)
    alone = SurfaceModel().fit_classifier(made).told(made, made.indices("test"))
    found = told_by_ngrams(data)
    np.testing.assert_array_equal(found, alone[:, None] == np.array(["negative", "positive"]))
    assert 0 < (found.argmax(1) == data.labels("test")).mean() < 1


@pytest.mark.parametrize("told", ["probe", "ngrams"])
def test_thresholds_are_chosen_on_dev(model, told):
    data = whole_documents(yes_no(400, share=0.15, noise=0.2))
    half, chosen = (
        told_by_probe(model, data, MEAN, measure=measure)
        if told == "probe"
        else told_by_ngrams(data, measure=measure)
        for measure in ("none", "f1")
    )
    y = data.labels("test")
    assert f1_score(y, chosen[:, 1]) > f1_score(y, half[:, 1]) + 0.1
    assert chosen[:, 1].sum() > half[:, 1].sum()  # of a rare class a lower one


@pytest.mark.parametrize("told", ["probe", "ngrams", "majority"])
def test_one_of_many_classes(model, told):
    draw = np.random.default_rng(0)
    places = np.minimum(draw.integers(0, 4, 160), 2)
    texts = [bytes([b"xyz"[k]]) * 15 + letters(draw, 20).tobytes() for k in places]
    data = whole_documents(task(texts, np.eye(3)[places], ("x", "y", "z")))
    assert data.labelling.kind == EXCLUSIVE
    found = {
        "probe": lambda: told_by_probe(model, data, MEAN, measure="accuracy"),
        "ngrams": lambda: told_by_ngrams(data, measure="accuracy"),
        "majority": lambda: told_by_majority(data),
    }[told]()
    assert (found.sum(1) == 1).all()
    right = (found.argmax(1) == data.labels("test")).mean()
    if told == "majority":
        assert (found.argmax(1) == 2).all()
    else:
        assert right > 0.9


def test_of_several_labels_each_is_told_by_the_documents_that_have_it(model):
    draw = np.random.default_rng(0)
    on = draw.random((200, 2)) < (0.5, 0.3)
    texts = []
    for one, other in on:
        text = letters(draw)
        text[: 10 * one] = ord("x")
        text[30 : 30 + 10 * other] = ord("y")
        texts.append(text.tobytes())
    x, y = (task(texts, on[:, k : k + 1], (name,)) for k, name in enumerate("xy"))
    y = y.take([i for i in range(200) if i % 5])
    data = several_labels({"x": x, "y": y})
    assert data.labelling.kind == SEVERAL
    labels = data.labels("test")
    known = ~np.isnan(labels)
    assert known[:, 0].all()
    assert 0 < (~known[:, 1]).sum() < len(labels) / 2
    for found in (told_by_probe(model, data, MEAN), told_by_ngrams(data, measure="f1")):
        assert found.shape == (50, 2)
        for k in range(2):
            assert (found[known[:, k], k] == labels[known[:, k], k]).mean() > 0.8
    np.testing.assert_array_equal(told_by_majority(data), np.tile(
        np.nanmean(data.labels("train"), 0) > 0.5, (50, 1)
    ))  # fmt: skip


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_the_most_frequent_class_is_that_of_train(share):
    data = whole_documents(yes_no(share=share))
    assert data.labelling.kind == BINARY
    found = told_by_majority(data)
    assert (found == [share < 0.5, share > 0.5]).all()
    assert found.shape == (40, 2)
