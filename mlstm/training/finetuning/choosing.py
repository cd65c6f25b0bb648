"""What is chosen on dev: a threshold for each label, and the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlstm.classifier import Labelling
from mlstm.training.finetuning.examples import has
from mlstm.training.finetuning.metrics import MEASURES, best_threshold, measured


def thresholds(
    labelling: Labelling, labels: np.ndarray, scores: np.ndarray, measure: str
) -> dict[str, Any]:
    """The thresholds at which labels are told best by `measure` ("none" leaves all at 0.5), and
    the score reached with them: that measure, or the accuracy."""
    probabilities = labelling.probabilities(scores)
    members, known = has(labelling, labels)
    of = MEASURES["accuracy" if measure == "none" else measure]
    chosen = []
    for k in range(-len(labelling.labels), 0):
        here = known[:, k]
        at = 0.5
        if measure != "none":
            at = best_threshold(probabilities[here, k], members[here, k], of)
        chosen.append(at)
    told = labelling.decide(probabilities, chosen)
    found = measured(labelling, labels, told, draws=1)
    return {
        "thresholds": chosen,
        "dev_score": getattr(found, "f1" if measure == "f1" else "accuracy").value,
    }


def best(epochs: Sequence[dict[str, Any]]) -> int:
    """The epoch of the best score on dev; of equals, of the lowest loss."""
    return max(epochs, key=lambda e: (e["dev_score"], -e["dev_loss"], -e["epoch"]))["epoch"]
