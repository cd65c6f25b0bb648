"""Truncated-BPTT windows over a split: a batch is a pure function of (epoch, window).

B streams, T time (ids of a window).
"""

import contextlib
import queue
import threading
import weakref
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mlstm.corpus.reading import Split
from mlstm.errors import InputError


class Batch(NamedTuple):
    """One window of every stream, time-major.

    ids, targets: int32 (T, B), targets[t] is what follows ids[t]; weights: float32 (T, B), 1 where
    the target counts, else 0; resets: bool (T, B), True where the state is reset before the id is
    read. Past the end of a stream ids, targets and weights are 0.
    """

    ids: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    resets: np.ndarray


class Stream:
    """B contiguous pieces of a split, read side by side in windows of T ids.

    Piece b is ids [b n // B, (b + 1) n // B); window w is its columns [w T, w T + T). The last
    window is masked by weights, never dropped. Without `context` every id but the first of each
    piece is a target exactly once an epoch. With `context` = C, for evaluation, each piece is
    preceded by up to C ids of the text before it, fed at weight 0, and every id but the very
    first of the split is a target exactly once, at states warmed up by C ids.

    .windows and .targets are counts per epoch; .window_bytes is B T.
    """

    def __init__(self, split: Split, batch: int, window: int, context: int = 0):
        if batch < 1 or window < 1 or context < 0:
            raise InputError(
                f"batch {batch}, window {window} and context {context} must be at least 1, 1 and 0"
            )
        least = max(2, batch) if context else batch * (window + 1)
        if split.length < least:
            raise InputError(
                f"the {split.name} split has {split.length} ids, fewer than the {least} that "
                f"batch {batch} x window {window} needs; make these smaller or give more text"
            )
        self.split, self.batch_size, self.window, self.context = split, batch, window, context
        borders = [piece * split.length // batch for piece in range(batch + 1)]
        piece_B = np.array(borders[:-1], np.int64)
        self._begin_B = np.maximum(piece_B - context, 0)
        self._inputs_B = np.array(borders[1:], np.int64) - 1 - self._begin_B
        # The last id of the context already has the piece's first id as its target.
        self._unweighted_B = np.maximum(piece_B - 1 - self._begin_B, 0)
        self._points = split.reset_points
        self._whole_from = int(self._unweighted_B.max())
        self._whole_to = int(self._inputs_B.min())
        self.windows = max(1, -(-int(self._inputs_B.max()) // window))
        self.window_bytes = batch * window
        self.targets = int((self._inputs_B - self._unweighted_B).sum())

    def batch(self, epoch: int, window: int, rows: slice | None = None) -> Batch:
        """The window's batch; `rows` keeps these streams alone. Epochs are alike so far.

        Raises IndexError where there is no such window.
        """
        if epoch < 0 or not 0 <= window < self.windows:
            raise IndexError(f"epoch {epoch}, window {window}: there are {self.windows} windows")
        rows = rows or slice(None)
        T, column = self.window, window * self.window
        first_B = self._begin_B[rows] + column
        past_TB = None
        weights_TB = np.ones((T, len(first_B)), np.float32)
        if self._whole_from <= column <= self._whole_to - T:  # nothing to mask: nearly always
            stop_B = first_B + T
            block_BT = self.split.rows(first_B, T + 1)
        else:
            # How many of the window's T inputs there are before the stream ends.
            count_B = np.clip(self._inputs_B[rows] - column, 0, T)
            stop_B = first_B + count_B
            block_BT = self._padded(first_B, count_B)
            time_T1 = np.arange(T)[:, None]
            before_B = self._unweighted_B[rows] - column
            past_TB = time_T1 >= count_B
            weights_TB[(time_T1 < before_B) | past_TB] = 0
        block_TB = block_BT.T.astype(np.int32, order="C")
        ids_TB = block_TB[:-1]
        if past_TB is not None:  # a stream's last target is not one of its inputs
            ids_TB = np.where(past_TB, np.int32(0), ids_TB)
        resets_TB = self._resets(first_B, stop_B)
        if window == 0:
            resets_TB[0] = stop_B > first_B
        return Batch(ids_TB, block_TB[1:], weights_TB, resets_TB)

    def _padded(self, first_B: np.ndarray, count_B: np.ndarray) -> np.ndarray:
        """(B, T + 1): the inputs of each stream and, one later, their targets; then zeros."""
        block_BT = np.zeros((len(first_B), self.window + 1), self.split.vocabulary.dtype)
        for row, (first, count) in enumerate(zip(first_B, count_B, strict=True)):
            if count:
                block_BT[row, : count + 1] = self.split.read(int(first), int(first + count) + 1)
        return block_BT

    def _resets(self, first_B: np.ndarray, stop_B: np.ndarray) -> np.ndarray:
        """(T, B): where reset points lie in [first, stop)."""
        resets_TB = np.zeros((self.window, len(first_B)), bool)
        low_B, high_B = np.searchsorted(self._points, np.stack([first_B, stop_B]))
        (row,) = np.nonzero(high_B > low_B)
        while len(row):  # as often as the most documents that start in one window of one stream
            resets_TB[self._points[low_B[row]] - first_B[row], row] = True
            low_B[row] += 1
            row = row[low_B[row] < high_B[row]]
        return resets_TB


class Prefetcher:
    """Iterates over ((epoch, window), Batch); close it, or use it in a with statement."""

    def __init__(self, stream: Stream, epoch: int, window: int, rows: slice | None, depth: int):
        self._queue: queue.Queue = queue.Queue(max(1, depth))
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_produce,
            args=(stream, epoch, window, rows, self._queue, self._stop),
            name="mlstm-prefetch",
            daemon=True,
        )
        self._thread.start()
        weakref.finalize(self, self._stop.set)

    def __iter__(self) -> Iterator[tuple[tuple[int, int], Batch]]:
        return self

    def __next__(self) -> tuple[tuple[int, int], Batch]:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                item = self._queue.get(timeout=1)
                if isinstance(item, BaseException):
                    self.close()
                    raise item
                return item
        raise StopIteration

    def close(self) -> None:
        """Stops and joins the thread; iteration ends."""
        self._stop.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._thread.join()

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def prefetch(
    stream: Stream, epoch: int, window: int, *, rows: slice | None = None, depth: int = 4
) -> Prefetcher:
    """Batches from (epoch, window) on, epoch after epoch, made ahead by one background thread.

    An error in the thread is raised in the consumer. `rows`: the streams of this process.
    """
    return Prefetcher(stream, epoch, window, rows, depth)


def _produce(stream, epoch, window, rows, ready: queue.Queue, stop: threading.Event) -> None:
    """Holds no reference to the Prefetcher, so that a forgotten one is collected and stops it."""
    try:
        while not stop.is_set():
            _put(((epoch, window), stream.batch(epoch, window, rows)), ready, stop)
            window += 1
            if window >= stream.windows:
                epoch, window = epoch + 1, 0
    except BaseException as error:
        _put(error, ready, stop)


def _put(item, ready: queue.Queue, stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(item, timeout=0.1)
            return
