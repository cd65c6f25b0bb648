"""What the lines below the table say of thresholds and of what was read."""

import dataclasses

import numpy as np
import pytest

from mlstm.classifier import BINARY, Labelling
from mlstm.training.finetuning import FinetuneConfig, finetune, measured
from mlstm.training.finetuning.report import Report

YES_NO = Labelling(BINARY, ("no", "yes"))
CONFIG = FinetuneConfig(epochs=0, freeze=5, poolings=("mean",))


@pytest.mark.parametrize(
    ("change", "rows", "said"),
    [
        ({}, 2, "chosen on dev for accuracy; those of probe and n-grams as well"),
        ({"thresholds": "f1"}, 1, "chosen on dev for f1"),
        ({"thresholds": "none"}, 2, "thresholds stay at 0.5"),
        ({"limit": 20}, 1, "of each text the last 20 bytes are read, in every row"),
    ],
)
def test_it_says_what_was_done(model, planted, change, rows, said):
    data = planted(32, 0)
    made = finetune(model, data, data, YES_NO, dataclasses.replace(CONFIG, **change))
    row = measured(YES_NO, data.labels, np.eye(2, dtype=bool)[data.labels])
    lines = str(Report(made, {str(k): row for k in range(rows)})).splitlines()
    assert any(line.endswith(said) for line in lines)
    printed = " ".join(lines)
    assert ("stay at 0.5" in printed) == (change.get("thresholds") == "none")
    assert ("chosen on dev for" in printed) == (change.get("thresholds") != "none")
    assert ("are read" in printed) == ("limit" in change)
