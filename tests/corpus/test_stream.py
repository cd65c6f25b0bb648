import gc
import threading
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlstm.corpus.shards import prepare
from mlstm.corpus.sources import Document
from mlstm.corpus.stream import Stream, prefetch
from mlstm.errors import InputError


def make_split(folder, lengths, shard_bytes=1 << 20, reset="document"):
    """Documents of the given lengths, of random bytes."""
    rng = np.random.default_rng(len(lengths))
    documents = [Document(f"d{n}", rng.bytes(length), "train") for n, length in enumerate(lengths)]
    corpus = prepare(documents, folder / "corpus", shard_bytes=shard_bytes, reset=reset)
    return corpus.split("train")


@pytest.fixture
def split(tmp_path):
    return make_split(tmp_path, [300, 1, 1, 500, 200])


@st.composite
def cases(draw, context):
    batch, window = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    least = max(2, batch) if context else batch * (window + 1)
    lengths = draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    lengths.append(draw(st.integers(max(1, least - sum(lengths)), least + 20)))
    return SimpleNamespace(
        lengths=lengths,
        batch=batch,
        window=window,
        context=draw(st.integers(1, 40)) if context else 0,
        shard_bytes=draw(st.sampled_from([11, 33, 1000])),
    )


def epoch(stream):
    """Every batch of an epoch joined in time: ids, targets, weights, resets: (windows T, B)."""
    batches = [stream.batch(0, window) for window in range(stream.windows)]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def make_stream(tmp_path_factory, case):
    split = make_split(tmp_path_factory.mktemp("s"), case.lengths, case.shard_bytes)
    return split, Stream(split, case.batch, case.window, case.context)


