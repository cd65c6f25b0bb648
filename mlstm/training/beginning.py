"""A run that begins with the parameters of another model: its shape, and its arrays."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from mlstm import job
from mlstm.checkpoint import read_parameters
from mlstm.checkpoint_errors import say
from mlstm.corpus.cleaning import otherwise
from mlstm.corpus.files import user_path
from mlstm.corpus.reading import Corpus
from mlstm.errors import InputError
from mlstm.loading import load_one, text_of
from mlstm.model.config import ModelConfig
from mlstm.runs import is_run, read_config, seeds_of
from mlstm.trained import Model
from mlstm.training import config as configs
from mlstm.training.config import Config

# Of training alone: a model that begins with another's arrays may be trained otherwise.
_OF_TRAINING = {
    "dropout", "output_dropout", "hidden_dropout", "embedding_dropout", "products", "forget_bias",
    "initialisation",
}  # fmt: skip


def absolute(model: str) -> str:
    """What `model` means here, wherever it is read later: a path with all its folders."""
    if model.startswith(("hf:", "published:")):
        return model
    return str(user_path(model).resolve())


def adopt(
    config: Config, init_from: str, workdir: str | os.PathLike, kept: Collection[str] = ()
) -> tuple[Config, list[str]]:
    """The config with the shape of the model that a run in `workdir` begins with, and what became
    different, for people: "model.hidden=4096".

    kept: fields of the model's config that are asked for as they are; `loop.run` refuses those
    that differ. Raises InputError.
    """
    shape = _begun_with(workdir, init_from) or _shape_of(init_from)
    ours = dataclasses.asdict(config.model)
    changed = {
        name: value
        for name, value in dataclasses.asdict(shape).items()
        if _shapes(name) and name not in kept and ours[name] != value
    }
    adopted = dataclasses.replace(config, model=dataclasses.replace(config.model, **changed))
    adopted.check()
    return adopted, [f"model.{name}={value}" for name, value in changed.items()]


class Start(NamedTuple):
    """What a run begins with."""

    parameters: Any
    imported: bool
    """Whether others have trained them, as `Model` has it."""


def start_of(init_from: str, config: Config, corpus: Corpus) -> Start:
    """The parameters of a run or another model, for a model of the same shape, or of a population
    as many of them. Raises InputError, also where the text has another vocabulary than it."""
    model = check(init_from, config, corpus)
    if model is not None:
        return Start(model.parameters, model.imported)
    parameters = read_parameters(user_path(init_from) / "checkpoints", "best")[0]
    return Start(parameters, bool(read_config(init_from).get("imported", False)))


def check(init_from: str, config: Config, corpus: Corpus) -> Model | None:
    """InputError where a run of this config on this text cannot begin with that model; one line
    where the text is cleaned otherwise than its texts were. The model, if it is no run."""
    model = None if is_run(init_from) else load_one(init_from)
    if model is not None:
        count, shape = 1, model.config
        vocabulary, cleaning = model.vocabulary, model.cleaning
    else:
        record = read_config(init_from)
        count = len(seeds_of(record, Path(init_from) / "config.json"))
        shape = _config_in(record, init_from)
        vocabulary, cleaning = text_of(init_from)
    _check_count(init_from, count, config)
    _check_same(init_from, shape, config)
    _check_vocabulary(init_from, vocabulary, corpus)
    if (note := otherwise(corpus.cleaning, cleaning)) and job.is_first():
        say(note)
    return model


def _shape_of(init_from: str) -> ModelConfig:
    if not is_run(init_from):
        return load_one(init_from).config
    return _config_in(read_config(init_from), init_from)


def _begun_with(workdir: str | os.PathLike, init_from: str) -> ModelConfig | None:
    """The model's config of a run that has begun so already, which needs the other one no more."""
    if not workdir or not is_run(workdir):
        return None
    record = read_config(workdir)
    if record.get("init_from") != absolute(init_from):
        return None
    return _config_in(record, str(workdir))


def _config_in(record: dict[str, Any], run: str) -> ModelConfig:
    theirs = record.get("model")
    if not isinstance(theirs, dict):
        raise InputError(f'--init_from={run}: its config.json has no section "model"')
    try:
        return ModelConfig(**theirs)
    except TypeError as error:
        raise InputError(f"--init_from={run}: its config.json: {error}") from None


def _shapes(name: str) -> bool:
    """Whether a field of the model's config says what its arrays are, or what is done with them."""
    return name not in _OF_TRAINING and not configs.may_change(f"model.{name}")


def _check_count(init_from: str, count: int, config: Config) -> None:
    if count != config.seeds:
        raise InputError(
            f"--init_from={init_from} has parameters for seeds={count}, config.seeds is "
            f"{config.seeds}: each model begins with those of one, so give --config.seeds={count}"
        )


def _check_same(init_from: str, shape: ModelConfig, config: Config) -> None:
    theirs, ours = dataclasses.asdict(shape), dataclasses.asdict(config.model)
    wrong = [name for name in ours if _shapes(name) and theirs[name] != ours[name]]
    if wrong:
        listed = "; ".join(f"model.{n} is {theirs[n]!r} there, {ours[n]!r} here" for n in wrong)
        raise InputError(f"--init_from={init_from} is another model: {listed}")


def _check_vocabulary(init_from: str, vocabulary: Any, corpus: Corpus) -> None:
    if vocabulary != corpus.vocabulary:
        raise InputError(
            f"--init_from={init_from} has the vocabulary {vocabulary}, the text of {corpus.folder} "
            f"has {corpus.vocabulary}: prepare it with launch.prepare --vocabulary_of={init_from}"
        )
