"""States at every position of many texts, at full batches and one compiled shape.

Texts of any lengths are laid end to end on a few parallel streams; the state is reset inside the
loop where a text begins. What is compiled depends on the number of streams and the window alone.
"""

# B streams, T steps of a window, H hidden

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from mlstm.model import language_model, on_mesh
from mlstm.model.edits import Edits, resolve


class Window(NamedTuple):
    """T steps of B streams. Cells that hold no text have `text` -1 and meaningless states."""

    states: Mapping[str, jax.Array]  # site name -> (T, B, H), on the device
    text: np.ndarray  # (T, B) int32: which text
    position: np.ndarray  # (T, B) int32: which id of it; its state is the one after this id


def plan(lengths: Sequence[int], streams: int) -> list[list[int]]:
    """Which texts each stream reads, in order: longest first, each to the emptiest stream.

    Graham's rule: the fullest stream is at most 4/3 of the best possible. Texts of length 0 are
    left out.
    """
    order = sorted((i for i, n in enumerate(lengths) if n), key=lambda i: (-lengths[i], i))
    assigned: list[list[int]] = [[] for _ in range(streams)]
    loads = [(0, stream) for stream in range(streams)]
    for text in order:
        load, stream = loads[0]
        assigned[stream].append(text)
        heapq.heapreplace(loads, (load + lengths[text], stream))
    return assigned


def windows_needed(lengths: Sequence[int], streams: int, window: int) -> int:
    """How many windows the fullest stream of `plan` takes."""
    loads = [sum(lengths[i] for i in texts) for texts in plan(lengths, streams)]
    return -(-max(loads) // window)


def useful_share(lengths: Sequence[int], streams: int, window: int) -> float:
    """The share of the computed cells that hold an id of a text; 1 where there is no text."""
    cells = windows_needed(lengths, streams, window) * window * streams
    return sum(lengths) / cells if cells else 1.0


def choose_streams(
    lengths: Sequence[int], window: int, largest: int = 64, mesh: Mesh | None = None
) -> int:
    """The number of streams at which these texts should take least time: a power of two, up to
    `largest`, for each group of devices that the mesh splits them over.

    A step costs about as much as its rows plus 16: below that, reading the weights dominates
    (measured on CPU, 256 units). One long text makes many streams wait for it.
    """
    groups = mesh.shape["data"] if mesh else 1
    each = [1 << k for k in range(largest.bit_length()) if 1 << k <= largest]
    rows = min(each, key=lambda b: (windows_needed(lengths, b * groups, window) * (b + 16), b))
    return rows * groups


class Feed(NamedTuple):
    """What one window feeds to the model; every array is (T, B)."""

    ids: np.ndarray  # int32
    mask: np.ndarray  # bool: False where a stream has no text left
    resets: np.ndarray  # bool: True at the first id of a text
    text: np.ndarray  # int32
    position: np.ndarray  # int32


def feeds(texts: Sequence[np.ndarray], streams: int, window: int) -> Iterator[Feed]:
    """The windows of the packed streams: every id of every text once, in order."""
    assigned = plan([len(text) for text in texts], streams)
    place = [(0, 0)] * streams  # of each stream: which of its texts, where in it
    while any(place[b][0] < len(assigned[b]) for b in range(streams)):
        shape = (window, streams)
        feed = Feed(
            np.zeros(shape, np.int32),
            np.zeros(shape, bool),
            np.zeros(shape, bool),
            np.full(shape, -1, np.int32),
            np.zeros(shape, np.int32),
        )
        for b in range(streams):
            nth, start = place[b]
            row = 0
            while row < window and nth < len(assigned[b]):
                text = assigned[b][nth]
                ids = texts[text]
                count = min(window - row, len(ids) - start)
                rows = slice(row, row + count)
                feed.ids[rows, b] = ids[start : start + count]
                feed.mask[rows, b] = True
                feed.resets[row, b] = start == 0
                feed.text[rows, b] = text
                feed.position[rows, b] = np.arange(start, start + count)
                row, start = row + count, start + count
                if start == len(ids):
                    nth, start = nth + 1, 0
            place[b] = nth, start
        yield feed


@partial(jax.jit, static_argnames=("config", "sites", "mesh"))
def _window(config, parameters, feed, state, edits, sites, mesh):
    output = language_model.forward(
        config,
        parameters,
        feed["ids"],
        state,
        mask=feed["mask"],
        resets=feed["resets"],
        edits=resolve(edits, feed["steps"]),
        emit=sites,
        placement=on_mesh.placement(mesh),
    )
    return output.emitted, on_mesh.carried(mesh, output.state)


def stream_states(
    config: language_model.ModelConfig,
    parameters,
    texts: Sequence[np.ndarray],
    sites: Sequence[str],
    *,
    streams: int = 32,
    window: int = 128,
    edits: Edits | None = None,
    mesh: Mesh | None = None,
) -> Iterator[Window]:
    """Run texts through the model and yield the states of `sites`, window by window.

    texts: arrays of ids, each of any length; each starts from the zero state.
    edits: what `mlstm.model.edits.make_edits` returns.
    mesh: what `mlstm.devices.mesh` returns: streams are split over `data`, hidden units over
        `model`. Streams that it does not divide get others beside them that hold no text. In a job
        of several processes each gives the same texts and computes its own streams; what it reads
        of the states on its host it reads with `devices.fetch`.

    Every id of every text appears exactly once in the windows. Texts, their number and lengths
    never recompile; another `streams`, `window`, set of sites, mesh or kind of edits does.
    Raises InputError where the mesh does not divide the hidden units.
    """
    width = on_mesh.padded(mesh, streams)
    beside = ((0, 0), (0, width - streams))
    arrays = edits.arrays if edits else None
    parameters, state, arrays = on_mesh.begin(mesh, config, parameters, arrays, width)
    for feed in feeds(texts, streams, window):
        steps = edits.steps(feed.text, feed.position) if edits else {}
        given = {"ids": feed.ids, "mask": feed.mask, "resets": feed.resets, "steps": steps}
        given = on_mesh.place(mesh, given, width)
        states, state = _window(config, parameters, given, state, arrays, tuple(sites), mesh)
        text = np.pad(feed.text, beside, constant_values=-1)
        yield Window(states, text, np.pad(feed.position, beside))
