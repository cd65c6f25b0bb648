"""Real text for a report: for each concept one passage, with what its best neuron does there.

The passage is chosen by its labels alone, never by what a neuron does on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mlstm.loading import Model
from mlstm.model.sites import parse_neuron
from probing.evidence.scores import NeuronTable, Row
from probing.states import activations
from probing.tasks.labelled import LabelledData

LENGTH, REACH = 700, 6000  # bytes shown, and how far into a document they are looked for


class Passage(NamedTuple):
    """Bytes [start, end) of a document."""

    document: int  # which of data.documents
    start: int
    end: int


@dataclass(frozen=True)
class Example:
    """The best neuron of a concept on a passage of a test document."""

    row: Row
    document: str
    line: int  # of the document, from 1
    data: bytes
    values: np.ndarray  # (bytes,) the neuron after each byte
    labels: np.ndarray  # (bytes,) bool of a class, int of a number


def examples(model: Model, data: LabelledData, table: NeuronTable) -> list[Example]:
    """One for each concept that has a best neuron and appears in the test half.

    A second, short run: the chosen documents from their start to the end of the passage.
    """
    found = [(row, choose(data, row.concept)) for row in table.rows() if row.neuron]
    wanted = [(row, passage) for row, passage in found if passage is not None]
    documents = sorted({passage.document for _, passage in wanted})
    ends = {d: max(p.end for _, p in wanted if p.document == d) for d in documents}
    neurons = list(dict.fromkeys(row.neuron for row, _ in wanted))
    traces = activations.traces(
        model,
        [data.documents[d].data[: ends[d]] for d in documents],
        [parse_neuron(neuron) for neuron in neurons],
    )
    shown = []
    for row, (which, start, end) in wanted:
        document = data.documents[which]
        shown.append(
            Example(
                row,
                document.name,
                document.data.count(b"\n", 0, start) + 1,
                document.data[start:end],
                traces[documents.index(which)][start:end, neurons.index(row.neuron)],
                column(data, which, row.concept)[start:end],
            )
        )
    return shown


def column(data: LabelledData, document: int, concept: str) -> np.ndarray:
    """The labels of one concept over a document: bool of a class, int of a number."""
    k = data.concepts.index(concept)
    if k < len(data.classes):
        return data.documents[document].classes[:, k]
    return data.documents[document].numbers[:, k - len(data.classes)]


def choose(data: LabelledData, concept: str) -> Passage | None:
    """The lines of a test document on which the concept comes and goes most evenly.

    For a number, the lines over which it varies most. None where it never appears.
    """
    best, merit = None, 0.0
    for which in np.flatnonzero(data.halves):
        text = data.documents[which].data[:REACH]
        values = column(data, int(which), concept)[: len(text)].astype(float)
        lines = [0] + [i + 1 for i, byte in enumerate(text) if byte == ord("\n")]
        for start in lines[::2]:
            end = _end_of_line(text, start)
            part = values[start:end]
            if len(part) < 2:
                continue
            changes = np.count_nonzero(np.diff(part))
            now = part.std() * min(1, changes / 20) * min(1, len(part) / (LENGTH / 2))
            if now > merit * 1.02:  # a little better somewhere else is no reason to go there
                best, merit = Passage(int(which), start, end), now
    return best


def _end_of_line(text: bytes, start: int) -> int:
    """The last line end within LENGTH bytes, or as far as that goes."""
    if len(text) - start <= LENGTH:
        return len(text)
    return text.rfind(b"\n", start, start + LENGTH) + 1 or start + LENGTH
