"""States at a bounded sample of the labelled positions of every split, from one pass."""

# n rows kept, H hidden

from __future__ import annotations

import numpy as np

from mlstm.trained import Model
from probing.states import activations
from probing.states.arrays import Arrays
from probing.tasks.labelled import SPLITS, LabelledData

Places = dict[int, np.ndarray]
"""Of each document, which of its labelled positions: ascending places among them."""


def choose(data: LabelledData, rows: int, seed: int) -> dict[str, Places]:
    """Of each split `rows` positions at most, drawn by the seed from all of its documents: those of
    a few would be a sample of few, however many they have. A split without a label has none."""
    chosen: dict[str, Places] = {}
    for split in SPLITS:
        documents = data.indices(split)
        ends = np.cumsum(data.counts[documents])
        every = np.arange(ends[-1]) if len(ends) else ends
        if len(every) > rows:
            draw = np.random.default_rng(seed)
            every = np.sort(draw.choice(len(every), rows, replace=False, shuffle=False))
        firsts = ends - data.counts[documents]
        parts = np.split(every, np.searchsorted(every, ends[:-1]))
        chosen[split] = {
            i: places - first
            for i, first, places in zip(documents.tolist(), firsts, parts, strict=True)
            if len(places)
        }
    return chosen


def targets(data: LabelledData, places: Places) -> np.ndarray:
    """(n,) labels of data with one concept, at those places."""
    parts = [data.target(data.labels(i), data.concepts[0])[kept] for i, kept in places.items()]
    return np.concatenate(parts) if parts else np.zeros(0, bool if data.classes else np.float32)


def states(
    model: Model, data: LabelledData, site: str, chosen: dict[str, Places]
) -> dict[str, Arrays]:
    """What `arrays` gives of each split, of the chosen positions; data has one concept."""
    places = {i: kept for of_split in chosen.values() for i, kept in of_split.items()}
    x = {i: np.zeros((len(kept), model.config.hidden), np.float32) for i, kept in places.items()}
    seen = dict.fromkeys(places, 0)
    documents = np.array(sorted(places), int)
    for window in activations.stream(model, data, (site,), documents=documents):
        values = np.asarray(window.states[site])
        for i in np.unique(window.document[window.document >= 0]).tolist():
            here = np.flatnonzero(window.document == i)
            begin, end = np.searchsorted(places[i], [seen[i], seen[i] + len(here)])
            x[i][begin:end] = values[here[places[i][begin:end] - seen[i]]]
            seen[i] += len(here)
    empty = np.zeros((0, model.config.hidden), np.float32)
    return {
        split: Arrays(
            np.concatenate([empty, *(x[i] for i in of_split)]),
            targets(data, of_split),
            np.concatenate(
                [
                    np.zeros(0, np.uint64),
                    *(np.full(len(k), data.hashes[i]) for i, k in of_split.items()),
                ]
            ),
        )
        for split, of_split in chosen.items()
    }
