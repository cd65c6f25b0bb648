"""p of every neuron for every concept: permuted labels beside the true ones, in a table's pass.

Of test documents alone. Each neuron's statistic is compared with its own under the permutations (p,
then q over all neurons), and with the largest of all neurons under each (p_max).
"""

# N rows of a window, H units, J neurons over all sites, R draws, K concepts

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from probing.evidence.null import null_labels
from probing.evidence.significance import NullSums, benjamini_hochberg, max_statistic_p
from probing.states.activations import LabelledWindow
from probing.tasks.labelled import SPLITS, LabelledData

BLOCK_BYTES = 1 << 26  # of permuted labels that are held at once
TEST = SPLITS.index("test")


@dataclass(frozen=True)
class Significance:
    """NaN where the labels of a concept do not vary in test."""

    draws: int
    seed: int
    p: np.ndarray  # (J, K) of each neuron by itself
    q: np.ndarray  # (J, K) of p, over the neurons of a concept (Benjamini and Hochberg)
    p_max: np.ndarray  # (J, K) against the largest statistic of all neurons

    @staticmethod
    def of(sums: Sequence[NullSums], classes: int, draws: int, seed: int) -> Significance:
        """sums: of each site, in the order of the neuron axis."""
        columns = []
        for k in range(sums[0].y.shape[1]):
            ones = [replace(s, y=s.y[:, k], yy=s.yy[:, k], yx=s.yx[:, k]) for s in sums]
            statistics = np.concatenate([one.statistics(k < classes) for one in ones], 1)
            observed, drawn = statistics[0], statistics[1:]
            n, y, yy = ones[0].n, ones[0].y[0], ones[0].yy[0]
            varies = n > 0 and yy / n > (y / n) ** 2
            p = max_statistic_p(observed, drawn)
            p_max = max_statistic_p(observed, drawn.max(1))
            columns.append([np.where(varies, part, np.nan) for part in (p, p_max)])
        p, p_max = (np.stack(parts, 1) for parts in zip(*columns, strict=True))
        q = np.stack([benjamini_hochberg(column) for column in p.T], 1)
        return Significance(draws, seed, p, q, p_max)


class Permuting:
    """The accumulator of one site for `collect`; those of several sites share their `Drawn`."""

    def __init__(self, drawn: Drawn, units: int):
        self.drawn = drawn
        self.sums = NullSums.init(drawn.draws, units, drawn.concepts)

    def take(self, window: LabelledWindow, site: str) -> Permuting:
        for rows, labels, counted in self.drawn.blocks(window):
            self.sums = self.sums.update(window.states[site][rows], labels, counted)
        return self

    def finalize(self) -> NullSums:
        return self.sums


class Drawn:
    """True and permuted labels of the test rows of a window, made once for all sites."""

    def __init__(self, data: LabelledData, draws: int, seed: int):
        self.draws, self.seed, self.concepts = draws, seed, len(data.concepts)
        self.null = null_labels(data, data.indices("test"), draws, seed)
        self.seen: dict[int, int] = {}  # labels of each document that were read
        self.lock = threading.Lock()
        self.window: LabelledWindow | None = None
        self.kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def blocks(self, window: LabelledWindow) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rows (B,), labels (B, 1 + R, K), counted (B,); rows past the last are not counted."""
        with self.lock:  # sites have threads of their own, and labels are asked for in order
            if window is not self.window:
                self.window, self.kept = window, list(self._blocks(window))
            return self.kept

    def _blocks(self, window: LabelledWindow):
        each = 4 * (1 + self.draws) * self.concepts
        size = min(len(window.split), max(64, 1 << (BLOCK_BYTES // each).bit_length() - 1))
        rows = np.flatnonzero(window.split == TEST)
        # the labels of a document are asked for in their order, whatever cells they lie in
        rows = rows[np.lexsort((window.position[rows], window.document[rows]))]
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            labels = np.zeros((size, 1 + self.draws, self.concepts), np.float32)
            for i in np.unique(window.document[part]).tolist():
                here = np.flatnonzero(window.document[part] == i)
                first = self.seen.get(i, 0)
                self.seen[i] = first + len(here)
                mine = part[here]
                labels[here, 0] = np.concatenate([window.classes[mine], window.numbers[mine]], 1)
                permuted = self.null.of(i, slice(first, first + len(here)))
                labels[here, 1:] = permuted.transpose(1, 0, 2)
            padded = np.zeros(size, int)
            padded[: len(part)] = part
            yield padded, labels, np.arange(size) < len(part)
