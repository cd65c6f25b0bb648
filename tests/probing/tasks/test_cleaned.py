"""Probing reads a text as the model's texts were: cleaned, the labels where their spans went."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import probing
from mlstm.corpus.cleaning import clean
from mlstm.corpus.shards import prepare_source
from mlstm.corpus.vocabulary import Bytes, amino_acids
from mlstm.errors import InputError
from mlstm.formats.found import Found
from mlstm.formats.openai import read, write
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model
from probing.states.activations import stream
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored, text_position
from probing.tasks.cleaned import for_model

TEXTS = [
    f" \n Tea &amp; toast,\nagain &lt;3 no. {k}" if k % 2 else f"Plain text no. {k}&quot;"
    for k in range(12)
]


def labels_of(spans, classes=None) -> Labels:
    starts, ends = np.array(spans, np.int32).reshape(-1, 2).T
    classes = np.ones((len(spans), 1), bool) if classes is None else classes
    return Labels(ends - 1, starts, ends, classes, np.zeros((len(spans), 0), np.float32))


def data_of(texts, unit, label) -> LabelledData:
    documents = tuple(
        LabelledDocument(f"{k}", text, stored(label(k, text))) for k, text in enumerate(texts)
    )
    return LabelledData("t", "here", unit, ("on",), (), documents, otherwise="off", exclusive=True)


@pytest.fixture(scope="module")
def openai(tmp_path_factory) -> Model:
    """A tiny model in OpenAI's format, read from it."""
    config = ModelConfig("multiplicative_lstm", 256, 3, 8, 1, weight_norm=True)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    folder = tmp_path_factory.mktemp("openai") / "model"
    write(Found(config, parameters, Bytes(), "openai"), folder)
    found = read(folder)
    return Model(found.config, found.parameters, found.vocabulary, found.cleaning, imported=True)


@pytest.fixture(scope="module")
def documents() -> LabelledData:
    def label(k, text):
        return labels_of([(0, len(text))], np.array([[k % 2 == 0]]))

    return data_of([text.encode() for text in TEXTS], "document", label)


def test_states_of_documents_are_those_that_encode_gives(openai, documents):
    for split in ("train", "test"):
        found = probing.arrays(openai, documents, "0.c", split)
        texts = [documents.cleaned("openai").documents[i] for i in documents.indices(split)]
        names = [int(text.name) for text in texts]
        np.testing.assert_allclose(
            found.x, openai.encode([TEXTS[k] for k in names], "0.c"), rtol=1e-5, atol=1e-6
        )


def test_states_are_not_those_of_the_raw_text(openai, documents):
    raw = dataclasses.replace(openai, cleaning="none")
    cleaned, plain = (probing.arrays(m, documents, "0.c", "train").x for m in (openai, raw))
    assert np.abs(cleaned - plain).max() > 1e-3


CASES = [
    # raw text, span of it, what of it is left
    (b"  AT&amp;T said", (2, 10), b"AT&T"),
    (b"a &amp; b", (2, 7), b"&"),
    (b"a &amp; b", (0, 7), b"a &"),  # it ends with the reference
    (b"a &amp; b", (2, 9), b"& b"),  # it begins with it
    (b"a &amp; b", (3, 7), None),  # what comes behind the "&" alone
    (b"a &amp; b", (8, 9), b"b"),
    (b"\n\t x y", (3, 4), b"x"),
    (b"\n\t x y", (0, 2), None),  # the white space around the text goes
    (b"x y \n", (2, 3), b"y"),
    ("caf&eacute; é!".encode(), (0, 11), "café".encode()),
    ("caf&eacute; é!".encode(), (12, 14), "é".encode()),
    (b"one\ntwo", (0, 7), b"one two"),
    (b"\xff&lt;\xfe", (1, 6), b"<\xfe"),
]


@pytest.mark.parametrize(("text", "span", "left"), CASES)
def test_a_span_is_of_the_characters_that_are_left_of_it(text, span, left):
    data = data_of([text], "token", lambda *_: labels_of([span])).cleaned("openai")
    labels, now = data.labels(0), data.documents[0].data
    if left is None:
        assert len(labels.positions) == 0
        return
    (start,), (end,), (position,) = labels.starts, labels.ends, labels.positions
    assert now[start:end] == left
    assert position == end - 1


@given(st.lists(st.sampled_from(["&amp;", "&eacute;", "&", " ", "\n", "é", "a", ";"]), max_size=9))
def test_labels_of_bytes_stay_ascending_and_say_the_byte_that_is_there(pieces):
    raw = "".join(pieces).encode()

    def label(_, text):
        is_a = np.frombuffer(text, np.uint8) == ord("a")
        return every_byte(is_a[:, None], np.zeros((len(text), 0)))

    data = data_of([raw], "byte", label)
    now = data.cleaned("openai")
    kept = now.labels(0)  # which checks that positions ascend, and are places of the text
    assert (kept.ends > kept.starts).all()
    letters = now.documents[0].data
    assert sum(letters[p] == ord("a") for p in kept.positions[kept.classes[:, 0]]) == raw.count(
        b"a"
    ) - raw.count(b"am") - raw.count(b"acu")


