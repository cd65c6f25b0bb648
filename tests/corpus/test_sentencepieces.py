import io
import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.corpus import Document, cutting, prepare
from mlstm.corpus.fitting import chosen
from mlstm.corpus.sentencepieces import FitSentencePieces, SentencePieces
from mlstm.corpus.vocabulary import from_json
from mlstm.errors import InputError

TEXT = ["the cat sat on the mat", "a dog and a cat ran after that hat", "no more of this"] * 20
KINDS = {
    "usual": {},
    "exact": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "bytes": {"byte_fallback": True, "vocab_size": 280},
}


@pytest.fixture(scope="module")
def models():
    package = pytest.importorskip("sentencepiece")
    made = {}
    for name, settings_ in KINDS.items():
        file = io.BytesIO()
        package.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXT),
            model_writer=file,
            minloglevel=2,
            **({"vocab_size": 24} | settings_),
        )
        made[name] = FitSentencePieces(file.getvalue()).fit(
            cutting.blocks("\n".join(TEXT).encode())
        )
    return made


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(st.binary(max_size=30), st.text("the cat\n é日\t", max_size=30).map(str.encode)),
    st.sampled_from(sorted(KINDS)),
)
def test_tokens_have_places_in_any_bytes_and_a_cut_is_the_same_tokens(models, data, name):
    vocabulary = models[name]
    ids, ends = vocabulary.tokens(data)
    assert ids.tolist() == vocabulary.encode(data).tolist() == vocabulary.cut(data).ids.tolist()
    assert (np.diff(ends, prepend=0) >= 0).all()
    assert not len(ids) or ends[-1] == len(data)
    if name == "bytes":
        assert vocabulary.unknown is None
    nats = vocabulary.spelling(data, vocabulary.tokens(data))
    np.testing.assert_array_equal(nats > 0, np.array([i == vocabulary.unknown for i in ids], bool))


def test_a_corpus_holds_the_text_that_its_ids_spell_and_counts_what_was_changed(models, tmp_path):
    documents = [
        Document("plain", b"the cat  sat\non the mat", "train"),
        Document("strange", "the 日 caté".encode(), "train"),
        Document("blank", b" \n ", "train"),
    ]
    corpus = prepare(documents, tmp_path / "c", vocabulary=models["usual"])
    train = corpus.split("train")
    assert [train.document(k) for k in range(train.documents)] == [
        b" the cat sat on the mat",
        " the 日 caté".encode(),
    ]
    assert train.unknown == 2
    assert train.bytes == sum(len(train.document(k)) for k in range(2))
    assert (
        corpus.manifest["splits"]["train"]["changed"] == 2
    )  # one space less, a line end, one more
    assert "has changed 2 bytes or more" in str(corpus)
    exact = prepare(documents[:2], tmp_path / "e", vocabulary=models["exact"]).split("train")
    assert [exact.document(k) for k in range(2)] == [b" " + each.data for each in documents[:2]]


def test_a_model_that_falls_back_to_bytes_keeps_strange_text(models):
    vocabulary = models["bytes"]
    text = "the 日 cat".encode()
    assert vocabulary.decode(vocabulary.encode(text)) == b" " + text


def test_it_is_the_same_after_it_was_json(models):
    for vocabulary in models.values():
        again = from_json(json.loads(json.dumps(vocabulary.to_json())))
        assert again == vocabulary
        assert again.decode(range(again.size)) == b"".join(vocabulary.texts)


def test_a_damaged_or_missing_model_is_one_clear_line(models, tmp_path):
    whole = models["usual"].model
    (tmp_path / "cut.model").write_bytes(whole[:100])
    (tmp_path / "text.model").write_bytes(b"no model\n" * 20)
    (tmp_path / "empty.model").write_bytes(b"")
    (tmp_path / "good.model").write_bytes(whole)
    for name in ("cut", "text", "empty", "none"):
        with pytest.raises(InputError, match=rf"{name}\.model.*") as caught:
            chosen(f"sentencepiece:{tmp_path / name}.model")
        assert "\n" not in str(caught.value)
    found = chosen(f"sentencepiece:{tmp_path / 'good'}.model")
    assert isinstance(found, FitSentencePieces)
    for model in ("?", 5, None, "QUJD"):
        with pytest.raises(InputError) as caught:
            from_json(models["usual"].to_json() | {"model": model})
        assert "\n" not in str(caught.value)


def test_without_the_package_it_says_what_to_install(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(InputError, match=r"pip install 'mlstm\[sentencepiece\]'"):
        SentencePieces(models["usual"].model)
