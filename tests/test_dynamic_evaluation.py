import json
import math

import jax
import pytest

from mlstm import dynamic_evaluation, evaluation
from mlstm.corpus.fitting import FitWords
from mlstm.corpus.shards import prepare_source
from mlstm.corpus.stream import Stream
from mlstm.dynamic_settings import Settings
from mlstm.errors import InputError
from mlstm.model import language_model, scoring
from mlstm.model.config import ModelConfig
from mlstm.trained import Model

TEXT = ("the dog ran; the cat ran. " * 60 + "once only zebra\n").encode()


@pytest.fixture(scope="module", params=[None, FitWords(minimum=2)])
def prepared(request, tmp_path_factory):
    """A text in bytes and in words, with a model of one layer."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_bytes(TEXT)
    corpus = prepare_source(
        folder / "text.txt", folder / "corpus", splits=(1, 0, 0), vocabulary=request.param
    )
    split = corpus.split("train")
    config = ModelConfig(vocabulary=split.vocabulary.size, embedding=4, hidden=8)
    parameters = language_model.init_parameters(config, jax.random.key(1))
    return Model(config, parameters, split.vocabulary, seed=3), split


@pytest.fixture
def unread(monkeypatch):
    """No text is read: the figures are nothing."""
    for name in ("gather", "_static", "_dynamic"):
        monkeypatch.setattr(dynamic_evaluation, name, lambda *_: 1.0)


def other(split, folder):
    """Another text of the same symbols, and as long."""
    swapped = TEXT.replace(b"once only zebra", b"zebra only once")
    (folder / "other.txt").write_bytes(swapped)
    corpus = prepare_source(
        folder / "other.txt",
        folder / "other",
        splits=(1, 0, 0),
        vocabulary=None if split.vocabulary.bytewise else split.vocabulary,
    )
    return corpus.split("train")


def test_what_is_scored_is_not_tuned_on_and_statistics_of_it_are_told(prepared, tmp_path, unread):
    model, split = prepared
    with pytest.raises(InputError, match="validation is the very text that is scored"):
        dynamic_evaluation.evaluate(model, split, train=split, validation=split)
    one = Settings(learning_rates=(0.001,), decays=(0.0,), batches=1)
    found = dynamic_evaluation.evaluate(model, split, one, train=split, statistics="the corpus")
    assert found.statistics_of_text
    assert "warning: the very text that is scored" in str(found)
    assert json.loads(found.to_json())["statistics"] == "the corpus"
    elsewhere = other(split, tmp_path)
    found = dynamic_evaluation.evaluate(model, split, one, train=elsewhere)
    assert not found.statistics_of_text
    assert "warning" not in str(found)


def test_the_streams_that_are_told_are_those_that_were_used(prepared, tmp_path, unread):
    model, split = prepared
    settings = Settings("sgd", (0.0, 0.001), (0.0,), segment=100, streams=50, tune_ids=450)
    validation = other(split, tmp_path)
    found = dynamic_evaluation.evaluate(model, split, settings, validation=validation)
    assert found.streams == split.length // 200 < 50
    assert found.tuning_streams == min(450, validation.length) // 200
    assert f"{found.streams} streams" in str(found)
    assert f"by {found.tuning_streams} streams" in str(found)


def test_the_static_figure_is_that_of_evaluate_and_the_dynamic_one_is_lower(prepared, tmp_path):
    model, split = prepared
    settings = Settings(learning_rates=(0.001, 0.003), decays=(0.0,), batches=2, tune_ids=100)
    validation = other(split, tmp_path)
    found = dynamic_evaluation.evaluate(model, split, settings, train=split, validation=validation)
    static = evaluation.evaluate(model, split)  # of one stream too, for a text as short as this
    assert found.static == pytest.approx(static.bits_per_byte, rel=1e-5)
    assert found.bytes == static.bytes
    assert found.dynamic < found.static
    (reading,) = found.readings
    assert len(reading.trials) == 2
    assert reading.rates == min(reading.trials, key=lambda t: t.bits_per_byte).rates
    assert reading.at_edge == "learning rate"


def test_rates_of_zero_change_nothing_and_several_streams_charge_every_token(prepared):
    model, split = prepared
    settings = Settings(learning_rates=(0.0,), decays=(0.0,), batches=1, streams=3)
    found = dynamic_evaluation.evaluate(model, split, settings, train=split)
    assert found.dynamic == pytest.approx(found.static, rel=1e-6)
    streams = Stream(split, 3, 128, context=512)
    score = scoring.bits_per_byte(model.config, model.parameters, streams)
    same = evaluation.in_bytes(score, split).bits_per_byte
    assert found.static == pytest.approx(same, rel=1e-5)
    assert found.tuned_on is None


def test_the_head_of_a_text_is_read_and_no_more(prepared):
    model, split = prepared
    settings = Settings("sgd", (0.0,), (0.0,))
    found = dynamic_evaluation.evaluate(model, split, settings, most=90)
    assert found.bytes == split.spelled(1, 90).bytes


def test_what_is_missing_is_named(prepared):
    model, split = prepared
    with pytest.raises(InputError, match="tuned on a validation text, and there is none"):
        dynamic_evaluation.evaluate(model, split, train=split)
    with pytest.raises(InputError, match="needs the text that the model was trained on"):
        dynamic_evaluation.evaluate(model, split, Settings(learning_rates=(1.0,), decays=(0.0,)))
    for wrong in ({"rule": "adam"}, {"segment": 0}, {"decays": (1.5,)}, {"epsilon": math.nan}):
        with pytest.raises(InputError):
            Settings.of(**wrong).check()
