"""What many edits cost, summed by document, on the concept's bytes and elsewhere.

Edits run side by side, in chunks whose memory is bounded; each text is read from the zero state.
"""

# N edits, D documents, T steps, B streams

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlstm.model import costs, encoding
from mlstm.trained import Model
from probing.evidence.effects.many import Many
from probing.evidence.effects.marked import Marked
from probing.evidence.effects.probed import Probed

WINDOW = 64
CELLS = 1 << 16
"""Edits x steps x streams at a time, each with the logits of a byte: 64 MiB of float32."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the bytes of documents: [..., 0] elsewhere, [..., 1] on the concept."""

    base: np.ndarray  # (D, 2) nats of the unedited model
    nats: np.ndarray  # (N, D, 2) under each edit
    divergence: np.ndarray | None  # (N, D, 2) nats, KL(unedited || edited) of their distributions
    right: np.ndarray | None  # (N, D, 2) labelled positions that the probe tells rightly


def tally(
    model: Model,
    marked: Marked,
    edits: Many,
    what: str = "",
    *,
    divergence: bool = False,
    probe: Probed | None = None,
    progress: Progress | None = None,
) -> Tally:
    """The sums of all edits. progress is called with what, and with the bytes read, each edit's
    counted, and all of them."""
    config, D = model.config, len(marked.texts)
    base, nats, apart, right = (np.zeros((n, D, 2)) for n in (1, *[edits.count] * 3))
    # A probed state is as long as the logits of a byte, or longer.
    wide = max(1, config.hidden // config.vocabulary) if probe else 1
    streams, each = _shape(marked.lengths, edits.count, CELLS // wide)
    whole, done = sum(marked.lengths), 0
    for start in range(0, edits.count, each):
        rows = slice(start, min(edits.count, start + each))
        for window in costs.stream_costs(
            config,
            model.parameters,
            marked.texts,
            edits.batch(rows),
            streams=streams,
            window=WINDOW,
            divergence=divergence,
            emit=(edits.site,) if probe else (),
        ):
            predicted = marked.predicted(window.text, window.position)
            _add(nats[rows], window.nats, predicted)
            if start == 0:
                _add(base, window.base, predicted)
            if divergence:
                _add(apart[rows], window.divergence, predicted)
            if probe:
                read = marked.read(window.text, window.position)
                told = probe.tells(window.states[edits.site]) > 0
                _add(right[rows], told == (read % 2 == 1), read)
            done += int(np.count_nonzero(window.text >= 0)) * (rows.stop - rows.start)
            if progress:
                progress(what, done, whole * edits.count)
    spelled = marked.spelled()
    base, nats = base + spelled, nats + spelled
    return Tally(base[0], nats, apart if divergence else None, right if probe else None)


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
