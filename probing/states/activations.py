"""Run labelled documents through a model and stream the states, window by window; store nothing."""

# B streams, T steps of a window, H hidden, K concepts

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from mlstm.loading import Model
from mlstm.model import encoding, sites
from probing.tasks.labelled import LabelledData

WINDOW = 128


class LabelledWindow(NamedTuple):
    """States beside the labels of the bytes that they follow."""

    states: dict[str, jax.Array]  # site name -> (T, B, H), on the device
    labels: np.ndarray  # (T, B, K) int32, classes (0 or 1), then numbers; 0 where `half` is -1
    half: np.ndarray  # (T, B) int32: 0 select, 1 test, -1 no byte here
    bytes: int  # how many cells hold a byte


def check_sites(model: Model, wanted: str | Sequence[str]) -> tuple[str, ...]:
    """Site names from "0.c", "0.c,0.h" or a sequence; InputError names those there are."""
    names = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    return tuple(dict.fromkeys(str(sites.check_site(model.config, name)) for name in names))


def stream(model: Model, data: LabelledData, names: Sequence[str]) -> Iterator[LabelledWindow]:
    """Every byte of every document once, each document from the zero state."""
    documents, halves = data.documents, data.halves
    texts = [model.vocabulary.encode(document.data) for document in documents]
    streams = encoding.choose_streams([len(text) for text in texts], WINDOW)
    classes = len(data.classes)
    for window in encoding.stream_states(
        model.config, model.parameters, texts, names, streams=streams, window=WINDOW
    ):
        labels = np.zeros((*window.text.shape, len(data.concepts)), np.int32)
        half = np.full(window.text.shape, -1, np.int32)
        for text in np.unique(window.text[window.text >= 0]):
            here = window.text == text
            places = window.position[here]
            labels[here, :classes] = documents[text].classes[places]
            labels[here, classes:] = documents[text].numbers[places]
            half[here] = halves[text]
        yield LabelledWindow(window.states, labels, half, int(np.count_nonzero(half >= 0)))


def sample(
    model: Model, data: LabelledData, names: Sequence[str], *, rows: int = 16384, piece: int = 512
) -> dict[str, np.ndarray]:
    """States at evenly spread bytes, (rows or fewer, H) for each site: where a neuron's values lie.

    Pieces of the documents are run from the zero state, so the sample is not exact: it may fix
    the bins of a histogram, and nothing that is reported.
    """
    pieces = [
        document.data[start : start + piece]
        for document in data.documents
        for start in range(0, len(document.data), piece)
    ]
    wanted = max(32, -(-data.bytes // (10 * piece)))
    pieces = pieces[:: max(1, len(pieces) // wanted)]
    texts = [model.vocabulary.encode(data) for data in pieces]
    stride = max(1, sum(map(len, texts)) // rows)
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    lengths = [len(text) for text in texts]
    for window in encoding.stream_states(
        model.config,
        model.parameters,
        texts,
        names,
        streams=encoding.choose_streams(lengths, WINDOW),
        window=WINDOW,
    ):
        here = window.text >= 0
        for name, states in window.states.items():
            kept[name].append(np.asarray(states)[here][::stride])
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def traces(
    model: Model, texts: Sequence[bytes], neurons: Sequence[sites.Neuron]
) -> list[np.ndarray]:
    """The value of some neurons after each byte of each text: a list of (bytes, neurons) arrays."""
    names = tuple(dict.fromkeys(str(neuron.site) for neuron in neurons))
    encoded = [model.vocabulary.encode(text) for text in texts]
    values = [np.zeros((len(text), len(neurons)), np.float32) for text in encoded]
    streams = encoding.choose_streams([len(text) for text in encoded], WINDOW)
    for window in encoding.stream_states(
        model.config, model.parameters, encoded, names, streams=streams, window=WINDOW
    ):
        states = {name: np.asarray(array) for name, array in window.states.items()}
        for text in np.unique(window.text[window.text >= 0]):
            here = window.text == text
            for k, neuron in enumerate(neurons):
                values[text][window.position[here], k] = states[str(neuron.site)][here, neuron.unit]
    return values
