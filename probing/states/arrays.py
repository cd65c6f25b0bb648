"""States at the labelled positions of one split as arrays, for any classifier."""

# n labelled positions, H hidden

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np
from jax.sharding import Mesh

from mlstm.errors import InputError, check_one
from mlstm.model import sites
from mlstm.trained import Model
from probing.states import activations
from probing.states.activations import LabelledWindow
from probing.states.ids import text_of
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import SPLITS, LabelledData, Labels

Pooling = Literal["position", "mean"]


class Arrays(NamedTuple):
    """What scikit-learn takes: fit(x, y, groups)."""

    x: np.ndarray  # (n, H) float32
    y: np.ndarray  # (n,) bool of a class, float32 of a number, names of exclusive classes
    groups: np.ndarray  # (n,) uint64: rows of one group are never on two sides of a split


def arrays_nbytes(
    model: Model, data: LabelledData, split: str = "train", rows: int | None = None
) -> int:
    """Bytes that x of `arrays` will take; about, where rows are given.

    Without rows it reads all labels once.
    """
    data = for_model(model, data)
    here = data.indices(_check_split(split))
    count = int(data.counts[here].sum()) if rows is None else rows
    return 4 * count * model.config.hidden


def arrays(
    model: Model,
    data: LabelledData,
    site: str,
    split: str = "train",
    concept: str | None = None,
    pooling: Pooling = "position",
    rows: int | None = None,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> Arrays:
    """States at the labelled positions of a split, in the order of the documents.

    concept: what y says; None for the names of classes that exclude each other.
    pooling: "position", the state after the byte at the position; "mean", the mean of the states
    after the bytes [start, end) of what is labelled, or after each token that has any of them.
    rows: about how many; whole documents are drawn (by `seed`) until there are as many. All if
    None.
    mesh: of `mlstm.devices.mesh`: the devices that read; each process gets all rows.
    InputError for an unknown site, split, concept or pooling, where classes overlap and no concept
    is named, or where the split has no label.
    """
    check_one(model)
    data = for_model(model, data)
    name = str(sites.check_site(model.config, site))
    if pooling not in get_args(Pooling):
        raise InputError(f"pooling {pooling!r}: it is one of {', '.join(get_args(Pooling))}")
    chosen = sampled(data, split, rows, seed)
    y: dict[int, np.ndarray] = {}
    spans: dict[int, Labels] = {}
    for i in chosen.tolist():
        labels = data.labels(i)
        y[i] = data.target(labels, concept)
        if pooling == "mean":
            starts, ends = labels.starts, labels.ends
            if not model.vocabulary.bytewise:
                starts, ends = text_of(model, data, i).spans(starts, ends)
            spans[i] = Labels(
                labels.positions, starts, ends, labels.classes[:, :0], labels.numbers[:, :0]
            )
    counts = data.counts[chosen]
    first = dict(zip(chosen.tolist(), (np.cumsum(counts) - counts).tolist(), strict=True))
    x = np.zeros((counts.sum(), model.config.hidden), np.float32)
    fill = _positions(x, first, name) if pooling == "position" else _means(x, first, spans, name)
    for window in activations.stream(model, data, (name,), documents=chosen, mesh=mesh):
        fill(window)
    groups = np.repeat(data.hashes[chosen], counts)
    return Arrays(x, np.concatenate([y[i] for i in chosen.tolist()]), groups)


def sampled(data: LabelledData, split: str, rows: int | None, seed: int) -> np.ndarray:
    """The documents of a split that `arrays` reads, ascending: all without `rows`, else drawn until
    they have about so many labelled positions. InputError where the split has no label."""
    documents = data.indices(_check_split(split))
    if not data.counts[documents].sum():
        raise InputError(f"{data.origin}: no labelled {data.unit} in the {split} split")
    if rows is None:
        return documents
    documents = np.random.default_rng(seed).permutation(documents)
    enough = int(np.searchsorted(np.cumsum(data.counts[documents]), rows)) + 1
    return np.sort(documents[:enough])


def _positions(x: np.ndarray, first: dict[int, int], name: str) -> Callable[[LabelledWindow], None]:
    """Fills x with the rows of windows; those of a document come in its order."""
    free = dict(first)

    def fill(window: LabelledWindow) -> None:
        states = np.asarray(window.states[name])
        for i in np.unique(window.document[window.document >= 0]).tolist():
            here = np.flatnonzero(window.document == i)
            x[free[i] : free[i] + len(here)] = states[here]
            free[i] += len(here)

    return fill


def _means(
    x: np.ndarray, first: dict[int, int], spans: dict[int, Labels], name: str
) -> Callable[[LabelledWindow], None]:
    """Fills x with means over spans: each window adds what it has of them, in float64."""

    def fill(window: LabelledWindow) -> None:
        cells, text = np.asarray(window.every.states[name]), window.every.text
        for i in np.unique(text[text >= 0]).tolist():
            steps, stream = np.nonzero(text == i)
            states = cells[steps, stream].astype(np.float64)
            passed = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(states, 0)])
            begin = int(window.every.position[steps[0], stream[0]])
            low, high = (
                np.clip(place - begin, 0, len(steps)) for place in (spans[i].starts, spans[i].ends)
            )
            here = np.flatnonzero(high > low)
            length = (spans[i].ends - spans[i].starts)[here, None]
            x[first[i] + here] += (passed[high[here]] - passed[low[here]]) / length

    return fill


def _check_split(split: str) -> str:
    if split not in SPLITS:
        raise InputError(f"split {split!r}: it is one of {', '.join(SPLITS)}")
    return split
