"""`mlstm.load`: a model of a training run, of a file of ours, or of what others published."""

from __future__ import annotations

import os
from pathlib import Path
from typing import overload

import jax
import jax.numpy as jnp

from mlstm.corpus import vocabulary as vocabularies
from mlstm.corpus.files import user_path
from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError
from mlstm.formats import known
from mlstm.formats.found import Found
from mlstm.runs import is_run, load_run, named, read_config, seeds_at
from mlstm.trained import Model


@overload
def load(path: str | os.PathLike, step: int | None = None, *, seed: int) -> Model: ...


@overload
def load(
    path: str | os.PathLike, step: int | None = None, *, seed: int | None = None
) -> Model | list[Model]: ...


def load(
    path: str | os.PathLike, step: int | None = None, *, seed: int | None = None
) -> Model | list[Model]:
    """The model of a training run, of a population all of them in a list by rising seed, or one
    that was published.

    Args:
      path: a run's workdir, in which training may be going on; a file that `mlstm.save` wrote; a
        file or folder of any format of `mlstm.formats`, which is recognised; "hf:owner/name" or
        "hf:owner/name:file" on the Hugging Face hub; "published:NAME", one that
        `formats.published` lists.
      step: of a run, which checkpoint; without it the one of the best validation, else the newest.
        That of a population is the best of the mean.
      seed: of a run, the model of this seed alone. A population is read and verified whole even so.

    Raises InputError when `path` is nothing that can be read, has no such checkpoint or seed, or is
    damaged.
    """
    if is_run(path):
        models = load_run(path, step, seed=seed)
        return models if len(models) > 1 else models[0]
    module, place = known.locate(path)
    if module is None:
        raise unknown(place)
    if step is not None or seed is not None:
        raise InputError(f"{path} is no training run: it has no steps and no seeds to choose from")
    return to_model(known.read(module, place), str(path), known.facts(module, place))


def load_one(path: str | os.PathLike, step: int | None = None, seed: int | None = None) -> Model:
    """`load` for whoever needs one model: InputError for a population of which none is chosen."""
    if seed is None and is_run(path):
        seeds = seeds_at(path)
        if len(seeds) > 1:
            raise InputError(
                f"{user_path(path)} holds several models, and one is needed: {named(seeds)}; "
                "choose with --model_seed=N"
            )
    model = load(path, step, seed=seed)
    assert isinstance(model, Model)
    return model


def to_model(found: Found, origin: str, facts: dict | None = None) -> Model:
    """What a file held as a model, its arrays on the device. facts: of the training, where they
    are known; without them others have trained it."""
    return Model(
        found.config,
        jax.tree.map(jnp.asarray, found.parameters),
        found.vocabulary,
        found.cleaning,
        origin,
        **(facts or {"imported": True}),
    )


def text_of(path: str | os.PathLike) -> tuple[Vocabulary, str]:
    """The vocabulary of a model, and the cleaning that its texts get. Raises InputError."""
    if is_run(path):
        description = read_config(path)
        vocabulary = vocabularies.from_json(description.get("vocabulary"))
        return vocabulary, description.get("cleaning", "none")
    model = load_one(path)
    return model.vocabulary, model.cleaning


def unknown(path: Path) -> InputError:
    """For a path that is neither a run nor of a known format."""
    if (path / "config.json").is_file():
        read_config(path)  # says what is wrong with it
    if not path.exists():
        return InputError(
            f"{path}: no such folder or file; a model is the workdir of a training run, or of a "
            f"format that can be read: {known.listed()}"
        )
    return InputError(
        f"{path}: not a run (no config.json), and no model of a format that can be read: "
        f"{known.listed()}"
    )
