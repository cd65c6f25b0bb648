"""Labelled data as a model reads it: documents cleaned by a recipe, and labels where they went."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mlstm.corpus.cleaning import Cleaned, check_recipe, clean
from mlstm.errors import InputError
from probing.tasks.of_tokens import of_tokens

if TYPE_CHECKING:
    from mlstm.trained import Model
    from probing.tasks.labelled import LabelledData, LabelledDocument, Labels


def for_model(model: Model, data: LabelledData) -> LabelledData:
    """The data cleaned as the model's texts were, with the labels that its tokens have
    (`of_tokens`); as they are where they are so already."""
    return of_tokens(text_for_model(model, data), model.vocabulary)


def text_for_model(model: Model, data: LabelledData) -> LabelledData:
    """The data cleaned as the model's texts were, with all labels of bytes."""
    try:
        return data.cleaned(model.cleaning)
    except InputError as error:
        raise InputError(f"{model.origin}: {error}") from None


def cleaned(data: LabelledData, recipe: str) -> LabelledData:
    """What `LabelledData.cleaned` says."""
    if check_recipe(recipe) in ("none", data.cleaning):
        return data
    if data.cleaning != "none":
        raise InputError(
            f"{data.origin}: its text is cleaned as {data.cleaning}, and can no more be cleaned as "
            f"{recipe}; give the text as it was before"
        )
    whole = data.unit == "document"
    return dataclasses.replace(
        data,
        origin=f"{data.origin}, cleaned as {recipe}",
        documents=tuple(_document(document, recipe, whole) for document in data.documents),
        cleaning=recipe,
    )


def moved(labels: Labels, to: Cleaned, whole: bool) -> Labels:
    """Labels of a raw text as those of the cleaned one. What nothing is left of has none.

    whole: they are of the document, so that the state is the one after all of the cleaned text.
    """
    starts, ends = to.offsets[labels.starts], to.offsets[labels.ends]
    positions = to.offsets[labels.positions + 1] - 1
    kept = (ends > starts) & (positions >= 0)
    if whole:
        positions[:] = len(to.data) - 1
        every = (labels.starts == 0) & (labels.ends == len(to.offsets) - 1)
        starts, ends = np.where(every, 0, starts), np.where(every, len(to.data), ends)
    return labels._replace(
        positions=positions[kept].astype(np.int32),
        starts=starts[kept].astype(np.int32),
        ends=ends[kept].astype(np.int32),
        classes=labels.classes[kept],
        numbers=labels.numbers[kept],
    )


def _document(document: LabelledDocument, recipe: str, whole: bool) -> LabelledDocument:
    """An empty one stays empty, as it does in a corpus."""
    if not document.data:
        return document
    return dataclasses.replace(
        document,
        data=clean(document.data, recipe).data,
        read=partial(_read, document, recipe, whole),
    )


def _read(document: LabelledDocument, recipe: str, whole: bool) -> Labels:
    """Cleaned once more: offsets of all documents would take many times the text."""
    return moved(document.read(), clean(document.data, recipe), whole)
