"""The ids of a labelled document, as a model's vocabulary has them."""

import numpy as np

from mlstm.errors import InputError
from mlstm.trained import Model
from probing.tasks.labelled import LabelledData


def ids_of(
    model: Model, data: LabelledData, document: int, part: slice = slice(None)
) -> np.ndarray:
    """One id for each byte of a document, or of a part of it. InputError names the document that
    has a byte which is none of the model's symbols; ValueError where the text is not cleaned as
    the model's was, which `probing.tasks.cleaned.for_model` does."""
    if model.cleaning not in ("none", data.cleaning):
        raise ValueError(f"the data is cleaned as {data.cleaning}, the model's as {model.cleaning}")
    text = data.documents[document]
    try:
        return model.vocabulary.encode(text.data[part])
    except InputError as error:
        raise InputError(f"{data.origin}: document {text.name}: {error}") from None
