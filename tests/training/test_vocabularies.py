"""Training on characters and words: what is reported is in bits per byte of the exact text."""

import gzip
import json
import math
import os
import struct

import numpy as np
import pytest

import mlstm
from mlstm import evaluation
from mlstm.corpus import Corpus, FitWords, vectors
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.training import loop
from mlstm.training.config import Config, from_config_dict, to_dict

WORDS = ["the", "cat", "dog", "sat", "on", "a", "mat", "with", "café", "hats"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    lines = [" ".join(rng.choice(WORDS, 6)) + f" x{k}.\n" for k in range(150)]
    path.write_text("".join(lines))
    return path


def make(text, **changes) -> Config:
    tree = to_dict(Config())
    values = {
        "model.hidden": 16, "model.embedding": 8, "model.vocabulary": 0,
        "data.source": str(text), "data.batch": 4, "data.window": 8,
        "data.splits": "0.8,0.2,0", "train.steps": 8, "train.validation_batch": 4,
        "train.validation_window": 16, "optimizer.learning_rate": 0.01, "log.every": 4,
        "log.samples": 1, "log.sample_bytes": 10, "checkpoint.log_spaced": False,
    }  # fmt: skip
    for name, value in (values | changes).items():
        section, field = name.split(".") if "." in name else ("", name)
        (tree[section] if section else tree)[field] = value
    return from_config_dict(tree)


def logged(folder, kind):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


def directly(model, data: bytes) -> float:
    """Bits per byte of a whole text but its first token: one stream, a step at a time."""
    ids, ends = tokens = model.vocabulary.tokens(data)
    spelling = model.vocabulary.spelling(data, tokens)
    column = ids.astype(np.int32)[:, None]
    out = language_model.forward(
        model.config, model.parameters, column[:-1], language_model.initial_state(model.config, 1)
    )
    nats = language_model.negative_log_likelihood(
        model.config, model.parameters, out.hidden, column[1:]
    )
    total = np.asarray(nats, np.float64).sum() + spelling[1:].sum()
    return total / (len(data) - ends[0]) / math.log(2)


@pytest.mark.parametrize("vocabulary", ["characters", "words"])
def test_validation_and_evaluation_are_what_a_direct_computation_finds(tmp_path, text, vocabulary):
    run = tmp_path / "run"
    result = loop.run(make(text, **{"data.vocabulary": vocabulary}), run)
    model = mlstm.load(run)
    assert model.config.vocabulary == model.vocabulary.size
    held = Corpus.open(run / "corpus").split("validation")
    assert held.document(0) == text.read_bytes()[-held.bytes :]
    expected = directly(model, held.document(0))
    # Streams side by side are warmed up on some tokens, and not on all of the text before them.
    assert result.bits_per_byte == pytest.approx(expected, rel=0.01)
    assert logged(run, "validation")[-1]["bits_per_byte"] == result.bits_per_byte
    score = evaluation.evaluate(model, held)
    assert score.bits_per_byte == pytest.approx(expected, rel=0.003)
    assert score.bytes == held.bytes - len(held.text(0, 1))
    assert score.tokens == held.length - 1
    assert score.unknown == held.spelled(1).unknown
    assert score.perplexity == pytest.approx(
        math.exp((score.nats - held.spelled(1).nats) / score.tokens)
    )
    assert (score.unknown > 0) == (vocabulary == "words")
    (run / "raw.txt").write_bytes(held.document(0))
    raw, _ = evaluation.open_text(run / "raw.txt", model=model)
    again = evaluation.evaluate(model, raw)
    assert again.nats == pytest.approx(score.nats)
    for each in (score, evaluation.compare(model, raw, reset_every=20)):
        assert "unknown" in str(each)
        assert json.loads(each.to_json())["tokens"] == score.tokens
    assert evaluation.compressed(raw)["bz2"] == evaluation.compressed(held)["bz2"]


def test_the_first_logs_are_those_of_an_even_guess(tmp_path, text):
    """A model that begins with all symbols alike needs log(symbols) for each token."""
    loop.run(make(text, **{"data.vocabulary": "words", "optimizer.learning_rate": 1e-9}), tmp_path)
    train = Corpus.open(tmp_path / "corpus").split("train")
    spelled = train.spelled()
    guess = train.length * math.log(train.vocabulary.size) + spelled.nats
    expected = guess / train.bytes / math.log(2)
    assert logged(tmp_path, "train")[0]["bits_per_byte"] == pytest.approx(expected, rel=0.02)


def test_characters_that_are_bytes_train_as_bytes_do(tmp_path, text):
    ascii_text = tmp_path / "text.txt"
    ascii_text.write_bytes(text.read_bytes().replace("é".encode(), b"e"))
    found = {}
    for name, unseen in (("bytes", ""), ("characters", "bytes")):
        config = make(ascii_text, **{"data.vocabulary": name, "data.unseen": unseen})
        loop.run(config, tmp_path / name)
        found[name] = [
            {key: value for key, value in line.items() if key != "bytes_per_second"}
            for kind in ("train", "validation")
            for line in logged(tmp_path / name, kind)
        ]
    assert found["bytes"] == found["characters"]
    models = [mlstm.load(tmp_path / name) for name in found]
    scores = [
        evaluation.evaluate(model, evaluation.open_text(ascii_text, model=model)[0]).nats
        for model in models
    ]
    assert scores[0] == scores[1]


def test_a_population_reads_words(tmp_path, text):
    config = make(text, **{"data.vocabulary": "words", "seeds": 2})
    result = loop.run(config, tmp_path)
    held = Corpus.open(tmp_path / "corpus").split("validation")
    bits = [evaluation.evaluate(m, held).bits_per_byte for m in mlstm.load(tmp_path)]
    assert result.bits_per_byte == pytest.approx(np.mean(bits), rel=0.01)


def test_a_run_is_resumed_with_the_same_words_and_not_with_others(tmp_path, text):
    words = {"data.vocabulary": "words"}
    loop.run(make(text, **words), tmp_path)
    assert loop.run(make(text, **words, **{"train.steps": 12}), tmp_path).step == 12
    with pytest.raises(InputError, match="was prepared with the vocabulary words"):
        loop.run(make(text, **words, **{"data.minimum_count": 5}), tmp_path)


def test_the_number_of_symbols_is_the_texts_unless_another_is_asked_for(tmp_path, text):
    words = {"data.vocabulary": "words", "train.steps": 1}
    for number, asked in enumerate((0, 256)):
        loop.run(make(text, **words, **{"model.vocabulary": asked}), tmp_path / str(number))
        model = mlstm.load(tmp_path / str(number))
        assert model.config.vocabulary == model.vocabulary.size < 20
    with pytest.raises(InputError, match=r"model\.vocabulary is 99; .* needs 1\d: 0 takes what"):
        loop.run(make(text, **words, **{"model.vocabulary": 99}), tmp_path / "other")
    loop.run(make(text, **{"train.steps": 1}), tmp_path / "bytes")
    assert mlstm.load(tmp_path / "bytes").config.vocabulary == 256


def test_a_model_of_words_is_saved_with_them(tmp_path, text):
    loop.run(make(text, **{"data.vocabulary": "words", "train.steps": 1}), tmp_path / "run")
    model = mlstm.load(tmp_path / "run")
    mlstm.save(model, tmp_path / "m.safetensors")
    again = mlstm.load(tmp_path / "m.safetensors")
    assert again.vocabulary == model.vocabulary
    assert "café" in again.vocabulary.pieces


@pytest.mark.parametrize("form", ["glove", "word2vec", "binary", "gz"])
def test_words_begin_with_their_vectors(tmp_path, text, form):
    rows = {word: np.arange(8, dtype=np.float32) + n for n, word in enumerate(["cat", "café", "z"])}
    lines = [f"{word} {' '.join(map(str, row))}\n" for word, row in rows.items()]
    path = tmp_path / "vectors.txt"
    if form == "binary":
        path = tmp_path / "vectors.bin"
        packed = [w.encode() + b" " + struct.pack("<8f", *row) + b"\n" for w, row in rows.items()]
        path.write_bytes(b"3 8\n" + b"".join(packed))
    elif form == "gz":
        path = tmp_path / "vectors.txt.gz"
        path.write_bytes(gzip.compress("".join(lines).encode()))
    else:
        path.write_text(("3 8\n" if form == "word2vec" else "") + "".join(lines))
    given = {"data.vocabulary": "words", "train.steps": 4, "train.vectors": str(path)}
    frozen = {"train.freeze_embedding": True, "optimizer.weight_decay": 0.1}
    plain = {"data.vocabulary": "words", "train.steps": 4, "data.folder": str(tmp_path / "c")}
    loop.run(make(text, **plain, **frozen), tmp_path / "plain")
    loop.run(make(text, **(plain | given), **frozen), tmp_path / "frozen")
    models = [mlstm.load(tmp_path / name) for name in ("plain", "frozen")]
    without, table = (np.asarray(model.parameters["embedding"]) for model in models)
    ids = models[0].vocabulary.ids
    for word in ("cat", "café"):
        np.testing.assert_array_equal(table[ids[word]], rows[word])
    others = [k for word, k in ids.items() if word not in rows]
    np.testing.assert_array_equal(table[others], without[others])
    if form == "glove":
        loop.run(make(text, **(plain | given)), tmp_path / "free")
        free = np.asarray(mlstm.load(tmp_path / "free").parameters["embedding"])
        assert (free[ids["cat"]] != rows["cat"]).any()
        assert np.abs(free[ids["cat"]] - rows["cat"]).max() < 0.2
        seeds = make(text, **(plain | given), **frozen, seeds=2)
        loop.run(seeds, tmp_path / "two")
        for model in mlstm.load(tmp_path / "two"):
            np.testing.assert_array_equal(
                np.asarray(model.parameters["embedding"])[ids["cat"]], rows["cat"]
            )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"the 1 2\n", "v.txt:1: the vectors have 2 dimensions, and config.model.embedding is 3"),
        (b"5 4\nthe 1 2 3 4\n", "v.txt:1: the vectors have 4 dimensions"),
        (b"a 1 2 3\nthe 1 2\n", "v.txt:2: 2 numbers behind 'the', where 3 are wanted"),
        (b"a 1 2 3\nthe 1 2 3 4\n", "v.txt:2: 4 numbers behind 'the'"),
        (b"the 1 x 3\n", "v.txt:1: the vector of 'the' has something that is no number"),
        (b"the 1 inf 3\n", "v.txt:1: the vector of 'the' has a number that is not finite"),
        (b"\x00" * (3 << 20), "no end of it within"),
    ],
)
def test_damaged_vectors_are_one_clear_line(tmp_path, content, says):
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(InputError) as caught:
        vectors.read(tmp_path / "v.txt", [b"the"], 3)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_vectors_that_are_cut_short_are_named(tmp_path):
    whole = b"2 3\n" + b"".join(w + struct.pack("<3f", 1, 2, 3) for w in (b"a ", b"the "))
    for size in range(len(whole)):
        (tmp_path / "v.bin").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"v\.bin:\d"):
            vectors.read(tmp_path / "v.bin", [b"the"], 3)
    (tmp_path / "v.bin").write_bytes(whole)
    assert vectors.read(tmp_path / "v.bin", [b"the"], 3)[b"the"].tolist() == [1, 2, 3]


def test_vectors_that_have_no_use_are_refused(tmp_path, text):
    (tmp_path / "v.txt").write_text("zebra 1 2 3 4 5 6 7 8\n")
    given = {"train.vectors": os.fspath(tmp_path / "v.txt")}
    with pytest.raises(InputError, match=r"none of the 1\d words of the vocabulary is in it"):
        loop.run(make(text, **given, **{"data.vocabulary": "words"}), tmp_path / "run")
    with pytest.raises(InputError, match="vectors are of words"):
        loop.run(make(text, **given), tmp_path / "bytes")
    with pytest.raises(InputError, match="need an embedding"):
        make(text, **given, **{"model.embedding": 0})


def test_what_is_unseen_may_be_refused_in_held_out_text(tmp_path, text):
    given = {"data.vocabulary": "words", "data.unseen": "refuse", "data.minimum_count": 1}
    with pytest.raises(InputError, match=r"text\.txt.*: 'x\d+' at byte \d+ is not in the vocab"):
        loop.run(make(text, **given), tmp_path / "run")
    assert FitWords(minimum=1, unseen="refuse") == make(text, **given).data.fit()
