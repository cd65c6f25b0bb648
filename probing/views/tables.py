"""The figures of a table as csv, for other programs: undefined figures are empty fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from probing.evidence.scores import TEST, NeuronTable

FIGURES = ("auc", "bound", "cohen_d", "r", "information", "low", "high", "p", "q")


def best_csv(table: NeuronTable) -> str:
    """One row for each concept: the columns of `NeuronTable.to_frame`."""
    records = table.to_frame()
    names = list(records[0])
    return to_csv(names, ([record[name] for name in names] for record in records))


def every_csv(table: NeuronTable) -> str:
    """One row for each neuron and concept, of the test split; p is of the neuron by itself, q over
    the neurons of the concept, both empty where there was no draw."""
    scores, null = table.scores, table.significance
    nothing = np.full(scores.auc_low.shape, np.nan)
    parts = [scores.auc[TEST], scores.auc_bound[TEST], scores.cohen_d[TEST]]
    parts += [scores.correlation[TEST], scores.information[TEST], scores.auc_low, scores.auc_high]
    parts += [nothing, nothing] if null is None else [null.p, null.q]
    figures = np.stack(parts, -1)  # (neurons, concepts, FIGURES)
    rows = (
        [str(table.neuron(j)), concept, *figures[j, k].tolist()]
        for j in range(len(figures))
        for k, concept in enumerate(table.concepts)
    )
    return to_csv(["neuron", "concept", *FIGURES], rows)


def to_csv(names: Sequence[str], rows: Iterable[Sequence], *, quote_all: bool = False) -> str:
    """A line of names and one for each row; NaN is an empty field.

    quote_all: whatever is no number stands in quotes, as texts with any ends of lines must.
    """
    quoting = csv.QUOTE_NONNUMERIC if quote_all else csv.QUOTE_MINIMAL
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=quoting)
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if isinstance(v, float) and np.isnan(v) else v for v in row])
    return text.getvalue()
