"""A trained model, read from its run: config, parameters, vocabulary and cleaning in one object.

Reading one needs neither an optimizer nor TensorBoard.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax

from mlstm.corpus import vocabulary as vocabularies
from mlstm.corpus.files import user_path
from mlstm.corpus.reading import Corpus
from mlstm.corpus.vocabulary import Bytes
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """What joins text and ids: everything that is needed to run a model on text."""

    config: ModelConfig
    parameters: dict[str, Any]
    vocabulary: Bytes
    cleaning: str = "none"
    origin: str = "memory"
    """Where it was read from: a run's path and step."""
    step: int | None = None

    def __repr__(self) -> str:
        count = language_model.parameter_count(self.config)
        return (
            f"Model({self.config.cell}, {self.config.layers} x {self.config.hidden} units, "
            f"{count:,} parameters, {self.vocabulary.kind}, from {self.origin})"
        )


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """The config.json of a run. Raises InputError where there is none that this version reads."""
    folder = user_path(path)
    file = folder / "config.json"
    if not folder.exists():
        raise InputError(f"{folder}: no such folder; a model is the workdir of a training run")
    if not file.is_file():
        raise InputError(f"{folder}: not a run (no config.json); give the workdir of a training")
    try:
        config = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(f"{file}: format_version {version}; this version reads {FORMAT_VERSION}")
    return config


def load(path: str | os.PathLike, step: int | None = None) -> Model:
    """The model of a training run.

    Args:
      path: the run's workdir; training may be going on in it.
      step: which checkpoint; without it the one of the best validation, else the newest.

    Raises InputError when `path` is no run, has no such checkpoint, or it is damaged.
    """
    from mlstm.checkpoint import read_parameters

    folder = user_path(path)
    description = read_config(folder)
    config = _model_config(description, folder / "config.json")
    vocabulary = vocabularies.from_json(description.get("vocabulary"))
    if vocabulary.size != config.vocabulary:
        raise InputError(
            f"{folder / 'config.json'}: model.vocabulary is {config.vocabulary}, the vocabulary "
            f"has {vocabulary.size} symbols"
        )
    parameters, step, _ = read_parameters(folder / "checkpoints", "best" if step is None else step)
    _check_shapes(config, parameters, f"{folder}, step {step}")
    return Model(
        config,
        parameters,
        vocabulary,
        description.get("cleaning", "none"),
        f"{folder}, step {step}",
        step,
    )


def corpus_of(path: str | os.PathLike) -> Path:
    """The folder of the corpus that a run was trained on; beside its config if the run was moved.

    Raises InputError when it is not there any more, or is another text by now.
    """
    data = read_config(path).get("data")
    recorded = data if isinstance(data, dict) else {}
    for folder in (recorded.get("corpus"), user_path(path) / "corpus"):
        if folder and Path(folder).is_dir():
            if Corpus.open(folder).digest != recorded.get("digest"):
                raise InputError(
                    f"{folder}: no longer the text that {path} was trained on (its digest "
                    "differs); give a text with --data"
                )
            return Path(folder)
    raise InputError(
        f"{path}: its corpus {recorded.get('corpus')} is not there; give a text with --data"
    )


def validation_curve(path: str | os.PathLike) -> list[tuple[int, float]]:
    """(step, bits per byte) of the validations in a run's log so far; empty without a log."""
    curve = []
    with contextlib.suppress(OSError):
        for line in (user_path(path) / "metrics.jsonl").read_text().splitlines():
            with contextlib.suppress(ValueError):  # a line that is being written
                entry = json.loads(line)
                if entry.get("kind") == "validation" and entry["bits_per_byte"] is not None:
                    curve.append((entry["step"], entry["bits_per_byte"]))
    return curve


def _model_config(description: dict[str, Any], file: Path) -> ModelConfig:
    fields = description.get("model")
    if not isinstance(fields, dict):
        raise InputError(f'{file}: no section "model"')
    try:
        return ModelConfig(**fields).check()
    except TypeError as error:
        raise InputError(f'{file}: section "model": {error}') from error


def _check_shapes(config: ModelConfig, parameters: dict, origin: str) -> None:
    def shapes(tree) -> dict[str, tuple]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path): tuple(leaf.shape) for path, leaf in leaves}

    wanted, found = shapes(language_model.parameter_shapes(config)), shapes(parameters)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise InputError(
                f"{origin}: array {name} has shape {found.get(name)}, "
                f"the run's config.json asks for {wanted.get(name)}"
            )