@settings(max_examples=40, deadline=None)
@given(cases(context=False))
def test_the_windows_of_a_stream_joined_are_its_piece_of_the_split(tmp_path_factory, case):
    split, stream = make_stream(tmp_path_factory, case)
    ids, targets, weights, _ = epoch(stream)
    for b in range(case.batch):
        piece = split.read(b * split.length // case.batch, (b + 1) * split.length // case.batch)
        counted = weights[:, b] > 0
        assert counted[: len(piece) - 1].all()
        assert not counted[len(piece) - 1 :].any()
        assert np.array_equal(ids[counted, b], piece[:-1])
        assert np.array_equal(targets[counted, b], piece[1:])


@settings(max_examples=40, deadline=None)
@given(cases(context=True))
def test_with_context_every_id_but_the_first_is_a_target_once(tmp_path_factory, case):
    split, stream = make_stream(tmp_path_factory, case)
    text = split.read(0, split.length)
    ids, targets, weights, _ = epoch(stream)
    times_a_target = Counter()
    for b in range(case.batch):
        first = b * split.length // case.batch
        before = min(case.context, first)
        fed = (b + 1) * split.length // case.batch - 1 - (first - before)
        assert np.array_equal(ids[:fed, b], text[first - before :][:fed])
        for t in np.flatnonzero(weights[:, b]):
            position = first - before + t + 1
            assert targets[t, b] == text[position]
            assert t >= before - 1, "a target of the context was counted"
            times_a_target[position] += 1
    assert times_a_target == Counter(range(1, split.length))
    assert stream.targets == split.length - 1


@settings(max_examples=40, deadline=None)
@given(cases(context=False) | cases(context=True))
def test_state_is_reset_where_a_stream_or_a_document_begins_and_nowhere_else(
    tmp_path_factory, case
):
    split, stream = make_stream(tmp_path_factory, case)
    starts = set(np.cumsum([0, *case.lengths])[:-1].tolist())
    *_, resets = epoch(stream)
    for b in range(case.batch):
        piece = b * split.length // case.batch
        first = piece - min(case.context, piece)
        fed = (b + 1) * split.length // case.batch - 1 - first
        expected = [t < fed and (t == 0 or first + t in starts) for t in range(len(resets))]
        assert resets[:, b].tolist() == expected


@settings(max_examples=40, deadline=None)
@given(cases(context=False) | cases(context=True))
def test_all_batches_have_one_shape_and_type_and_zeros_past_the_end(tmp_path_factory, case):
    _, stream = make_stream(tmp_path_factory, case)
    shape = (case.window, case.batch)
    for window in range(stream.windows):
        batch = stream.batch(0, window)
        assert [part.shape for part in batch] == [shape] * 4
        assert [part.dtype for part in batch] == [np.int32, np.int32, np.float32, np.bool_]
    ids, targets, weights, _ = epoch(stream)
    for b in range(case.batch):
        end = int(np.flatnonzero(weights[:, b])[-1]) + 1 if weights[:, b].any() else len(ids)
        assert not targets[end:, b].any()
        assert not ids[end:, b].any()


def test_rows_are_the_same_streams_of_the_whole_batch(split):
    stream = Stream(split, 6, 16)
    for window in range(stream.windows):
        whole, part = stream.batch(0, window), stream.batch(0, window, slice(2, 5))
        for ours, all_of_them in zip(part, whole, strict=True):
            assert np.array_equal(ours, all_of_them[:, 2:5])


def test_resets_follow_the_shards_where_the_manifest_says_so(tmp_path):
    split = make_split(tmp_path, [30, 30, 40], shard_bytes=45, reset="shard")
    *_, resets = epoch(Stream(split, 1, 9))
    assert np.flatnonzero(resets).tolist() == [0, 45, 90]


def test_the_counts_of_an_epoch_are_exact(split):
    stream = Stream(split, 7, 16)
    assert (stream.windows, stream.window_bytes, stream.targets) == (9, 112, 1002 - 7)
    assert epoch(stream)[2].sum() == stream.targets


def test_a_window_that_is_not_there_is_an_index_error(split):
    stream = Stream(split, 7, 16)
    for position in [(0, 9), (0, -1), (-1, 0)]:
        with pytest.raises(IndexError):
            stream.batch(*position)


def test_a_text_shorter_than_one_window_says_how_much_is_needed(split):
    with pytest.raises(InputError, match="1002 ids, fewer than the 1040"):
        Stream(split, 8, 129)
    Stream(split, 8, 124)


@pytest.mark.parametrize("shape", [(0, 8, 0), (8, 0, 0), (8, 8, -1)])
def test_shapes_below_one_are_refused(split, shape):
    with pytest.raises(InputError, match="at least 1"):
        Stream(split, *shape)


def test_prefetching_gives_the_batches_in_order_over_the_end_of_an_epoch(split):
    stream = Stream(split, 7, 16)
    expected = [(e, w) for e in range(3) for w in range(9)]
    with prefetch(stream, 0, 0) as batches:
        for position in expected:
            found, batch = next(batches)
            assert found == position
            for ours, direct in zip(batch, stream.batch(*position), strict=True):
                assert np.array_equal(ours, direct)


def test_prefetching_from_a_position_goes_on_as_if_never_stopped(split):
    stream = Stream(split, 7, 16)
    with prefetch(stream, 0, 0) as whole, prefetch(stream, 1, 4) as resumed:
        for _ in range(13):
            next(whole)
        for _ in range(20):
            (a, left), (b, right) = next(whole), next(resumed)
            assert a == b
            assert all(np.array_equal(x, y) for x, y in zip(left, right, strict=True))


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "mlstm-prefetch"]


def test_an_error_while_prefetching_is_raised_where_the_batch_is_wanted(split):
    stream = Stream(split, 7, 16)
    with prefetch(stream, 0, 100) as batches:
        with pytest.raises(IndexError, match="window 100"):
            next(batches)
        with pytest.raises(StopIteration):
            next(batches)
    assert not threads()


def test_batches_made_before_an_error_still_come(split):
    stream = Stream(split, 7, 16)
    direct = stream.batch

    def broken(epoch, window, rows=None):
        if window == 3:
            raise OSError("disk gone")
        return direct(epoch, window, rows)

    stream.batch = broken
    with prefetch(stream, 0, 0, depth=2) as batches:
        assert [next(batches)[0][1] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="disk gone"):
            next(batches)


def test_closing_stops_the_thread_even_when_its_queue_is_full(split):
    batches = prefetch(Stream(split, 7, 16), 0, 0, depth=1)
    next(batches)
    batches.close()
    batches.close()
    assert not threads()


def test_a_forgotten_prefetcher_stops_its_thread(split):
    batches = prefetch(Stream(split, 7, 16), 0, 0)
    next(batches)
    del batches
    gc.collect()
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not threads()


def test_a_stream_without_any_input_is_all_zeros(tmp_path):
    stream = Stream(make_split(tmp_path, [3]), 3, 4, context=2)
    batch = stream.batch(0, 0)
    assert not any(part[:, 0].any() for part in batch)
    assert batch.weights.sum() == 2
