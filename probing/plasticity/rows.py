"""States at the same sample of labelled positions of every model that is measured."""

# n rows, H units of a site, P neurons of several sites, K classes

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from mlstm.mixing import mixed
from probing.states.activations import LabelledWindow
from probing.tasks.labelled import SPLITS, LabelledData, stored
from probing.tasks.of_tokens import beginning


class KeptRows:
    """An accumulator of the states of one site at a share of the labelled positions."""

    def __init__(self, shares: np.ndarray) -> None:
        """shares: (3,) of each split."""
        self.shares = shares
        self.parts: list[tuple[np.ndarray, ...]] = []

    def take(self, window: LabelledWindow, site: str) -> KeptRows:
        wanted = np.where(window.document >= 0, self.shares[window.split], 0)
        here = np.flatnonzero(_draw(window.document, window.position) < wanted)
        states = np.asarray(window.states[site])[here]
        self.parts.append((states, window.classes[here], window.split[here]))
        return self

    def finalize(self) -> Kept:
        return Kept(*(np.concatenate(part) for part in zip(*self.parts, strict=True)))


class Kept(NamedTuple):
    """Rows in the order in which they were read, which is the same for every model."""

    states: np.ndarray  # (n, P) float32
    classes: np.ndarray  # (n, K) bool
    splits: np.ndarray  # (n,)

    def x(self, split: str) -> np.ndarray:
        return self.states[self.splits == SPLITS.index(split)]

    def y(self, split: str) -> np.ndarray:
        return self.classes[self.splits == SPLITS.index(split)]


def beside(parts: list[Kept]) -> Kept:
    """The neurons of several sites beside each other."""
    return parts[0]._replace(states=np.concatenate([part.states for part in parts], 1))


def shares(data: LabelledData, rows: int) -> np.ndarray:
    """(3,) of the labelled positions of each split, so that about so many rows are kept."""
    counts = np.array([data.counts[data.indices(split)].sum() for split in SPLITS])
    return np.minimum(1.0, rows / np.maximum(1, counts))


def bounded(data: LabelledData, size: int, dev: int) -> LabelledData:
    """The data with documents of each split, in the order of their hashes, up to so many bytes of
    train and of test, and up to `dev` of dev; at least two, and of dev one. Their labels are kept,
    since every measurement reads them."""
    chosen: list[int] = []
    for split in SPLITS:
        here = data.indices(split)
        here = here[np.argsort(data.hashes[here], kind="stable")]
        ends = np.cumsum([len(data.documents[i].data) for i in here])
        least, most = (1, dev) if split == "dev" else (2, size)
        chosen += here[: max(least, int(np.searchsorted(ends, most, side="right")))].tolist()
    data = data.take(sorted(chosen))
    documents = (
        dataclasses.replace(document, read=stored(data.labels(i)))
        for i, document in enumerate(data.documents)
    )
    return dataclasses.replace(data, documents=tuple(documents))


def held_out(data: LabelledData, size: int) -> list[bytes]:
    """The beginnings of test documents, so many bytes of all."""
    documents = data.indices("test").tolist()
    each = max(1, size // max(1, len(documents)))
    return [beginning(data, i, each) for i in documents if data.documents[i].data]


def _draw(document: np.ndarray, position: np.ndarray) -> np.ndarray:
    """A number in [0, 1) of each place, always the same (SplitMix64)."""
    x = document.astype(np.uint64) << np.uint64(32) | position.astype(np.uint64)
    x += np.uint64(0x9E3779B97F4A7C15)
    return mixed(x) / 2.0**64
