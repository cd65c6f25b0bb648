"""What a claim says besides its verdict: probes of a sample of the positions, the training text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlstm.corpus.reading import Split
from probing.evidence import companions
from probing.evidence.controls import control_labels
from probing.evidence.overlap import overlap, pieces
from probing.evidence.subjects import Subject
from probing.states.arrays import Arrays
from probing.states.rows import Places, targets
from probing.tasks.labelled import LabelledData


def beside(
    parts: dict[str, Arrays],
    subject: Subject,
    data: LabelledData,
    kept: dict[str, Places],
    seed: int,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """The fields of a claim that come from a sample of the positions, `kept`, of data with one
    concept; parts are the states there."""
    is_class = bool(data.classes)
    progress(0, 4)
    probes = companions.beside(parts, subject, is_class)
    progress(1, 4)
    control, found = control_labels(data, seed), None
    if control is not None:
        labels = {split: targets(control, places) for split, places in kept.items()}
        found = companions.control(parts, labels, is_class, probes.get("all neurons"))
    progress(2, 4)
    ranks = companions.ranks(parts, subject.unit, is_class)
    progress(3, 4)
    rotated = companions.rotated(parts, subject, is_class, seed)
    progress(4, 4)
    return {"probes": probes, "control": found, "ranks": ranks, "rotated": rotated}


def shared(
    data: LabelledData,
    documents: np.ndarray,
    corpus: Split | None,
    progress: Callable[[int, int], None],
) -> dict[str, float] | None:
    """How many of the documents share words in a row with the training text, where there is one."""
    if corpus is None:
        return None
    found = overlap(
        (data.documents[i].data for i in documents),
        pieces(corpus.length, corpus.read),
        progress=lambda done: progress(min(done, corpus.length), corpus.length),
    )
    return {"documents": found.documents, "shared": found.shared, "share": found.share}
