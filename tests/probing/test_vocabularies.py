"""Models of characters and of words are probed end to end."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import probing
from mlstm.corpus.fitting import FitCharacters, FitWords
from mlstm.model import language_model, sampling
from mlstm.model.config import ModelConfig
from mlstm.model.sites import parse_neuron
from mlstm.trained import Model
from probing.protocols import full_probe
from probing.states import activations
from probing.tasks.cleaned import for_model

ALONE = {"twin_seed": None, "draws": 0, "controls": False}
FORMS = ["Le", "café", "ferme", "déjà", "l’", "été", "."]
TAGS = ["DET", "NOUN", "VERB", "ADV", "DET", "NOUN", "PUNCT"]


def fresh(vocabulary, **settings) -> Model:
    config = ModelConfig(
        cell="lstm", hidden=16, embedding=4, vocabulary=vocabulary.size, weight_norm=False
    )
    parameters = language_model.init_parameters(config, jax.random.key(2))
    return Model(config, jax.tree.map(np.array, parameters), vocabulary, **settings)


def reading_as(planted: Model, vocabulary) -> Model:
    """A model of bytes as one of a vocabulary whose tokens it reads as their last byte."""
    last = [text[-1] if text else 0 for text in vocabulary.texts]
    parameters = jax.tree.map(np.array, planted.parameters)
    parameters["embedding"] = parameters["embedding"][last]
    parameters["readout"]["w"] = parameters["readout"]["w"][:, last]
    parameters["readout"]["b"] = parameters["readout"]["b"][last]
    config = dataclasses.replace(planted.config, vocabulary=vocabulary.size)
    return dataclasses.replace(planted, config=config, parameters=parameters, vocabulary=vocabulary)


def test_a_model_of_characters_tells_of_ascii_what_one_of_bytes_does(planted, digits):
    text = b"".join(document.data for document in digits.documents)
    model = reading_as(planted, FitCharacters().fit([text]))
    tables = [
        json.loads(probing.score_neurons(each, digits, **ALONE).to_json())
        for each in (planted, model)
    ]
    assert tables[0] == tables[1]
    for ours, theirs in zip(
        *(probing.arrays(each, digits, "0.c", "test", "digit") for each in (model, planted)),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_digit_is_found_behind_characters_of_several_bytes(planted, digits):
    def other(document):
        # Each letter becomes one of two or three bytes; what it is not stays where it was.
        swapped = document.data.decode().replace("a", "é").replace("b", "日")
        labels = document.read()
        size = [len(c.encode()) for c in swapped]
        rows = np.repeat(np.arange(len(size)), size)
        places = np.arange(len(rows), dtype=np.int32)
        moved = labels._replace(
            positions=places,
            starts=places,
            ends=places + 1,
            classes=labels.classes[rows],
            numbers=labels.numbers[rows],
        )
        return dataclasses.replace(document, data=swapped.encode(), read=lambda: moved)

    data = dataclasses.replace(digits, documents=tuple(map(other, digits.documents)))
    text = b"".join(document.data for document in data.documents)
    model = reading_as(planted, FitCharacters().fit([text]))
    best = probing.score_neurons(model, data, **ALONE).best("digit")
    assert (best.neuron, best.test) == ("0.c[5]", pytest.approx(1))
    np.testing.assert_array_equal(for_model(model, data).counts, digits.counts)
    (values,) = activations.traces(model, ["é1日".encode()], [parse_neuron("0.c[5]")])
    np.testing.assert_array_equal(values[:, 0] > 0, [0, 0, 1, 0, 0, 0])


@pytest.fixture(scope="module")
def treebank(tmp_path_factory):
    """Sentences of three documents, whose words are in any order."""
    draw, lines = np.random.default_rng(0), []
    for k in range(60):
        if k % 5 == 0:
            lines.append(f"# newdoc id = d{k // 5}")
        order = draw.permutation(len(FORMS))
        lines += [f"# sent_id = s{k}", "# text = " + " ".join(FORMS[i] for i in order)]
        for number, i in enumerate(order, 1):
            lines.append("\t".join([str(number), FORMS[i], "_", TAGS[i], *["_"] * 6]))
        lines.append("")
    path = tmp_path_factory.mktemp("pos") / "some.conllu"
    path.write_text("\n".join(lines) + "\n")
    return probing.tasks.part_of_speech(path)


@pytest.fixture(scope="module")
def words(treebank) -> Model:
    text = b"\n".join(document.data for document in treebank.documents)
    model = fresh(FitWords(r"\S+ ?", 1).fit([text]))
    layer = model.parameters["layers"]["0"]
    layer["wh"][:], layer["b"][1] = 0, -20  # the forget gate is shut: the last token is all it has
    model.parameters["embedding"] *= 10
    return model


def test_the_part_of_speech_of_words_is_probed(words, treebank):
    found = full_probe(words, treebank, twins=1, rows=300)
    assert found.rows["test"] > 50
    # Each word has one tag, and the state after it is the word's.
    assert found.probe.accuracy == 1
    table = probing.score_neurons(words, treebank, draws=0, twin_seed=None)
    assert set(table.classes) == set(TAGS)
    assert not table.notes


def test_unknown_words_are_charged_in_effects(words, treebank):
    few = FitWords(r"\S+ ?", 40).fit([b"caf\xc3\xa9 " * 50])
    model = fresh(few)
    found = probing.effect(
        model, "0.c[1]", treebank, "NOUN", kinds=["mean"], controls=0, probe=False, bytes=900
    )
    assert any("unknown to the model" in note for note in found.notes)
    # One known word and one symbol for all others: nearly all is in the spelling.
    assert found.before["elsewhere"] > 3


def test_what_is_written_is_whole_characters(planted):
    vocabulary = FitCharacters().fit(["aé日\n".encode()])
    model = fresh(vocabulary)
    for block in sampling.generate(model, "é".encode(), 40, samples=2, block=1):
        for piece in block:
            piece.decode()
