"""Real text for a report: for each concept one passage, with what its best neuron does there.

The passage is chosen by its labels alone, never by what a neuron does on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from mlstm.model.sites import parse_neuron
from mlstm.trained import Model
from probing.evidence.scores import NeuronTable, Row
from probing.states import activations
from probing.states.ids import text_of
from probing.tasks.cleaned import text_for_model
from probing.tasks.labelled import LabelledData, Labels

LENGTH, REACH = 700, 6000  # bytes shown, and how far into a document they are looked for


class Passage(NamedTuple):
    """Bytes [start, end) of a document, with the labels of one concept."""

    document: int  # which of data.documents
    start: int
    end: int
    labels: np.ndarray  # (end - start,) bool of a class, float32 of a number


@dataclass(frozen=True)
class Example:
    """The best neuron of a concept on a passage of a test document."""

    row: Row
    document: str
    line: int  # of the document, from 1
    data: bytes
    values: np.ndarray  # (bytes,) the neuron after each byte
    labels: np.ndarray  # (bytes,) bool of a class, float32 of a number


def examples(
    model: Model, data: LabelledData, table: NeuronTable, mesh: Mesh | None = None
) -> list[Example]:
    """One for each concept that has a best neuron and appears in the test split.

    A second, short run: the chosen documents from their start to the end of the passage.
    """
    data = text_for_model(model, data)
    rows = [row for row in table.rows() if row.neuron]
    passages = choose(data, [row.concept for row in rows])
    wanted = [(row, passages[row.concept]) for row in rows if row.concept in passages]
    documents = sorted({passage.document for _, passage in wanted})
    ends = {d: max(p.end for _, p in wanted if p.document == d) for d in documents}
    neurons = list(dict.fromkeys(row.neuron for row, _ in wanted))
    traces = activations.traces(
        model,
        [_through(model, data, d, ends[d]) for d in documents],
        [parse_neuron(neuron) for neuron in neurons],
        mesh=mesh,
    )
    shown = []
    for row, (which, start, end, labels) in wanted:
        document = data.documents[which]
        shown.append(
            Example(
                row,
                document.name,
                document.data.count(b"\n", 0, start) + 1,
                document.data[start:end],
                traces[documents.index(which)][start:end, neurons.index(row.neuron)],
                labels,
            )
        )
    return shown


def _through(model: Model, data: LabelledData, document: int, end: int) -> bytes:
    """A document up to `end`, and on to where the token that holds the byte before it ends."""
    if not model.vocabulary.bytewise:
        text = text_of(model, data, document)
        end = text.before(int(text.steps(np.array(end - 1))) + 1)
    return data.documents[document].data[:end]


def by_byte(data: LabelledData, labels: Labels, concept: str, size: int) -> np.ndarray:
    """The labels of one concept over the first `size` bytes of a document, each spread over its
    span: bool of a class, float32 of a number. What no span covers is False or 0."""
    values = data.target(labels, concept)
    out = np.zeros(size, values.dtype)
    if data.unit == "byte":
        here = labels.positions < size
        out[labels.positions[here]] = values[here]
        return out
    for start, end, value in zip(labels.starts, labels.ends, values, strict=True):
        if value:
            out[start:end] = value
    return out


def choose(data: LabelledData, concepts: Sequence[str]) -> dict[str, Passage]:
    """For each concept the lines of a test document on which it comes and goes most evenly.

    For a number, the lines over which it varies most. Where the documents have the labels, the
    end of the first one that has the class, or of the one with the largest number. What never
    appears is left out.
    """
    best: dict[str, Passage] = {}
    merit = dict.fromkeys(concepts, 0.0)
    for which in data.indices("test").tolist():
        if data.unit == "document":
            candidates = _ends(data, which, concepts)
        else:
            candidates = _lines(data, which, concepts)
        for concept, passage, now in candidates:
            if now > merit[concept] * 1.02:  # a little better elsewhere is no reason to go there
                best[concept], merit[concept] = passage, now
    return best


Candidates = Iterator[tuple[str, Passage, float]]


def _lines(data: LabelledData, which: int, concepts: Sequence[str]) -> Candidates:
    text = data.documents[which].data[:REACH]
    labels = data.labels(which)
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
    places = [(start, _end_of_line(text, start)) for start in [0, *ends.tolist()][::2]]
    for concept in concepts:
        column = by_byte(data, labels, concept, len(text))
        values = column.astype(float)
        for start, end in places:
            part = values[start:end]
            if len(part) > 1:
                changes = np.count_nonzero(np.diff(part))
                even = min(1, changes / 20) * min(1, len(part) / (LENGTH / 2))
                yield concept, Passage(which, start, end, column[start:end]), part.std() * even


def _ends(data: LabelledData, which: int, concepts: Sequence[str]) -> Candidates:
    size = len(data.documents[which].data)
    if size > REACH:
        return
    labels = data.labels(which)
    for concept in concepts:
        values = data.target(labels, concept)
        if len(values):
            shown = np.full(min(size, LENGTH), values[-1])
            yield concept, Passage(which, size - len(shown), size, shown), float(values[-1])


def _end_of_line(text: bytes, start: int) -> int:
    """The last line end within LENGTH bytes, or as far as that goes."""
    if len(text) - start <= LENGTH:
        return len(text)
    return text.rfind(b"\n", start, start + LENGTH) + 1 or start + LENGTH
