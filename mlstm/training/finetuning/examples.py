"""Labelled texts as arrays: what a classifier is trained on and measured with."""

# N texts, K classes

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlstm.classifier import BINARY, EXCLUSIVE, Labelling
from mlstm.errors import InputError


@dataclass(frozen=True, eq=False)
class Examples:
    """Texts and their labels.

    labels: (N,) whole numbers, each a place in the classes, where these exclude each other; of
    several labels (N, K) numbers, 1 or 0, and NaN where a text is not labelled so.
    """

    texts: Sequence[str | bytes]
    labels: np.ndarray

    def check(self, labelling: Labelling, name: str) -> Examples:
        """Return self, labels as float64 or int64; InputError that begins with `name`."""
        count, K = _count(self.texts, name), len(labelling.classes)
        if not count:
            raise InputError(f"{name}: no texts")
        exclusive = labelling.kind in (BINARY, EXCLUSIVE)
        wanted = (
            f"labels are whole numbers from 0 to {K - 1}"
            if exclusive
            else "labels are 1, 0, or NaN where there is none"
        )
        try:
            labels = np.asarray(self.labels)
        except ValueError:  # rows of several lengths
            raise InputError(f"{name}: labels are no array; {wanted}") from None
        shape = (count,) if exclusive else (count, K)
        if labels.shape != shape:
            of = "texts" if exclusive else f"texts of {K} labels"
            raise InputError(f"{name}: labels of shape {labels.shape}; {count} {of} need {shape}")
        if labels.dtype.kind not in "biuf":
            raise InputError(f"{name}: {wanted}; not {labels.dtype}")
        fit = np.isin(labels, np.arange(K if exclusive else 2))
        if not (fit if exclusive else fit | np.isnan(labels)).all():
            raise InputError(f"{name}: {wanted}")
        return Examples(self.texts, labels.astype(np.int64 if exclusive else np.float64))


def _count(texts: Any, name: str) -> int:
    if isinstance(texts, str | bytes) or not isinstance(texts, Collection):
        raise InputError(f"{name}: texts is a {type(texts).__name__}; a list of them is needed")
    return len(texts)


def targets(labelling: Labelling, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the head is to put out, (N, outputs) of 0 and 1, and the weight of each, 0 where
    nothing is known, both float32. Of exclusive classes the weight is that of the text."""
    if labelling.kind == EXCLUSIVE:
        wanted = labels[:, None] == np.arange(len(labelling.classes))
        return wanted.astype(np.float32), np.ones(wanted.shape, np.float32)
    values = labels[:, None].astype(float) if labelling.kind == BINARY else labels
    known = ~np.isnan(values)
    return np.where(known, values, 0).astype(np.float32), known.astype(np.float32)


def balanced(labelling: Labelling, wanted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights that give each class, and of a label its yes and its no, the same sum; their mean
    stays 1 where something is known. A class that does not occur gets none."""
    if labelling.kind == EXCLUSIVE:
        counts = wanted.sum(0)
        each = len(wanted) / ((counts > 0).sum() * np.maximum(counts, 1))
        return weights * (wanted @ each)[:, None].astype(np.float32)
    known = weights.sum(0)
    yes = (wanted * weights).sum(0)
    no = known - yes
    sides = np.maximum((yes > 0).astype(float) + (no > 0), 1)
    of_yes = known / (sides * np.maximum(yes, 1))
    of_no = known / (sides * np.maximum(no, 1))
    return (weights * np.where(wanted > 0, of_yes, of_no)).astype(np.float32)


def has(labelling: Labelling, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) bool, which classes each text has, and whether that is known."""
    if labelling.kind in (BINARY, EXCLUSIVE):
        members = labels[:, None] == np.arange(len(labelling.classes))
        return members, np.ones(members.shape, bool)
    known = ~np.isnan(labels)
    return (labels == 1) & known, known


def check_variety(labelling: Labelling, labels: np.ndarray, name: str) -> None:
    """InputError where there is nothing to learn: one class alone."""
    members, known = has(labelling, labels)
    first = 1 if labelling.kind == BINARY else 0  # a yes or no is said once
    for k, label in list(enumerate(labelling.classes))[first:]:
        values = members[known[:, k], k]
        if labelling.kind == EXCLUSIVE:
            if values.all():
                raise InputError(
                    f"{name}: all {len(values)} texts are {label}; two classes are needed"
                )
        elif not values.any() or values.all():
            what = "all" if len(values) and values.all() else "none"
            raise InputError(
                f"{name}: {what} of {len(values)} labelled texts are {label}; both are needed"
            )
