import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.corpus import Corpus, Document, FitCharacters, FitWords, open_source, prepare
from mlstm.errors import InputError

TRAIN = "The cat sat on the mat. The dog, the café.\n".encode() * 3
HELD = "The zebra sat — on the mat; caté.\nzebra".encode()


def documents() -> list[Document]:
    return [
        Document("a", TRAIN, "train"),
        Document("b", TRAIN[:50], "train"),
        Document("c", HELD, "validation"),
    ]


def by_hand(vocabulary, data: bytes) -> tuple[int, int, float]:
    tokens = vocabulary.tokens(data)
    nats = vocabulary.spelling(data, tokens)
    return len(tokens.ids), int((nats > 0).sum()), nats.sum()


@pytest.mark.parametrize("fit", [FitCharacters(), FitWords(), FitWords(minimum=1, unseen="bytes")])
def test_the_text_is_exact_and_every_byte_and_unknown_token_is_counted(tmp_path, fit):
    corpus = prepare(documents(), tmp_path / "c", vocabulary=fit)
    assert corpus.manifest["fitted"] == fit.to_json()
    corpus.verify()
    corpus = Corpus.open(tmp_path / "c")
    assert [corpus.split("train").document(k) for k in range(2)] == [TRAIN, TRAIN[:50]]
    held = corpus.split("validation")
    assert held.document(0) == HELD
    ids, unknown, nats = by_hand(corpus.vocabulary, HELD)
    assert (held.length, held.unknown, held.bytes) == (ids, unknown, len(HELD))
    whole = held.spelled()
    assert whole[:3] == (ids, len(HELD), unknown)
    assert whole.nats == pytest.approx(nats)
    if fit.unseen == "unknown":
        assert unknown > 0
        assert f"{unknown / ids:.4%} unknown" in str(corpus)
        assert sorted(path.suffix for path in (tmp_path / "c").iterdir()).count(".txt") == 4


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_range_is_spelled_and_counted_from_shards_of_any_size(tmp_path_factory, data):
    texts = [bytes(t) for t in data.draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))]
    texts = [TRAIN, *texts, HELD]
    vocabulary = FitWords().fit([TRAIN])
    folder = tmp_path_factory.mktemp("any") / "c"
    split = prepare(
        [Document(f"d{n}", text, "train") for n, text in enumerate(texts)],
        folder,
        vocabulary=vocabulary,
        shard_bytes=data.draw(st.integers(1, 400)),
    ).split("train")
    assert [split.document(n) for n in range(split.documents)] == texts
    tokens = [vocabulary.tokens(text) for text in texts]
    ends = np.concatenate(
        [t.ends + b for t, b in zip(tokens, np.cumsum([0, *map(len, texts)]), strict=False)]
    )
    nats = np.concatenate(
        [vocabulary.spelling(text, t) for text, t in zip(texts, tokens, strict=True)]
    )
    start = data.draw(st.integers(0, split.length))
    stop = data.draw(st.integers(start, split.length))
    low, high = (int(ends[at - 1]) if at else 0 for at in (start, stop))
    assert split.text(start, stop) == b"".join(texts)[low:high]
    spelled = split.spelled(start, stop)
    assert spelled[:3] == (stop - start, high - low, int((nats[start:stop] > 0).sum()))
    assert spelled.nats == pytest.approx(nats[start:stop].sum())
    first = split.spelled(1)
    assert first.bytes == len(b"".join(texts)) - ends[0]
    assert first.nats == pytest.approx(nats[1:].sum())


def test_what_only_the_held_out_text_has_is_unknown(tmp_path):
    corpus = prepare(documents(), tmp_path / "c", vocabulary=FitCharacters())
    vocabulary = corpus.vocabulary
    held = corpus.split("validation")
    ids = held.read(0, held.length)
    seen = set(TRAIN.decode())
    unseen = [character not in seen for character in HELD.decode()]
    np.testing.assert_array_equal(ids == vocabulary.unknown, unseen)
    lines = (tmp_path / "c/validation-00000.unknown.txt").read_text().splitlines()
    assert [json.loads(line).encode("latin-1").decode() for line in lines] == list("zbr—;zbr")


def test_an_unseen_character_that_is_refused_is_named(tmp_path):
    with pytest.raises(InputError, match="c: 'z' at byte 4 is not in the vocabulary of characters"):
        prepare(documents(), tmp_path / "c", vocabulary=FitCharacters("refuse"))
    assert not list(tmp_path.iterdir())


def test_shards_begin_where_they_did(tmp_path):
    texts = [Document(f"d{n}", TRAIN, "train") for n in range(6)]
    of_bytes = prepare(texts, tmp_path / "b", reset="shard", shard_bytes=300).split("train")
    split = prepare(
        texts, tmp_path / "c", reset="shard", shard_bytes=300, vocabulary=FitWords()
    ).split("train")
    begins = of_bytes.reset_points
    starts = of_bytes.starts
    first = [int(np.searchsorted(starts, begin)) for begin in begins]
    assert split.reset_points.tolist() == [int(split.starts[n]) for n in first]


def test_the_same_wish_finds_the_corpus_that_is_there_and_another_is_refused(tmp_path):
    (tmp_path / "t.txt").write_bytes(TRAIN)

    def opened(vocabulary):
        return open_source(
            tmp_path / "t.txt", tmp_path / "c", splits=(1, 0, 0), vocabulary=vocabulary
        )

    digest = opened(FitWords()).digest
    assert opened(FitWords()).digest == opened(None).digest == digest
    for other in (FitWords(minimum=1), FitCharacters()):
        with pytest.raises(InputError, match="was prepared with the vocabulary words"):
            opened(other)
    assert prepare([Document("t.txt", TRAIN)], tmp_path / "d", splits=(1, 0, 0)).digest != digest


@pytest.mark.parametrize(
    ("field", "value"),
    [("bytes", "x"), ("unknown", -1), ("unknown", 10**9), ("spelling", None), ("spelling", -1.0)],
)
def test_a_manifest_with_wrong_counts_is_damaged(tmp_path, field, value):
    prepare(documents(), tmp_path / "c", vocabulary=FitWords())
    file = tmp_path / "c/manifest.json"
    manifest = json.loads(file.read_text())
    manifest["splits"]["train"]["shards"][0][field] = value
    file.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="damaged") as caught:
        Corpus.open(tmp_path / "c")
    assert "\n" not in str(caught.value)


def test_spellings_that_are_damaged_are_named(tmp_path):
    prepare(documents(), tmp_path / "c", vocabulary=FitWords())
    file = tmp_path / "c/validation-00000.unknown.txt"
    size = file.stat().st_size
    for damage in (b"[" + b"\n" * (size - 1), b'"' + b"a" * (size - 2) + b'"'):
        file.write_bytes(damage)
        with pytest.raises(InputError, match=r"unknown\.txt: damaged"):
            Corpus.open(tmp_path / "c").split("validation").document(0)
        with pytest.raises(InputError, match="was changed"):
            Corpus.open(tmp_path / "c").verify()
