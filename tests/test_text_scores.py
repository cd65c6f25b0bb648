import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlstm import devices, evaluation
from mlstm.corpus.fitting import FitCharacters, FitWords
from mlstm.corpus.sentencepieces import FitSentencePieces
from mlstm.corpus.shards import prepare, prepare_source
from mlstm.corpus.sources import Document
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import edits as edit_makers
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.model.text_costs import _window
from mlstm.trained import Model

CONFIG = ModelConfig(embedding=8, hidden=16, layers=2)
RANDOM = np.random.default_rng(0)
TEXTS = [
    bytes(RANDOM.choice(list(b"abc \n"), n).astype(np.uint8)) for n in (5, 0, 1, 300, 2, 40, 129)
]


@pytest.fixture(scope="module")
def model():
    parameters = language_model.init_parameters(CONFIG, jax.random.key(0))
    parameters["readout"]["w"] *= 10
    return Model(CONFIG, parameters, Bytes())


def nats_of(model, before: bytes, text: bytes, edits=None) -> np.ndarray:
    """Of each byte of a text behind others, read in one piece from the zero state."""
    if not before + text:
        return np.zeros(0)
    ids = jnp.asarray([list(before + text)], jnp.int32).T
    state = language_model.initial_state(CONFIG, 1)
    arrays = edit_makers.make_edits(CONFIG, edits).arrays if edits else None
    hidden = language_model.forward(CONFIG, model.parameters, ids[:-1], state, edits=arrays).hidden
    nats = language_model.negative_log_likelihood(CONFIG, model.parameters, hidden, ids[1:])
    return np.asarray(nats, np.float64)[:, 0][len(before) - 1 if before else 0 :]


def test_every_byte_of_a_text_is_charged_after_a_line_end(model):
    found = model.score(TEXTS, tokens=True)
    for k, text in enumerate(TEXTS):
        expected = nats_of(model, b"\n", text) / math.log(2) if text else np.zeros(0)
        np.testing.assert_allclose(found.tokens[k], expected, rtol=1e-4, atol=1e-5)
        assert found.bits[k] == pytest.approx(expected.sum(), rel=1e-5)
    assert found.bytes.tolist() == [len(text) for text in TEXTS]
    assert math.isnan(found.per_byte[1])
    assert found.per_byte[0] == pytest.approx(found.bits[0] / 5)
    assert found.bits_per_byte == pytest.approx(found.bits.sum() / sum(map(len, TEXTS)))


def test_a_first_byte_that_is_free_is_not_charged_and_nothing_is_read_before_it(model):
    found = model.score(TEXTS, first="free", tokens=True)
    for k, text in enumerate(TEXTS):
        expected = nats_of(model, b"", text).sum() / math.log(2) if len(text) > 1 else 0
        assert found.bits[k] == pytest.approx(expected, rel=1e-5)
        assert found.bytes[k] == max(0, len(text) - 1)
    assert math.isnan(found.tokens[0][0])


def test_a_context_is_read_and_not_charged(model):
    found = model.score(TEXTS, context="ab a", streams=3)
    for k, text in enumerate(TEXTS):
        expected = nats_of(model, b"ab a", text).sum() / math.log(2) if text else 0
        assert found.bits[k] == pytest.approx(expected, rel=1e-5)
    assert found.bytes.tolist() == [len(text) for text in TEXTS]


def test_an_edit_acts_and_its_positions_are_those_of_the_text(model):
    shift = edit_makers.shift("0.c", [3], 4.0)
    found = model.score(TEXTS, edits=[shift])
    expected = nats_of(model, b"\n", TEXTS[3], [shift]).sum() / math.log(2)
    assert found.bits[3] == pytest.approx(expected, rel=1e-5)
    assert found.bits[3] != pytest.approx(model.score(TEXTS).bits[3], rel=1e-3)
    late = edit_makers.shift("0.c", [3], 4.0, start=2)
    plain, edited = (model.score([TEXTS[0]], tokens=True, edits=e).tokens[0] for e in ((), late))
    # Byte 2 is read with the edit: what it changes is the cost of byte 3.
    np.testing.assert_allclose(edited[:3], plain[:3], rtol=1e-5)
    assert abs(edited[3] - plain[3]) > 1e-3


def test_neither_order_nor_company_changes_a_text_s_bits(model):
    found = model.score(TEXTS)
    back = model.score(TEXTS[::-1], streams=2)
    alone = [model.score([text]).bits[0] for text in TEXTS]
    np.testing.assert_allclose(found.bits, back.bits[::-1], rtol=1e-5)
    np.testing.assert_allclose(found.bits, alone, rtol=1e-5)


