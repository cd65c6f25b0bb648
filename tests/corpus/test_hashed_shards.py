"""Shards in the order of hashes, and training documents that are copies of held-out ones."""

import functools
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.corpus import prepare_texts
from mlstm.corpus.preparing import assembling, order, signatures
from mlstm.corpus.sources import split_by_name
from mlstm.errors import InputError


def write(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def words(rng, count):
    return " ".join("".join(rng.choice(list("abcdefgh"), 6)) for _ in range(count))


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return [words(rng, 12) for _ in range(500)]


def found(corpus, name):
    split = corpus.split(name)
    return list(zip(split.names, [split.document(n) for n in range(split.documents)], strict=True))


def test_shards_have_equal_numbers_of_documents_and_hold_each_one_once(tmp_path, texts):
    path = write(tmp_path / "a.jsonl", texts)
    corpus = prepare_texts(
        path, tmp_path / "c", shards=7, held_out_shards=(1, 2), reset="shard", block_bytes=2000
    )
    sizes = {
        name: [shard["documents"] for shard in part["shards"]]
        for name, part in corpus.manifest["splits"].items()
    }
    assert [len(sizes[name]) for name in ("train", "validation", "test")] == [7, 1, 2]
    assert {size for part in sizes.values() for size in part} == {50}
    documents = [each for name in corpus.splits for each in found(corpus, name)]
    assert sorted(text.decode() for _, text in documents) == sorted(texts)
    assert all(text.decode() == texts[int(name.split(":")[1]) - 1] for name, text in documents)
    assert len(corpus.split("train").reset_points) == 7
    corpus.verify()


def test_the_order_is_of_hashes_and_nothing_else(tmp_path, texts):
    path = write(tmp_path / "a.jsonl", texts)
    one = prepare_texts(path, tmp_path / "one", shards=3, block_bytes=900)
    two = prepare_texts(path, tmp_path / "two", shards=3, processes=2, block_bytes=7000)
    assert one.digest == two.digest
    names = [name for part in ("validation", "test", "train") for name, _ in found(one, part)]
    places = [split_by_name.__globals__["_hash"](name) for name in names]
    assert places == sorted(places)


def test_a_shard_may_be_longer_than_what_is_held_in_memory(tmp_path, texts, monkeypatch):
    path = write(tmp_path / "a.jsonl", texts)
    one = prepare_texts(path, tmp_path / "one", shards=2, block_bytes=3000)
    monkeypatch.setattr(order, "_AT_ONCE", 1500)
    two = prepare_texts(path, tmp_path / "two", shards=2, block_bytes=3000)
    assert one.digest == two.digest


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shards": 600}, "500 documents are too few for 600 shards and 2 held-out ones"),
        ({"shards": 0}, "one or more are wanted"),
        ({"shards": 3, "splits": (1, 0, 0)}, "leave the fractions"),
        ({"shards": 3, "held_out_shards": (1,)}, "two numbers"),
        ({"duplicate_share": 2}, "between 0 and 1"),
    ],
)
def test_numbers_that_do_not_fit_are_told(tmp_path, texts, given, words):
    with pytest.raises(InputError, match=words):
        prepare_texts(write(tmp_path / "a.jsonl", texts), tmp_path / "c", **given)


def planted(rng):
    """Held-out texts, and for train: copies, near copies, half copies and new texts."""
    held = [words(rng, 30) for _ in range(20)]
    copies = [text.upper().replace(" ", ", ") + "!" for text in held[:8]]
    near = [f"{text} {words(rng, 5)}" for text in held[8:14]]
    quoting = [f"{text[:80]} {words(rng, 60)}" for text in held[14:]]
    return held, copies, near, quoting, [words(rng, 30) for _ in range(300)]


@pytest.mark.parametrize("shards", [None, 4])
def test_planted_copies_of_held_out_texts_are_left_out_of_train(tmp_path, shards):
    held, copies, near, quoting, new = planted(np.random.default_rng(1))
    path = write(tmp_path / "a.jsonl", [*copies, *near, *quoting, *new])
    against = write(tmp_path / "held.jsonl", held)
    given = {"shards": shards, "splits": None if shards else (1, 0, 0)}
    plain = prepare_texts(path, tmp_path / "plain", block_bytes=3000, **given)
    corpus = prepare_texts(
        path, tmp_path / "c", block_bytes=3000, processes=2, deduplicate_against=[against], **given
    )
    before = {text for _, text in found(plain, "train")}
    kept = {text for _, text in found(corpus, "train")}
    out = {text.encode() for text in copies + near}
    if shards is None:
        assert before - kept == out
    else:  # what is held out itself stays there
        assert not kept & out
        assert {text.encode() for text in quoting + new} & before <= kept | {
            text for name in ("validation", "test") for _, text in found(corpus, name)
        }
    assert corpus.manifest["skipped"]["duplicates"] == len(before & out)
    assert f"left out: {len(before & out)} copies of held-out documents" in str(corpus)
    corpus.verify()


