import dataclasses
import tracemalloc

import jax
import numpy as np
import pytest

import probing
from mlstm.corpus.vocabulary import amino_acids
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.sites import parse_neuron
from mlstm.trained import Model
from probing.states import activations
from probing.states.activations import sample, stream
from probing.tasks import LabelledData, LabelledDocument, Labels, every_byte, stored

UNITS = 16


@pytest.fixture(scope="module")
def words() -> LabelledData:
    """Documents of words; each word's last byte is labelled twice: long word, and its length."""
    draw = np.random.default_rng(3)
    documents = []
    for k in range(30):
        lengths = draw.integers(1, 9, 3 + 7 * k)
        ends = np.cumsum(lengths + 1) - 1
        data = b" ".join(bytes(draw.choice(list(b"ab12"), n).tolist()) for n in lengths)
        labels = Labels(
            (ends - 1).astype(np.int32),
            (ends - lengths).astype(np.int32),
            ends.astype(np.int32),
            np.stack([lengths > 4, lengths <= 4], 1),
            lengths[:, None].astype(np.float32),
        )
        documents.append(LabelledDocument(f"w{k}", data, stored(labels)))
    return LabelledData(
        "words", "drawn", "token", ("long", "short"), ("length",), tuple(documents), exclusive=True
    )


@pytest.fixture(scope="module")
def truth(planted, words):
    """The states after each byte of each document, by a run of their own."""
    neurons = [parse_neuron(f"0.c[{k}]") for k in range(UNITS)]
    return activations.traces(planted, [d.data for d in words.documents], neurons)


def test_each_labelled_position_comes_once_with_its_state_and_labels(planted, words, truth):
    seen = []
    sizes = set()
    for window in stream(planted, words, ("0.c",)):
        sizes.add(len(window.split))
        states = np.asarray(window.states["0.c"])
        for row in np.flatnonzero(window.document >= 0):
            i, place = window.document[row], window.position[row]
            labels = words.labels(i)
            k = np.flatnonzero(labels.positions == place)[0]
            np.testing.assert_allclose(states[row], truth[i][place], atol=1e-5)
            assert (window.classes[row] == labels.classes[k]).all()
            assert (window.numbers[row] == labels.numbers[k]).all()
            assert window.split[row] == words.splits[i]
            assert window.fold[row] == words.folds(activations.FOLDS)[i]
            seen.append((i, place))
        assert (window.split[window.document < 0] == -1).all()
    assert len(seen) == len(set(seen)) == words.counts.sum()
    assert len(sizes) <= 3


def test_slots_are_train_dev_and_the_folds_of_test(planted, words):
    window = next(stream(planted, words, ("0.c",), folds=3))
    expected = {-1: lambda f: -1, 0: lambda f: 0, 1: lambda f: 1, 2: lambda f: 2 + f}
    for split, fold, slot in zip(window.split, window.fold, window.slots(3), strict=True):
        assert slot == expected[int(split)](fold)


def test_labels_of_the_same_byte_are_rows_of_their_own(planted, words):
    twice = [
        dataclasses.replace(d, read=stored(Labels(*(np.repeat(a, 2, 0) for a in d.read()))))
        for d in words.documents
    ]
    data = dataclasses.replace(words, documents=tuple(twice))
    rows = sum((w.document >= 0).sum() for w in stream(planted, data, ("0.c",)))
    assert rows == 2 * words.counts.sum()


def test_labels_are_read_once_when_the_stream_arrives_and_dropped_at_the_end(planted):
    live, most, reads = 0, 0, 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal live
            if self.base is not None and self.shape == (SIZE, 1):
                live -= 1

    SIZE = 2000

    def read() -> Labels:
        nonlocal live, most, reads
        live, reads = live + 1, reads + 1
        most = max(most, live)
        labels = every_byte(np.zeros((SIZE, 1)), np.zeros((SIZE, 0)))
        classes = np.zeros((SIZE, 1), bool).view(Counted)
        return labels._replace(classes=classes)

    documents = tuple(LabelledDocument(str(k), b"x" * SIZE, read) for k in range(200))
    data = LabelledData("t", "here", "byte", ("x",), (), documents)
    for _ in stream(planted, data, ("0.c",)):
        pass
    assert reads == 200
    assert most <= 2 * 64  # a window holds the end of one and the beginning of the next
    assert live <= 1


@pytest.mark.slow
def test_8_mb_of_text_need_no_more_memory_than_2_mb(planted):
    def read() -> Labels:
        return every_byte(np.zeros((20000, 10)), np.zeros((20000, 4)))

    def peak(count: int) -> int:
        documents = tuple(LabelledDocument(str(k), b"x" * 20000, read) for k in range(count))
        data = LabelledData("t", "here", "byte", tuple("abcdefghij"), tuple("klmn"), documents)
        tracemalloc.start()
        for _ in stream(planted, data, ("0.c",)):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(400) - peak(100) < 20e6


