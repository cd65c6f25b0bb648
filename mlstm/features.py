"""Texts to features: the states of a model after reading each, one row for a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jax.sharding import Mesh

from mlstm.corpus.cleaning import check_recipe, clean
from mlstm.errors import InputError
from mlstm.model import encoding, sites
from mlstm.model.pooling import POOLINGS, pool

if TYPE_CHECKING:
    from mlstm.trained import Model

WINDOW = 128


def encode(
    model: Model,
    texts: Iterable[str | bytes],
    site: str | Sequence[str] | None = None,
    pooling: str = "last",
    cleaning: str | None = None,
    *,
    streams: int | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """What `Model.encode` says."""
    names = sites.check_sites(model.config, site)
    check_pooling(pooling)
    ids = read(model, texts, check_recipe(model.cleaning if cleaning is None else cleaning))
    lengths = [len(each) for each in ids]
    if streams is None:
        streams = encoding.choose_streams(lengths, WINDOW, mesh=mesh)
    elif streams < 1:
        raise InputError(f"streams is {streams}; it must be 1 or more")
    found = np.zeros((len(ids), len(names) * model.config.hidden), np.float32)
    done, total = 0, sum(lengths)
    for ended in pool(
        model.config,
        model.parameters,
        ids,
        names,
        pooling,
        streams=streams,
        window=WINDOW,
        mesh=mesh,
    ):
        found[ended.texts] = ended.pooled
        done += ended.ids
        if progress:
            progress(done, total)
    return found


def check_pooling(name: str) -> str:
    """The name; InputError where no pooling has it."""
    if name not in POOLINGS:
        raise InputError(f'no pooling "{name}"; there are {", ".join(POOLINGS)}')
    return name


def read(model: Model, texts: Iterable[str | bytes], recipe: str) -> list[np.ndarray]:
    """The ids of each text, cleaned. InputError says which of them is no text."""
    if isinstance(texts, str | bytes):
        raise InputError("texts is one text; a list of them is needed: encode([text])")
    ids = []
    for number, text in enumerate(texts):
        if not isinstance(text, str | bytes):
            raise InputError(f"texts[{number}] is a {type(text).__name__}; it must be str or bytes")
        try:
            ids.append(model.vocabulary.encode(clean(text, recipe).data))
        except InputError as error:
            raise InputError(f"texts[{number}]: {error}") from None
    return ids