def test_other_texts_do_not_recompile(model):
    model.score(TEXTS, streams=4)
    before = _window._cache_size()
    model.score([b"another", b"and one more " * 50], streams=4)
    assert _window._cache_size() == before


def test_eight_devices_find_the_bits_of_one(model):
    alone = model.score(TEXTS, edits=["0.c[3]+=1"])
    for shape in ((8, 1), (2, 4)):
        found = model.score(TEXTS, edits=["0.c[3]+=1"], mesh=devices.mesh(*shape))
        np.testing.assert_allclose(found.bits, alone.bits, rtol=1e-5)


@pytest.mark.parametrize("vocabulary", [None, FitWords(minimum=2), FitCharacters("bytes", 3)])
def test_a_text_costs_what_evaluate_says_in_every_vocabulary(tmp_path, vocabulary):
    data = ("the dog ran; the cat é ran. " * 20 + "once only zebra\n").encode()
    (tmp_path / "text.txt").write_bytes(data)
    split = prepare_source(
        tmp_path / "text.txt", tmp_path / "corpus", splits=(1, 0, 0), vocabulary=vocabulary
    ).split("train")
    config = ModelConfig(vocabulary=split.vocabulary.size, embedding=4, hidden=8)
    parameters = language_model.init_parameters(config, jax.random.key(1))
    model = Model(config, parameters, split.vocabulary)
    expected = evaluation.evaluate(model, split)
    found = model.score([data], first="free", tokens=True)
    assert found.bits[0] == pytest.approx(expected.nats / math.log(2), rel=1e-5)
    assert found.bytes[0] == expected.bytes
    assert found.unknown[0] == expected.unknown
    assert found.bits_per_byte == pytest.approx(expected.bits_per_byte, rel=1e-5)
    assert found.ends[0][-1] == len(data)
    if isinstance(vocabulary, FitWords):
        assert expected.unknown > 0
        assert "unknown tokens charged by spelling" in str(found)


def test_no_texts_cost_nothing(model):
    assert len(model.score([])) == 0
    assert "0 texts" in str(model.score([]))


@pytest.mark.parametrize(
    ("texts", "options", "words"),
    [
        ("one", {}, r"score\(\[text\]\)"),
        ([3], {}, r"texts\[0\] is a int"),
        (["a"], {"first": "half"}, 'first is "half"; it may be charged, free'),
        (["a"], {"cleaning": "soap"}, "soap"),
        (["a"], {"edits": ["7.c[1]=0"]}, "7.c"),
        (["a"], {"streams": 0}, "1 or more"),
    ],
)
def test_bad_input_is_named(model, texts, options, words):
    with pytest.raises(InputError, match=words):
        model.score(texts, **options)


def test_a_sentencepiece_model_is_charged_for_the_bytes_that_it_spells(tmp_path):
    package = pytest.importorskip("sentencepiece")
    file = io.BytesIO()
    package.SentencePieceTrainer.train(
        sentence_iterator=iter(
            ["the cat sat on the mat", "a dog and a cat ran after that hat"] * 20
        ),
        model_writer=file,
        minloglevel=2,
        vocab_size=22,
    )
    vocabulary = FitSentencePieces(file.getvalue()).fit([b"the cat sat"])
    config = ModelConfig(vocabulary=vocabulary.size, embedding=4, hidden=8)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    model = Model(config, parameters, vocabulary)
    texts = [b"a" + b" " * 1000 + b"b", b"the cat", "caté\n".encode()]
    found = model.score(texts)
    spelled = [b" a b", b" the cat", " caté".encode()]
    assert found.bytes.tolist() == [len(text) for text in spelled]
    assert found.changed.tolist() == [998, 1, 1]
    assert "has changed 1,000 bytes or more" in str(found)
    assert json.loads(found.to_json())["changed"] == [998, 1, 1]
    corpus = prepare(
        [Document("a", texts[0], "train"), Document("b", texts[2], "validation")],
        tmp_path / "c",
        vocabulary=vocabulary,
    )
    assert found.bytes[0] == corpus.split("train").bytes
    assert found.unknown[2] == corpus.split("validation").unknown > 0
    free = model.score(texts[:1], first="free", tokens=True)
    assert free.bytes[0] == found.bytes[0] - len(vocabulary.texts[vocabulary.encode(texts[0])[0]])
