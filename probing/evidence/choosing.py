"""What train documents decide, of a model and of its random twin, before test is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError
from probing.evidence import intervals
from probing.evidence.scores import Row
from probing.evidence.subjects import Direction, OneNeuron, Subject


@dataclass(frozen=True)
class Chosen:
    """What is judged, and which way it points."""

    subject: Subject
    direction: int  # 1: higher in the concept
    select: float  # its score on train, in that direction


def neuron(row: Row, data: str) -> Chosen:
    """The neuron of a table's row. InputError where train cannot decide."""
    if not row.neuron or not row.direction:
        raise _undecided(data, row.concept)
    return Chosen(OneNeuron.parse(row.neuron), row.direction, row.train)


def twins_neuron(row: Row) -> Chosen | None:
    """The best neuron of the twin; None where train cannot decide."""
    if not row.neuron:
        return None
    return Chosen(OneNeuron.parse(row.neuron), row.direction, row.train)


def probe(site: str, weights: np.ndarray | None) -> Chosen | None:
    """The direction of a probe that was fitted on train; None without weights."""
    if weights is None:
        return None
    return Chosen(Direction(site, weights.astype(np.float32)), 1, float("nan"))


def oriented(
    subject: Subject, values: np.ndarray, labels: np.ndarray, data: str, concept: str
) -> Chosen:
    """Which way values (n,) of train documents go with labels (n,), bool of a class.

    InputError where they do not say.
    """
    is_class = labels.dtype == bool
    score = intervals.jackknife_auc if is_class else intervals.jackknife_correlation
    one = np.zeros(len(values), int)
    found, centre = score(values, labels, one).value, 0.5 if is_class else 0.0
    if not np.isfinite(found):
        raise _undecided(data, concept)
    sign = 1 if found >= centre else -1
    return Chosen(subject, sign, centre + sign * (found - centre))


def _undecided(data: str, concept: str) -> InputError:
    return InputError(f'{data}: train documents have no position with "{concept}"')
