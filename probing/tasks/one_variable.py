"""Labels as the values of one variable: each position has one class, which a classifier of all of
them tells."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from mlstm.errors import InputError
from probing.tasks.labelled import LabelledData, LabelledDocument, Labels

NO_CLASS = "(none)"


def one_variable(data: LabelledData, concept: str | None = None) -> LabelledData:
    """The same documents with classes that exclude each other and no numbers, so that `target` has
    a name for each position.

    concept: the class that is told from its absence; None for all classes, or for the only one.
    Where some positions have none of several classes, that is a class as well. InputError where
    there are numbers alone, or several classes that may overlap and none is named.
    """
    if not data.classes:
        raise InputError(
            f"task {data.task}: {', '.join(data.numbers)}: numbers and no class; a classifier is "
            "of classes"
        )
    if concept in data.numbers:
        raise InputError(f"{concept} is a number; a classifier is of classes")
    if concept is None and len(data.classes) > 1 and not data.exclusive:
        raise InputError(
            f"task {data.task}: its classes may overlap, so that one is told at a time; name the "
            f"concept: {', '.join(data.classes)}"
        )
    alone = len(data.classes) == 1
    if concept is not None or alone:
        concept = concept or data.concepts[0]
        other = (data.otherwise if alone else "") or f"not {concept}"
        return dataclasses.replace(data.only(concept), otherwise=other, exclusive=True)
    if all(data.labels(i).classes.any(1).all() for i in range(len(data.documents))):
        return dataclasses.replace(data, numbers=(), documents=_each(data, rest=False))
    rest = data.otherwise or NO_CLASS
    return dataclasses.replace(
        data,
        classes=(*data.classes, rest),
        numbers=(),
        documents=_each(data, rest=True),
        otherwise="",
    )


def _each(data: LabelledData, rest: bool) -> tuple[LabelledDocument, ...]:
    return tuple(dataclasses.replace(d, read=partial(_read, d, rest)) for d in data.documents)


def _read(document: LabelledDocument, rest: bool) -> Labels:
    labels = document.read()
    classes = labels.classes
    if rest:
        classes = np.concatenate([classes, ~classes.any(1, keepdims=True)], 1)
    return labels._replace(classes=classes, numbers=labels.numbers[:, :0])
