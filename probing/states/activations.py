"""Run labelled documents through a model and stream the states, window by window; store nothing.

On a mesh of devices the model reads on all of them, each group its own streams, and the labelled
rows of a window are then brought together on one device of each process: whatever is fed with them
is the same code with the same rows, and all processes of a job end with the same result, to the
bit. What is read together differs with the mesh, and with it rounding. To divide the sums as well
would save their time and cost a merge of every kind of accumulator; the model is what takes long.
"""

# B streams, T steps of a window, H hidden, N rows (labelled positions, padded), K classes,
# M numbers

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from mlstm import devices
from mlstm.model import encoding, sites
from mlstm.trained import Model
from probing.states.gathering import Whole, rows_of
from probing.states.ids import Text, read, text_of
from probing.tasks.labelled import SPLITS, LabelledData, Labels

WINDOW = 128
FOLDS = 8
"""Of the documents of each split: what intervals and cross-validation leave out."""
PIECE = 256  # bytes
PILOT_BYTES = 1 << 18
SMALLEST = 64  # rows: capacities are this times a power of 4, up to the cells of a window


class LabelledWindow(NamedTuple):
    """The states of one window, and those at its labelled positions beside their labels.

    A row without a label has split, fold and document -1.
    """

    states: dict[str, jax.Array]  # site name -> (N, H), on one device
    split: np.ndarray  # (N,) int32: place in SPLITS
    fold: np.ndarray  # (N,) int32: within the split, in [0, folds)
    document: np.ndarray  # (N,) int32
    position: np.ndarray  # (N,) int32: the byte after which the state is read
    classes: np.ndarray  # (N, K) bool
    numbers: np.ndarray  # (N, M) float32
    every: encoding.Window  # all cells, (T, B, H), in the order in which they are read
    places: (
        np.ndarray
    )  # (T, B) int32: the byte after which each of these cells is, its token's last
    bytes: int  # how many are read in it

    def slots(self, folds: int = FOLDS) -> np.ndarray:
        """(N,) int32: 0 train, 1 dev, 2 and more the folds of test; -1 a row without a label."""
        test = SPLITS.index("test")
        return np.where(self.split == test, test + self.fold, self.split).astype(np.int32)


def check_sites(model: Model, wanted: str | Sequence[str] | None) -> tuple[str, ...]:
    """As `mlstm.model.sites.check_sites`, each site once."""
    return tuple(dict.fromkeys(sites.check_sites(model.config, wanted)))


def stream(
    model: Model,
    data: LabelledData,
    names: Sequence[str],
    *,
    documents: Sequence[int] | np.ndarray | None = None,
    folds: int = FOLDS,
    streams: int | None = None,
    mesh: Mesh | None = None,
) -> Iterator[LabelledWindow]:
    """Every labelled position of every document once, each document from the zero state.

    documents: which of data.documents; all if None.
    streams: how many are read side by side; as many as should be fastest if None.
    mesh: what `mlstm.devices.mesh` returns. All processes of a job give the same data and read
        all windows; each has all rows.

    The labels of a document are made when the stream reaches it and dropped when it ends. A byte
    with two labels gives two rows. N takes a few sizes only, so that what is compiled for it is
    compiled a few times.
    """
    chosen = np.arange(len(data.documents)) if documents is None else np.asarray(documents)
    texts = {int(i): text_of(model, data, int(i)) for i in chosen}
    ids = [text.ids for text in texts.values()]
    if streams is None:
        streams = encoding.choose_streams([len(text) for text in ids], WINDOW, mesh=mesh)
    splits, fold_of = data.splits, data.folds(folds)
    open_labels: dict[int, Labels] = {}
    capacity = 0
    for window in encoding.stream_states(
        model.config, model.parameters, ids, names, streams=streams, window=WINDOW, mesh=mesh
    ):
        spread, text = window.states, window.text[:, :streams]
        numbered = np.where(text < 0, -1, chosen[text]).astype(np.int32)
        every = Whole(spread, streams) if mesh else spread
        window = encoding.Window(every, numbered, window.position[:, :streams])
        places, passed = window.position, int(np.count_nonzero(window.text >= 0))
        if not model.vocabulary.bytewise:
            places, passed = _places(window, texts)
        found = _rows(window, data, texts, open_labels)
        cells = window.text.size
        capacity = max(capacity, _capacity(len(found.cell), cells))
        apart = len(found.cell) < 2 or (np.diff(np.sort(found.cell)) > 0).all()
        place = found.cell if capacity == cells and apart else np.arange(len(found.cell))
        split, fold, document, position = (np.full(capacity, -1, np.int32) for _ in range(4))
        classes = np.zeros((capacity, len(data.classes)), bool)
        numbers = np.zeros((capacity, len(data.numbers)), np.float32)
        split[place], fold[place] = splits[found.document], fold_of[found.document]
        document[place], position[place] = found.document, found.position
        classes[place], numbers[place] = found.classes, found.numbers
        cell = np.arange(capacity) if place is found.cell else np.zeros(capacity, np.int32)
        cell[place] = found.cell
        yield LabelledWindow(
            {name: rows_of(states, cell, streams, mesh) for name, states in spread.items()},
            split,
            fold,
            document,
            position,
            classes,
            numbers,
            window,
            places,
            passed,
        )


