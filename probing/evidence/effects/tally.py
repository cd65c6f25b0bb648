"""What many ablations of a site cost, summed by document, on the concept's bytes and elsewhere.

Ablations run side by side, in chunks whose memory is bounded; each text is read from the zero state
with the units of its ablation replaced at every step:

    mean      by their mean over train documents
    resample  by what they were at a random byte of train documents, drawn anew at each step; units
              that are ablated together are taken from the same byte
    zero      by 0, which may lie far outside of the values that the rest of the network knows
"""

# N ablations, D documents, H units, T steps, B streams

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from mlstm.errors import InputError
from mlstm.loading import Model
from mlstm.model import costs, encoding
from mlstm.model.edits import Batch, each_set
from probing.evidence.effects.marked import Marked
from probing.evidence.effects.probed import Probed
from probing.evidence.effects.units import Units

KINDS = ("mean", "resample", "zero")
WINDOW = 64
CELLS = 1 << 16
"""Ablations x steps x streams at a time, each with the logits of a byte: 64 MiB of float32."""
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the bytes of documents: [..., 0] elsewhere, [..., 1] on the concept."""

    nats: np.ndarray  # (N, D, 2) what the bytes cost
    divergence: np.ndarray | None  # (N, D, 2) nats, KL(unedited || edited) of their distributions
    right: np.ndarray | None  # (N, D, 2) labelled positions that the probe tells rightly

    def take(self, rows: slice | np.ndarray) -> Tally:
        parts = (None if part is None else part[rows] for part in dataclasses.astuple(self))
        return Tally(*parts)


def ablations(
    model: Model,
    marked: Marked,
    of: Units,
    masks: np.ndarray,
    kind: str = "mean",
    *,
    divergence: bool = False,
    probe: Probed | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tally:
    """masks (N, H) bool: the units that each ablation replaces; a row without any is the unedited
    model. progress is called with bytes read and bytes in all, each ablation's counted."""
    if kind not in KINDS:
        raise InputError(f'an ablation is by "{kind}"; it is one of {", ".join(KINDS)}')
    if kind == "resample":
        source: dict[str, Any] = {"pool": of.pool, "seed": seed}
    else:
        source = {"value": of.mean if kind == "mean" else 0.0}

    def make(rows: slice) -> Batch:
        sets = [np.flatnonzero(mask) for mask in masks[rows]]
        return each_set(model.config, of.site, sets, **source)

    more = {"divergence": divergence, "probe": probe, "progress": progress}
    return tally(model, marked, of.site, len(masks), make, **more)


def tally(
    model: Model,
    marked: Marked,
    site: str,
    count: int,
    make: Callable[[slice], Batch],
    *,
    divergence: bool = False,
    probe: Probed | None = None,
    progress: Progress | None = None,
) -> Tally:
    """The sums of `count` edits. make: some of them, side by side."""
    D = len(marked.texts)
    sums = {"nats": np.zeros((count, D, 2))}
    if divergence:
        sums["divergence"] = np.zeros((count, D, 2))
    if probe is not None:
        sums["right"] = np.zeros((count, D, 2))
    wide = max(1, model.config.hidden // model.config.vocabulary) if probe else 1
    streams, each = _shape(marked.lengths, count, CELLS // wide)
    whole, done = sum(marked.lengths), 0
    for start in range(0, count, each):
        rows = slice(start, min(count, start + each))
        for window in costs.stream_costs(
            model.config,
            model.parameters,
            marked.texts,
            make(rows),
            streams=streams,
            window=WINDOW,
            divergence=divergence,
            emit=(site,) if probe else (),
        ):
            predicted = marked.predicted(window.text, window.position)
            _add(sums["nats"][rows], window.nats, predicted)
            if divergence:
                _add(sums["divergence"][rows], window.divergence, predicted)
            if probe is not None:
                read = marked.read(window.text, window.position)
                right = (probe.tells(window.states[site]) > 0) == (read % 2 == 1)
                _add(sums["right"][rows], right, read)
            done += int(np.count_nonzero(window.text >= 0)) * (rows.stop - rows.start)
            if progress:
                progress(done, whole * count)
    return Tally(sums["nats"], sums.get("divergence"), sums.get("right"))


def _shape(lengths: list[int], count: int, cells: int) -> tuple[int, int]:
    """How many streams, and how many edits at a time: what should take least time. A step costs
    about as much as its rows plus 16 (`encoding.choose_streams`)."""
    best: tuple[float, int, int] = (float("inf"), 1, 1)
    for streams in (1, 2, 4, 8, 16, 32, 64):
        each = min(count, max(1, cells // (WINDOW * streams)))
        steps = -(-count // each) * encoding.windows_needed(lengths, streams, WINDOW)
        best = min(best, (steps * (each * streams + 16), streams, each))
    return best[1], best[2]


def _add(sums: np.ndarray, values: Any, cells: np.ndarray) -> None:
    """Adds (N, T, B) values to (N, D, 2) sums by their cells, -1 nowhere; in float64."""
    flat = cells.reshape(-1)
    order = np.argsort(flat, kind="stable")
    order = order[np.searchsorted(flat[order], 0) :]
    if not len(order):
        return
    which, starts = np.unique(flat[order], return_index=True)
    values = np.asarray(values).reshape(len(sums), -1)[:, order].astype(np.float64)
    sums.reshape(len(sums), -1)[:, which] += np.add.reduceat(values, starts, axis=1)