def test_a_document_has_the_state_after_all_of_its_text(documents):
    cleaned = documents.cleaned("openai")
    for k, document in enumerate(cleaned.documents):
        labels = cleaned.labels(k)
        assert document.data == clean(TEXTS[k], "openai").data
        assert labels.positions.tolist() == [len(document.data) - 1]
        assert (labels.starts[0], labels.ends[0]) == (0, len(document.data))


def test_the_same_recipe_twice_changes_nothing_and_another_is_refused(documents):
    cleaned = documents.cleaned("openai")
    assert documents.cleaned("none") is documents
    assert cleaned.cleaned("openai") is cleaned
    assert cleaned.origin == "here, cleaned as openai"
    with pytest.raises(InputError, match="is cleaned as openai, and can no more be cleaned as"):
        cleaned.cleaned("unirep")


def test_one_concept_of_cleaned_data_is_cleaned(documents):
    assert documents.cleaned("openai").only("on").cleaning == "openai"


def test_text_that_is_not_cleaned_as_the_models_is_not_read(openai, documents):
    with pytest.raises(ValueError, match="the data is cleaned as none"):
        next(iter(stream(openai, documents, ("0.c",))))


def test_a_prepared_corpus_is_not_cleaned_twice(tmp_path, openai):
    folder = tmp_path / "texts"
    folder.mkdir()
    for k in range(40):
        (folder / f"{k}.txt").write_text(f"so &amp;lt; it is, number {k}")
    prepare_source(folder, tmp_path / "corpus", cleaning="openai", splits=(0.3, 0, 0.7))
    data = text_position(tmp_path / "corpus")
    assert data.cleaning == "openai"
    assert for_model(openai, data) is data
    assert b"&lt;" in data.documents[0].data


@pytest.fixture(scope="module")
def digits() -> LabelledData:
    def label(_, text):
        ids = np.frombuffer(text, np.uint8)
        return every_byte(((ids > 47) & (ids < 58))[:, None], np.zeros((len(ids), 0)))

    texts = [f" A1 &amp; b{k % 7} &lt;{k}22 c\n".encode() * (1 + k % 3) for k in range(24)]
    return data_of(texts, "byte", label)


def test_scores_and_effects_are_of_the_cleaned_text(openai, digits):
    given, said = digits.cleaned("openai"), ", cleaned as openai"
    table = probing.score_neurons(openai, digits, "0.c", draws=0)
    assert table.data.endswith(said)
    assert table.to_json() == probing.score_neurons(openai, given, "0.c", draws=0).to_json()
    swept = probing.sweep(openai, digits, site="0.c", verify=2, bytes=2000)
    assert swept.data_digest == given.digest
    shown = probing.effect(openai, "0.c[1]", digits, kinds=["mean"], controls=0, bytes=2000)
    assert shown.data.endswith(said)
    assert probing.pulse(openai, "0.c[1]", digits, steps=4, places=8).data.endswith(said)


def test_a_claim_is_of_the_cleaned_text(openai, digits):
    claim = probing.verify(openai, "0.c[1]", digits, draws=20, causal=False, rows=200)
    assert claim.data_digest == digits.cleaned("openai").digest


def test_steering_begins_with_the_cleaned_text(openai, digits):
    few: dict = {"prompts": 2, "samples": 1, "length": 4, "controls": 1, "quantiles": (0.2, 0.8)}
    found = probing.steer(openai, "0.c[1]", digits, **few)
    assert found.data.endswith(", cleaned as openai")
    assert all(example["prompt"].startswith("\n A1") for example in found.examples)


def test_a_model_of_proteins_is_probed():
    config = ModelConfig("multiplicative_lstm", amino_acids().size, 3, 8, 1)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    model = Model(config, parameters, amino_acids(), "unirep", imported=True)
    draw = np.random.default_rng(0)
    texts = [bytes(draw.choice(list(b"makwlv-.\n"), 40).tolist()) for _ in range(12)]

    def label(_, text):
        return every_byte((np.frombuffer(text, np.uint8) == ord("k"))[:, None], np.zeros((40, 0)))

    data = data_of(texts, "byte", label)
    found = probing.arrays(model, data, "0.c", "test", concept="on")
    kept = sum(len(text) - sum(map(text.count, (b"-", b".", b"\n"))) for text in texts)
    assert len(probing.arrays(model, data, "0.c", "train", concept="on").y) + len(found.y) < kept
    assert found.y.sum() == sum(
        texts[i].count(b"k") for i in for_model(model, data).indices("test")
    )
    assert probing.score_neurons(model, data, "0.c", draws=0).data.endswith("cleaned as unirep")