class _Rows(NamedTuple):
    cell: np.ndarray  # (n,) place in the flat (T, B) cells
    document: np.ndarray
    position: np.ndarray
    classes: np.ndarray
    numbers: np.ndarray


def _places(window: encoding.Window, texts: Mapping[int, Text]) -> tuple[np.ndarray, int]:
    """(T, B) the last byte of the token at each cell, and how many bytes the window reads."""
    places, passed = window.position.copy(), 0
    for document in np.unique(window.text[window.text >= 0]).tolist():
        here = window.text == document
        steps = window.position[here]
        places[here] = texts[document].last_bytes(steps)
        passed += int(places[here].max()) + 1 - texts[document].before(int(steps.min()))
    return places, passed


def _rows(
    window: encoding.Window,
    data: LabelledData,
    texts: Mapping[int, Text],
    open_labels: dict[int, Labels],
) -> _Rows:
    """The labelled positions in a window; opens the labels of what begins, closes what ends."""
    streams = window.text.shape[1]
    parts: list[_Rows] = []
    for stream in range(streams):
        column = window.text[:, stream]
        for text in np.unique(column[column >= 0]).tolist():
            steps = np.flatnonzero(column == text)
            first, of = int(window.position[steps[0], stream]), texts[text]
            behind = first + len(steps)
            if text not in open_labels:
                open_labels[text] = data.labels(text)
            labels = open_labels[text]
            here = np.searchsorted(labels.positions, [of.before(first), of.before(behind)])
            here = slice(*here)
            position = labels.positions[here]
            parts.append(
                _Rows(
                    (steps[0] + of.steps(position) - first) * streams + stream,
                    np.full(len(position), text, np.int32),
                    position,
                    labels.classes[here],
                    labels.numbers[here],
                )
            )
            if behind == len(of.ids):
                del open_labels[text]
    return _Rows(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _capacity(rows: int, cells: int) -> int:
    """The smallest size that holds them: SMALLEST times a power of 4, or all cells of a window."""
    capacity = SMALLEST
    while capacity < rows:
        capacity = cells if capacity < cells < 4 * capacity else 4 * capacity
    return capacity


def sample(
    model: Model,
    data: LabelledData,
    names: Sequence[str],
    *,
    rows: int = 16384,
    mesh: Mesh | None = None,
) -> dict[str, np.ndarray]:
    """States that say where a neuron's values lie, (rows or fewer, H) for each site.

    Of bytes: those of pieces of the text, evenly spread, that are run from the zero state. Of
    tokens and documents: at the labelled positions of a tenth of the text, since the state after a
    whole document is not like that after any byte. The sample may fix the bins of a histogram, and
    nothing that is reported. On a mesh it is of the same positions: the streams are as many as
    without one.
    """
    if data.unit != "byte":
        kept = _sample_of_documents(model, data, names, rows, mesh)
        if kept is not None:
            return kept
    return _sample_of_bytes(model, data, names, rows, mesh)


def _sample_of_documents(
    model: Model, data: LabelledData, names: Sequence[str], rows: int, mesh: Mesh | None
) -> dict[str, np.ndarray] | None:
    """None where the documents drawn have no label."""
    # An order of the documents' own, which is not that in which splits are cut.
    order = np.argsort(data.hashes * np.uint64(0x9E3779B97F4A7C15), kind="stable")
    sizes = np.array([len(data.documents[i].data) for i in order])
    enough = np.searchsorted(np.cumsum(sizes), max(PILOT_BYTES, data.bytes // 10)) + 1
    stride = max(1, -(-int(data.counts[order[:enough]].sum()) // rows))
    streams = encoding.choose_streams(sizes[:enough].tolist(), WINDOW)
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    passed = 0
    for window in stream(model, data, names, documents=order[:enough], streams=streams, mesh=mesh):
        here = np.flatnonzero(window.document >= 0)
        taken = here[-passed % stride :: stride]
        passed += len(here)
        for name, states in window.states.items():
            kept[name].append(np.asarray(states)[taken])
    joined = {name: np.concatenate(parts) for name, parts in kept.items()}
    return joined if len(joined[names[0]]) else None


def _sample_of_bytes(
    model: Model, data: LabelledData, names: Sequence[str], rows: int, mesh: Mesh | None
) -> dict[str, np.ndarray]:
    pieces = [
        (i, start)
        for i, document in enumerate(data.documents)
        for start in range(0, len(document.data), PIECE)
    ]
    wanted = min(len(pieces), -(-rows * len(pieces) // data.bytes))
    pieces = [pieces[k] for k in np.linspace(0, len(pieces) - 1, wanted).astype(int)]
    texts = _pieces(model, data, pieces)
    stride = max(1, -(-sum(map(len, texts)) // rows))
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    lengths = [len(text) for text in texts]
    for window in encoding.stream_states(
        model.config,
        model.parameters,
        texts,
        names,
        streams=encoding.choose_streams(lengths, WINDOW),
        window=WINDOW,
        mesh=mesh,
    ):
        here = window.text >= 0
        for name, states in devices.fetch(window.states).items():
            kept[name].append(states[here][::stride])
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def _pieces(
    model: Model, data: LabelledData, pieces: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """The ids of the tokens that begin in each piece, which are given document by document."""
    found: list[np.ndarray] = []
    document, text = -1, Text(np.zeros(0, int), None)
    for i, start in pieces:
        if i != document:
            document, text = i, text_of(model, data, i)
        found.append(text.ids[text.begun(start) : text.begun(start + PIECE)])
    return found


def traces(
    model: Model,
    texts: Sequence[bytes],
    neurons: Sequence[sites.Neuron],
    *,
    mesh: Mesh | None = None,
) -> list[np.ndarray]:
    """The value of some neurons after each byte of each text: a list of (bytes, neurons) arrays.
    All bytes of a token have the value after it."""
    names = tuple(dict.fromkeys(str(neuron.site) for neuron in neurons))
    found = [read(model, text) for text in texts]
    encoded = [text.ids for text in found]
    values = [np.zeros((len(text), len(neurons)), np.float32) for text in encoded]
    streams = encoding.choose_streams([len(text) for text in encoded], WINDOW, mesh=mesh)
    for window in encoding.stream_states(
        model.config, model.parameters, encoded, names, streams=streams, window=WINDOW, mesh=mesh
    ):
        states = devices.fetch(window.states)
        for text in np.unique(window.text[window.text >= 0]):
            here = window.text == text
            for k, neuron in enumerate(neurons):
                values[text][window.position[here], k] = states[str(neuron.site)][here, neuron.unit]
    return [
        x if text.ends is None else np.repeat(x, text.sizes(), axis=0)
        for x, text in zip(values, found, strict=True)
    ]
