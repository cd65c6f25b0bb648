"""Records prepared with a vocabulary that is made from them: through a corpus of bytes."""

import json
import threading

import numpy as np
import pytest

from mlstm import corpus
from mlstm.corpus import cutting, records, translating
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


def test_progress_is_told_of_all_passes_and_only_grows(table, tmp_path):
    told = []
    corpus.prepare_texts(
        table, tmp_path / "a", vocabulary=FitWords(), progress=lambda *now: told.append(now)
    )
    assert told == sorted(told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1]
    assert any(done > total // 2 for done, total in told[:-1])
    told.clear()
    corpus.prepare_source(
        table, tmp_path / "b", vocabulary=FitWords(), progress=lambda *now: told.append(now)
    )
    assert told == sorted(told)
    assert told[-1] == (3 * table.stat().st_size,) * 2


def test_what_a_killed_command_with_other_settings_left_is_in_nobodys_way(
    table, tmp_path, monkeypatch
):
    def killed(*args, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(translating, "translate", killed)
        with pytest.raises(KeyboardInterrupt):
            corpus.prepare_texts(
                table, tmp_path / "out", vocabulary=FitWords(), splits=(0.8, 0.1, 0.1)
            )
    other = corpus.prepare_texts(table, tmp_path / "out.more", vocabulary=FitWords())
    assert len(list(tmp_path.glob(".out.*"))) == 1  # of another name: left where it is
    made = corpus.prepare_texts(table, tmp_path / "out", vocabulary=FitWords())
    assert made.digest == other.digest
    assert not list(tmp_path.glob(".*"))


def test_two_commands_at_once_make_one_corpus(table, tmp_path, monkeypatch):
    translate, found = translating.translate, []
    together, one = threading.Barrier(2, timeout=20), threading.Lock()

    def prepare():
        found.append(corpus.prepare_texts(table, tmp_path / "out", vocabulary=FitWords()).digest)

    def both_have_bytes(*args, **keywords):
        with one:  # threads have one process number
            made = prepare_records(*args, **keywords)
        together.wait()
        return made

    count = []
    prepare_records = records.prepare_records
    monkeypatch.setattr(records, "prepare_records", both_have_bytes)
    monkeypatch.setattr(
        translating, "translate", lambda *a, **k: count.append(1) or translate(*a, **k)
    )
    threads = [threading.Thread(target=prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2
    assert found[0] == found[1]
    assert count == [1]
    assert not list(tmp_path.glob(".*"))


def test_small_documents_together_are_what_each_is_alone(tmp_path):
    rows = ["", "a", "an é — 😀", "b\r", "x" * 70_000, "two words", " ", "\x85end"] * 60
    path = tmp_path / "rows.txt"
    path.write_bytes(b"\n".join(row.encode() for row in rows) + b"\n\xe4\n\xb8\xad\n")
    plain = corpus.prepare_texts(path, tmp_path / "bytes", shard_bytes=20_000)
    for number, fit in enumerate(
        [FitCharacters(minimum=70), FitWords(pattern=r"\S+$|\w+", minimum=9, unseen="bytes")]
    ):
        made = corpus.prepare_texts(
            path, tmp_path / f"{number}", vocabulary=fit, shard_bytes=20_000
        )
        assert made.vocabulary == fit.fit(
            block
            for k in range(plain.split("train").documents)
            for block in cutting.blocks(plain.split("train").document(k))
        )
        for name in plain.splits:
            ours, theirs = made.split(name), plain.split(name)
            texts = [theirs.document(k) for k in range(theirs.documents)]
            ids = [made.vocabulary.tokens(text).ids for text in texts]
            assert ours.names == theirs.names
            assert ours.starts.tolist() == np.cumsum([0, *map(len, ids)])[:-1].tolist()
            assert ours.read(0, len(ours)).tolist() == np.concatenate(ids).tolist()
            assert [ours.document(k) for k in range(ours.documents)] == texts
