"""Records prepared with a vocabulary that is made from them: through a corpus of bytes."""

import json

import pytest

from mlstm import corpus
from mlstm.corpus.fitting import FitCharacters, FitWords
from mlstm.errors import InputError

ROWS = [
    "Hello there, world",
    "The the there",
    "another one é",
    "world again",
    "one more there",
] * 80


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"{row} {k}"}) + "\n" for k, row in enumerate(ROWS))
    )
    return path


@pytest.mark.parametrize("vocabulary", [FitCharacters(), FitWords(minimum=2)])
def test_the_documents_and_splits_are_those_of_bytes(table, tmp_path, vocabulary):
    plain = corpus.prepare_texts(table, tmp_path / "bytes")
    made = corpus.prepare_texts(table, tmp_path / "tokens", vocabulary=vocabulary)
    for name in plain.splits:
        ours, theirs = made.split(name), plain.split(name)
        assert ours.names == theirs.names
        documents = range(theirs.documents)
        assert [ours.document(k) for k in documents] == [theirs.document(k) for k in documents]
    again = corpus.prepare_texts(table, tmp_path / "tokens", vocabulary=vocabulary)
    assert again.digest == made.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bytes", "rows.jsonl", "tokens"]


def test_shares_of_the_work_are_joined_and_then_made_to_tokens(table, tmp_path):
    def share(number: int):
        return corpus.prepare_share(
            table, tmp_path / "out", number, 2, vocabulary=FitCharacters(), block_bytes=2048
        )

    first, second = share(0), share(1)
    assert not isinstance(first, corpus.Corpus)
    whole = corpus.prepare_texts(table, tmp_path / "whole", vocabulary=FitCharacters())
    assert second.digest == whole.digest


def test_another_vocabulary_is_refused_where_a_corpus_is(table, tmp_path):
    corpus.prepare_texts(table, tmp_path / "out", vocabulary=FitCharacters())
    with pytest.raises(InputError, match="other contents or settings"):
        corpus.prepare_texts(table, tmp_path / "out", vocabulary=FitWords())