def test_the_pilot_of_sparse_labels_is_of_labelled_positions(planted, words, truth):
    pilot = sample(planted, words, ("0.c",))["0.c"]
    every = np.concatenate(
        [truth[i][words.labels(i).positions] for i in range(len(words.documents))]
    )
    assert pilot.shape == every.shape
    np.testing.assert_allclose(np.sort(pilot, 0), np.sort(every, 0), atol=1e-5)


def test_the_pilot_of_labelled_positions_is_thinned_and_of_all_splits(planted, words, monkeypatch):
    monkeypatch.setattr(activations, "PILOT_BYTES", words.bytes // 2)
    labelled = sum(len(labels.positions) for labels in map(words.labels, range(30)))
    pilot = sample(planted, words, ("0.c",), rows=100)["0.c"]
    assert labelled > 1000
    assert 60 <= len(pilot) <= 101
    read = set()

    def watched(*args, documents, **more):
        read.update(documents.tolist())
        return stream(*args, documents=documents, **more)

    monkeypatch.setattr(activations, "stream", watched)
    sample(planted, words, ("0.c",))
    assert set(words.splits[sorted(read)].tolist()) == {0, 1, 2}


def test_a_model_whose_states_are_not_finite_is_not_scored(planted, digits):
    broken = jax.tree.map(lambda x: np.full_like(x, np.nan), planted.parameters)
    model = dataclasses.replace(planted, parameters=broken)
    with pytest.raises(InputError, match=r"the states of 0\.c are not finite"):
        probing.score_neurons(model, digits)


def test_documents_may_have_names_that_are_no_utf8(digits):
    named = dataclasses.replace(digits.documents[0], name="caf\udce9.py")
    assert len(dataclasses.replace(digits, documents=(named,)).digest) == 64


def test_arrays_are_the_states_of_a_split_in_document_order(planted, words, truth):
    for split in ("train", "dev", "test"):
        x, y, groups = probing.arrays(planted, words, "0.c", split, "length")
        here = words.indices(split)
        np.testing.assert_allclose(
            x, np.concatenate([truth[i][words.labels(i).positions] for i in here]), atol=1e-5
        )
        assert (y == np.concatenate([words.labels(i).numbers[:, 0] for i in here])).all()
        assert (groups == np.repeat(words.hashes[here], words.counts[here])).all()
        assert x.nbytes == probing.arrays_nbytes(planted, words, split)
    assert set(probing.arrays(planted, words, "0.c").y) == {"long", "short"}


def test_mean_pooling_is_the_mean_over_the_span(planted, words, truth):
    x, _, _ = probing.arrays(planted, words, "0.c", "test", "long", pooling="mean")
    expected = []
    for i in words.indices("test"):
        labels = words.labels(i)
        expected += [truth[i][a:b].mean(0) for a, b in zip(labels.starts, labels.ends, strict=True)]
    np.testing.assert_allclose(x, expected, atol=1e-5)


def test_about_as_many_rows_as_are_asked_for_come_from_whole_documents_by_the_seed(planted, words):
    drawn = [probing.arrays(planted, words, "0.c", "train", rows=300, seed=s) for s in (0, 0, 1)]
    largest = words.counts.max()
    for part in drawn:
        assert 300 <= len(part.x) < 300 + largest
        for group in set(part.groups.tolist()):
            assert (part.groups == group).sum() == words.counts[words.hashes == group].sum()
    assert (drawn[0].groups == drawn[1].groups).all()
    assert set(drawn[0].groups.tolist()) != set(drawn[2].groups.tolist())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"split": "valid"}, "train, dev, test"),
        ({"pooling": "max"}, "position, mean"),
        ({"concept": "no"}, "long, short, length"),
        ({"site": "0.q"}, "0.c"),
    ],
)
def test_what_arrays_cannot_give_is_refused_with_what_there_is(planted, words, given, says):
    with pytest.raises(InputError, match=says):
        probing.arrays(planted, words, **{"site": "0.c", **given})


def test_a_document_that_the_vocabulary_cannot_read_is_named(tmp_path):
    for name, text in (("good", b"MKV"), ("bad", b"MKV?")):
        (tmp_path / f"{name}.txt").write_bytes(text * 9)
    config = language_model.ModelConfig(vocabulary=26, embedding=2, hidden=4)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    proteins = Model(config, parameters, amino_acids())
    with pytest.raises(InputError, match=r"document bad\.txt: b'\?' at byte 3 is no symbol"):
        sample(proteins, probing.tasks.text_position(tmp_path), ["0.c"])