@pytest.mark.parametrize("shards", [None, 5])
def test_against_its_own_held_out_documents(tmp_path, shards):
    rng = np.random.default_rng(2)
    texts = [words(rng, 20) for _ in range(300)]
    path = write(tmp_path / "a.jsonl", texts + texts)  # each of them twice
    corpus = prepare_texts(
        path, tmp_path / "c", shards=shards, deduplicate_against=["own"], block_bytes=4000
    )
    held_out = {text for name in ("validation", "test") for _, text in found(corpus, name)}
    train = [text for _, text in found(corpus, "train")]
    assert held_out
    assert not held_out & set(train)
    assert corpus.manifest["skipped"]["duplicates"] > 0
    everything = (
        len(train)
        + corpus.manifest["skipped"]["duplicates"]
        + sum(corpus.split(name).documents for name in ("validation", "test"))
    )
    assert everything == 600
    if shards:
        sizes = [shard["documents"] for shard in corpus.manifest["splits"]["train"]["shards"]]
        assert max(sizes) - min(sizes) <= 1


def test_a_prepared_corpus_stands_for_what_it_holds_out(tmp_path):
    rng = np.random.default_rng(3)
    texts = [words(rng, 20) for _ in range(200)]
    other = prepare_texts(write(tmp_path / "a.jsonl", texts), tmp_path / "other")
    corpus = prepare_texts(
        write(tmp_path / "b.jsonl", texts),
        tmp_path / "c",
        splits=(1, 0, 0),
        cleaning="openai",
        deduplicate_against=[str(other.folder)],
    )
    kept = {text.strip() for _, text in found(corpus, "train")}
    assert kept == {text for _, text in found(other, "train")}


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl", "e.jsonl"])
def test_the_only_document_is_left_out_where_it_is_a_copy(tmp_path, name):
    """Whichever split the hash of its name says."""
    rng = np.random.default_rng(3)
    copy = words(rng, 40)
    path, held = write(tmp_path / name, [copy]), write(tmp_path / "held.jsonl", [copy])
    call = functools.partial(prepare_texts, path, tmp_path / "out" / "c", splits=(0.4, 0.3, 0.3))
    with pytest.raises(InputError, match="there is no text: every document is empty or a copy"):
        call(deduplicate_against=[str(held), "own"])
    other = write(tmp_path / "other.jsonl", [words(rng, 40)])
    corpus = call(deduplicate_against=[str(other), "own"])
    assert corpus.manifest["skipped"]["duplicates"] == 0
    assert b"".join(text for part in corpus.splits for _, text in found(corpus, part)) == (
        copy.encode()
    )


@pytest.mark.parametrize("shards", [None, 4])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_notes_of_what_is_a_copy_are_made_anew(tmp_path, monkeypatch, shards, damage):
    held, copies, near, quoting, new = planted(np.random.default_rng(1))
    path = write(tmp_path / "a.jsonl", [*copies, *near, *quoting, *new])
    given = {"shards": shards, "block_bytes": 3000}
    given["deduplicate_against"] = [str(write(tmp_path / "held.jsonl", held)), "own"]
    whole = prepare_texts(path, tmp_path / "whole", **given)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(assembling, "assemble", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare_texts(path, tmp_path / "c", **given)
    (staging,) = tmp_path.glob(".c.*.pieces")
    notes = [staging / "held out", *staging.glob("*.kept")]
    assert len(notes) > 3
    for note in notes:
        data = bytearray(note.read_bytes())
        data[-1] ^= 1
        note.write_bytes({"flip": data, "cut": data[:-1], "empty": b""}[damage])
    assert prepare_texts(path, tmp_path / "c", **given).digest == whole.digest


def signatures_one_by_one(texts):
    """(words of each, runs of words of each) in plain Python."""
    table = "".join(
        chr(code).lower() if chr(code).isalnum() and code < 128 else " " for code in range(128)
    )
    split = [text.translate({n: table[n] for n in range(128)}).split(" ") for text in texts]
    split = [[word for word in each if word] for each in split]
    runs = [
        [tuple(each[n : n + signatures.WORDS]) for n in range(len(each) - signatures.WORDS + 1)]
        for each in split
    ]
    return [tuple(each) for each in split], runs


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "B", "b", "A'c", "é", "-", "\n", "  "]), max_size=24).map(
            " ".join
        ),
        max_size=6,
    ),
    st.integers(1, 40),
)
def test_equal_signatures_are_equal_words(texts, at_once):
    before, signatures._AT_ONCE = signatures._AT_ONCE, at_once
    try:
        data = [text.encode() for text in texts]
        got = signatures.of_documents(b"".join(data), np.array([len(each) for each in data]))
    finally:
        signatures._AT_ONCE = before
    whole, runs = signatures_one_by_one(texts)
    for one, a in enumerate(whole):
        assert (got.texts[one] != 0) == bool(a)
        for other, b in enumerate(whole):
            assert (got.texts[one] == got.texts[other]) == (a == b)
    flat = [(number, run) for number, each in enumerate(runs) for run in each]
    assert got.document.tolist() == [number for number, _ in flat]
    for one, (_, a) in enumerate(flat):
        for other, (_, b) in enumerate(flat):
            assert (got.grams[one] == got.grams[other]) == (a == b)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60, unique=True), st.data())
def test_borders_cut_the_hashes_into_the_counts_that_are_asked_for(hashes, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(hashes)), max_size=4)))
    counts = np.diff([0, *cuts, len(hashes)]).tolist()
    values = np.sort(np.array(hashes, np.uint64))
    halves = [values[::2], values[1::2]]
    before, order._hashes = order._hashes, lambda half: half
    try:
        borders = order.borders(halves, counts)
    finally:
        order._hashes = before
    places = [0, *borders]
    got = [
        sum(start <= value < stop for value in values.tolist())
        for start, stop in itertools.pairwise(places)
    ]
    assert got == counts
