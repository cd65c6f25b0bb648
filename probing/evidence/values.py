"""The values of neurons and directions at labelled positions, and what is accumulated beside."""

# n labelled positions of the documents, S subjects

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jax.sharding import Mesh

from mlstm.trained import Model
from probing.evidence.permutations import Permuting
from probing.evidence.subjects import Subject
from probing.states import activations
from probing.tasks.labelled import LabelledData


def read(
    model: Model,
    data: LabelledData,
    documents: np.ndarray,
    subjects: Sequence[Subject],
    *,
    permuting: dict[str, Permuting] | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """(S, n) float32 of documents, in their order.

    permuting: of the name of a site, or of one of the subjects: each is replaced by what it is
    after the last window. A subject's value is then the one unit of a site of that name.
    """
    running = permuting if permuting is not None else {}
    named = {subject.name: subject for subject in subjects}
    sites = [subject.site for subject in subjects] + [n for n in running if n not in named]
    ends = np.cumsum(data.counts[documents])
    firsts = dict(zip(documents.tolist(), (ends - data.counts[documents]).tolist(), strict=True))
    values = np.zeros((len(subjects), int(data.counts[documents].sum())), np.float32)
    done, every = 0, sum(len(data.documents[i].data) for i in documents)
    progress(done, every)
    for window in activations.stream(
        model, data, tuple(dict.fromkeys(sites)), documents=documents, mesh=mesh
    ):
        x = {name: subject.of(window.states[subject.site]) for name, subject in named.items()}
        ones = {name: x[name][:, None] for name in running if name in named}
        more = window._replace(states={**window.states, **ones})
        for name in running:
            running[name] = running[name].take(more, name)
        for i in np.unique(window.document[window.document >= 0]).tolist():
            rows = np.flatnonzero(window.document == i)
            for nth, name in enumerate(named):
                values[nth, firsts[i] : firsts[i] + len(rows)] = x[name][rows]
            firsts[i] += len(rows)
        done += window.bytes
        progress(done, every)
    return values
