"""Edits: what is done to states while a model runs, from text, from files, as arrays."""

from mlstm.model.edits.arrays import Batch, Edits, batch, each_set, make_edits, resolve
from mlstm.model.edits.edit import (
    Edit,
    clamp,
    erase,
    mean,
    patch,
    resample,
    scale,
    set_to,
    shift,
    zero,
)
from mlstm.model.edits.files import read_edits, save_edits
from mlstm.model.edits.notation import parse_edit

__all__ = [
    "Batch",
    "Edit",
    "Edits",
    "batch",
    "clamp",
    "each_set",
    "erase",
    "make_edits",
    "mean",
    "parse_edit",
    "patch",
    "read_edits",
    "resample",
    "resolve",
    "save_edits",
    "scale",
    "set_to",
    "shift",
    "zero",
]
