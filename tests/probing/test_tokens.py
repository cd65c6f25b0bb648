"""Models that read tokens longer than a byte are probed at the right bytes."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from pieces import Pieces, in_pieces

import probing
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model.sites import parse_neuron
from probing.evidence.documents import _last
from probing.evidence.effects.many import ablations
from probing.evidence.effects.marked import mark
from probing.evidence.effects.tally import tally
from probing.evidence.effects.units import units
from probing.evidence.matching import match_neurons
from probing.evidence.probes.classifying import fit_classifier
from probing.evidence.steering.beginnings import prompts_of
from probing.examples import examples
from probing.states import activations
from probing.states.collect import collect
from probing.states.contexts import TopContexts
from probing.states.ids import text_of
from probing.tasks import LabelledData, LabelledDocument, Labels, stored
from probing.tasks.cleaned import for_model
from probing.tasks.of_tokens import beginning, of_tokens

LONGER = (b"a0", b"1b", b"22", b"<&>", b"d\n")
VOCABULARY: Any = Pieces(LONGER)
FEW: dict[str, Any] = {"bytes": 1500, "compared_bytes": 700}


@pytest.fixture(scope="module")
def tokens(planted):
    """Unit 5 of c is 1 after a token that a digit ends, and -1 after any other."""
    return in_pieces(planted, *LONGER)


def ends_of(data, document=0):
    return Pieces(LONGER).tokens(data.documents[document].data).ends


def plain(result, *without):
    return {k: v for k, v in json.loads(result.to_json()).items() if k not in without}


def table(model, data):
    return plain(probing.score_neurons(model, data, draws=19))


def effect(model, data):
    return plain(probing.effect(model, "0.c[5]", data, "digit", kinds=["mean"], **FEW), "rule")


def swept(model, data):
    return plain(probing.sweep(model, data, "digit", site="0.c", bytes=700, verify=3), "rule")


def pushed(model, data):
    found = probing.pulse(model, "0.c[5]", data, steps=20, places=20)
    # A byte is shown as one, and a token as text.
    return plain(found, "unit", "readout")


def attributed(model, data):
    found = probing.attribute(model, data.documents[0].data[:20], "0.c[5]", points=8)
    return plain(found, "ends")


@pytest.mark.parametrize("result", [table, effect, swept, pushed, attributed])
def test_where_tokens_are_bytes_a_result_is_that_of_a_model_of_bytes(planted, digits, result):
    assert result(in_pieces(planted), digits) == result(planted, digits)


@pytest.mark.parametrize("pooling", ["position", "mean"])
def test_where_tokens_are_bytes_arrays_are_the_same(planted, digits, pooling):
    found = (
        probing.arrays(model, digits, "0.c", "test", "digit", pooling)
        for model in (planted, in_pieces(planted))
    )
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_labels_of_bytes_are_those_of_the_last_byte_of_each_token(tokens, digits):
    data = for_model(tokens, digits)
    for i, document in enumerate(digits.documents):
        ends = ends_of(digits, i)
        assert len(ends) < len(document.data)
        before, labels = digits.labels(i), data.labels(i)
        for part, every in zip(labels, before, strict=True):
            np.testing.assert_array_equal(part, every[ends - 1])
    assert data.counts.sum() < digits.counts.sum()
    (note,) = data.notes
    assert f"of {digits.counts.sum():,} labels of bytes the {data.counts.sum():,} where" in note
    assert for_model(tokens, data) is data
    assert for_model(dataclasses.replace(tokens, vocabulary=Bytes()), digits) is digits


def test_labels_of_the_tokens_of_one_vocabulary_are_not_those_of_another(digits):
    data = of_tokens(digits, VOCABULARY)
    with pytest.raises(InputError, match="of the tokens of"):
        of_tokens(data, Bytes())


def test_a_planted_neuron_is_found_where_its_tokens_end(planted, tokens, digits):
    alone = {"twin_seed": None, "draws": 0, "controls": False}
    best = probing.score_neurons(tokens, digits, **alone).best("digit")
    assert (best.neuron, best.test) == ("0.c[5]", pytest.approx(1))
    told, kept = for_model(tokens, digits), []
    for window in activations.stream(tokens, told, ("0.c",)):
        here = window.document >= 0
        value = np.asarray(window.states["0.c"])[here, 5]
        np.testing.assert_array_equal(value > 0, window.classes[here, 0])
        kept += zip(window.document[here], window.position[here], strict=True)
    expected = [(i, p) for i in range(12) for p in told.labels(i).positions]
    assert sorted(kept) == expected


def test_each_byte_is_read_once_and_contexts_are_told_by_bytes(tokens, digits):
    data = for_model(tokens, digits)
    passed = sum(window.bytes for window in activations.stream(tokens, data, ("0.c",)))
    assert passed == digits.bytes
    pilot = activations.sample(tokens, data, ("0.c",))["0.c"]
    assert len(pilot) > 1000
    (found,) = collect(tokens, data, {"0.c": [TopContexts.init(pilot, 4)]})["0.c"]
    texts = [document.data for document in data.documents]
    traces = activations.traces(tokens, texts, [parse_neuron("0.c[3]")])
    there = found.document[3] >= 0
    assert there.all()
    for value, document, place in zip(
        found.value[3].ravel(), found.document[3].ravel(), found.position[3].ravel(), strict=True
    ):
        assert place + 1 in ends_of(digits, document)
        assert traces[document][place, 0] == pytest.approx(value, abs=1e-5)


def test_all_bytes_of_a_token_have_the_value_after_it(tokens):
    text = b"a0b1bc22<&>0"
    (values,) = activations.traces(tokens, [text], [parse_neuron("0.c[5]")])
    digit = np.array([1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1], bool)
    np.testing.assert_array_equal(values[:, 0] > 0, digit)


def test_a_passage_is_shown_with_all_labels_and_whole_tokens(tokens, digits):
    alone = {"twin_seed": None, "draws": 0, "controls": False}
    found = probing.score_neurons(tokens, digits, **alone)
    shown = [e for e in examples(tokens, digits, found) if e.row.concept == "digit"]
    for each in shown:
        assert len(each.values) == len(each.data) == len(each.labels)
        expected = np.isin(np.frombuffer(each.data, np.uint8), list(b"0123456789"))
        np.testing.assert_array_equal(each.labels, expected)
    assert shown


@pytest.fixture(scope="module")
def syllables() -> LabelledData:
    """Words of which two may be in a token, or one in two."""
    text = b"ab cd efgh ab efgh"
    starts, ends = np.array([0, 3, 6, 8, 11, 14]), np.array([2, 5, 8, 10, 13, 18])
    labels = Labels(
        (ends - 1).astype(np.int32),
        starts.astype(np.int32),
        ends.astype(np.int32),
        np.array([1, 0, 1, 0, 1, 0], bool)[:, None],
        np.arange(6, dtype=np.float32)[:, None],
    )
    documents = [LabelledDocument(f"s{k}", text, stored(labels)) for k in range(9)]
    return LabelledData("words", "drawn", "token", ("odd",), ("place",), tuple(documents))


def test_a_word_has_the_state_after_the_token_that_holds_its_end(planted, syllables):
    model = in_pieces(planted, b"b c", b"efgh")
    data = for_model(model, syllables)
    np.testing.assert_array_equal(data.counts, syllables.counts)
    (note,) = data.notes
    assert note.startswith("9 of 54 labelled positions are in a token that holds an earlier one")
    read: Any = text_of(model, data, 0)
    np.testing.assert_array_equal(read.ends, [1, 4, 5, 6, 10, 11, 12, 13, 14, 18])
    x, y, _ = probing.arrays(model, syllables, "0.c", "test", "place")
    np.testing.assert_array_equal(y[:6], np.arange(6))
    steps = [1, 2, 4, 4, 7, 9]  # of the tokens
    every, *_ = activations.traces(
        model, [syllables.documents[0].data], [parse_neuron(f"0.c[{k}]") for k in range(16)]
    )
    np.testing.assert_allclose(x[:6], every[read.ends[steps] - 1], atol=1e-6)
    means, *_ = probing.arrays(model, syllables, "0.c", "test", "place", "mean")
    of = [[0, 1], [1, 2], [4], [4], [6, 7], [9]]
    expected = [every[read.ends[some] - 1].mean(0) for some in of]
    np.testing.assert_allclose(means[:6], expected, atol=1e-6)


def test_a_word_with_a_label_at_each_byte_has_one_in_each_token(planted, syllables):
    def every(labels):
        rows = np.repeat(np.arange(6), labels.ends - labels.starts)
        places = np.concatenate([np.arange(*span) for span in zip(*labels[1:3], strict=True)])
        return Labels(places.astype(np.int32), *(part[rows] for part in labels[1:]))

    documents = tuple(
        dataclasses.replace(d, read=stored(every(d.read()))) for d in syllables.documents
    )
    at_each = dataclasses.replace(syllables, documents=documents)
    labels = for_model(in_pieces(planted, b"b c", b"efgh"), at_each).labels(0)
    np.testing.assert_array_equal(labels.positions, [0, 1, 3, 4, 7, 9, 11, 12, 17])
    np.testing.assert_array_equal(labels.numbers[:, 0], [0, 0, 1, 1, 2, 3, 4, 4, 5])


def test_the_cost_of_a_token_is_that_of_its_bytes(tokens, digits):
    marked = mark(tokens, digits, "digit", bytes=10**6)
    first = [int(sizes[0]) for sizes in marked.sizes]
    read = [len(digits.documents[i].data) for i in marked.documents]
    np.testing.assert_array_equal(marked.counts().sum(1), np.subtract(read, first))
    is_digit = np.isin(
        np.frombuffer(digits.documents[marked.documents[0]].data, np.uint8), list(b"0123")
    )
    last = ends_of(digits, marked.documents[0]) - 1
    np.testing.assert_array_equal(marked.on[0], is_digit[last])
    assert not marked.spelled().any()


def test_an_unknown_token_costs_its_spelling_too(tokens, digits):
    def asked(document):
        data = document.data.replace(b"h", b"?")
        return dataclasses.replace(document, data=data)

    documents = tuple(asked(document) for document in digits.documents)
    data = dataclasses.replace(digits, documents=documents)
    marked = mark(tokens, data, "digit", bytes=10**6)
    unknown = sum(
        document.data[1:].count(b"?") for document in map(documents.__getitem__, marked.documents)
    )
    assert marked.spelled().sum() == 2 * unknown
    found = probing.effect(tokens, "0.c[5]", data, "digit", controls=0, probe=False, **FEW)
    assert any("of the tokens are unknown" in note for note in found.notes)


def test_prompts_end_where_a_token_does(digits):
    data = of_tokens(digits, VOCABULARY)
    for size in range(1, 30):
        prompt = beginning(data, 0, size)
        assert len(prompt) in ends_of(digits)
        assert len(prompt) <= size or len(prompt) == ends_of(digits)[0]
        assert beginning(digits, 0, size) == digits.documents[0].data[:size]
    prompts, documents, _ = prompts_of(data, 6, 21, 0)
    for prompt, document in zip(prompts, documents.tolist(), strict=True):
        assert len(prompt) in ends_of(digits, document)


def test_a_token_is_attributed_to_as_one(tokens):
    found = probing.attribute(tokens, b"xa0y22z", "0.c[5]", points=8)
    np.testing.assert_array_equal(found.ends, [1, 3, 4, 6, 7])
    assert len(found.integrated) == 5
    assert json.loads(found.to_json())["ends"] == [1, 3, 4, 6, 7]
    told = probing.attribute(tokens, b"xa0y22z", 5, points=8)
    assert told.of == "log p(token at byte 4, '22')"
    assert (told.text, len(told.integrated)) == (b"xa0y", 3)
    with pytest.raises(InputError, match="in the first token"):
        probing.attribute(tokens, b"a0", 1)


def test_steering_counts_tokens_and_costs_bytes(tokens, digits):
    found = probing.steer(
        tokens, "0.c[5]", digits, "digit", prompts=3, samples=1, length=12, controls=0
    )
    assert "1 samples of 12 tokens" in str(found)
    assert plain(found)["unit"] == "token"
    assert np.isfinite(found.unedited.bits.value)


def test_models_of_one_vocabulary_are_matched_and_of_two_are_not(planted, tokens, digits):
    texts = [document.data for document in digits.documents]
    found = match_neurons(tokens, tokens, texts, "0.c")
    np.testing.assert_array_equal(found.units, found.others)
    with pytest.raises(InputError, match="two vocabularies"):
        match_neurons(planted, tokens, texts, "0.c")


def test_tally_adds_spelling_to_edited_and_unedited_alike(tokens, digits):
    documents = tuple(
        dataclasses.replace(d, data=d.data.replace(b"h", b"?")) for d in digits.documents
    )
    marked = mark(tokens, dataclasses.replace(digits, documents=documents), "digit", bytes=1500)
    bare = dataclasses.replace(marked, spelling=tuple(0 * part for part in marked.spelling))
    edits = ablations(tokens, units(tokens, digits, "0.c"), [[5]])
    with_it, without = (tally(tokens, each, edits) for each in (marked, bare))
    np.testing.assert_allclose(with_it.base - without.base, marked.spelled())
    np.testing.assert_allclose(with_it.nats - with_it.base, without.nats - without.base, atol=1e-9)


def test_probabilities_along_a_text_are_those_after_the_token_of_each_byte(
    tokens, digits, tmp_path
):
    kept = fit_classifier(tokens, digits, tmp_path, concept="digit")
    [along] = kept.along(tokens, [b"a0b1bc22<&>0"])
    assert along.shape == (12, 2)
    digit = np.array([1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1], bool)
    np.testing.assert_array_equal(along[:, 0] > 0.5, digit)
    assert [part.shape for part in kept.along(tokens, [b"", b"x"])] == [(0, 2), (1, 2)]


def test_a_limit_of_tokens_is_one_for_what_a_model_is_compared_with():
    text = b"xxa0b1b22"
    for limit, left in ((1, b"22"), (2, b"1b22"), (3, b"b1b22"), (9, text), (0, text)):
        assert _last(text, limit, VOCABULARY) == left
    assert _last(text, 3, Bytes()) == b"b22"
