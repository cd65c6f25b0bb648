"""The folder of a training run, read: its models, its config, its text, how it went.

Reading one needs neither an optimizer nor TensorBoard.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import jax

from mlstm.corpus import vocabulary as vocabularies
from mlstm.corpus.files import user_path
from mlstm.corpus.reading import Corpus
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.config import ModelConfig
from mlstm.trained import Model

FORMAT_VERSION = 1


def is_run(path: str | os.PathLike) -> bool:
    """Whether this is the folder of a run: of another's model it may have a config.json as well."""
    with contextlib.suppress(OSError, ValueError, InputError):
        folder = user_path(path)
        text = (folder / "config.json").read_text()
        return (folder / "checkpoints").is_dir() or '"format_version"' in text
    return False


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


def seeds_of(description: dict[str, Any], file: Path) -> range:
    """The seeds of a run's models, from its config.json (at `file`). Raises InputError."""
    first, count = description.get("seed", 0), description.get("seeds", 1)
    if type(first) is not int or type(count) is not int or count < 1:
        raise InputError(
            f"{file}: seed {first!r} and seeds {count!r} have to be whole numbers, seeds 1 or more"
        )
    return range(first, first + count)


def seeds_at(path: str | os.PathLike) -> range:
    """The seeds of the models of the run in this folder. Raises InputError."""
    return seeds_of(read_config(path), user_path(path) / "config.json")


def member(tree: Any, seeds: range, seed: int) -> Any:
    """What the model of `seed` has of arrays whose first axis is `seeds`. Arrays of one seed have
    no such axis, and are returned as they are."""
    return tree if len(seeds) == 1 else jax.tree.map(lambda x: x[seeds.index(seed)], tree)


def load_run(
    path: str | os.PathLike, step: int | None = None, *, seed: int | None = None
) -> list[Model]:
    """The models of a run, by rising seed, or that of one seed; as `mlstm.load` says."""
    from mlstm.checkpoint import read_parameters

    folder = user_path(path)
    description = read_config(folder)
    config = model_config(description, folder / "config.json")
    seeds = seeds_of(description, folder / "config.json")
    check_seed(folder, seeds, seed)
    vocabulary = vocabularies.from_json(description.get("vocabulary"))
    if vocabulary.size != config.vocabulary:
        raise InputError(
            f"{folder / 'config.json'}: model.vocabulary is {config.vocabulary}, the vocabulary "
            f"has {vocabulary.size} symbols"
        )
    parameters, step, _ = read_parameters(folder / "checkpoints", "best" if step is None else step)
    origin = f"{folder}, step {step}"
    _check_shapes(config, seeds, parameters, origin)
    return [
        Model(
            config,
            member(parameters, seeds, of),
            vocabulary,
            description.get("cleaning", "none"),
            origin if len(seeds) == 1 else f"{origin}, seed {of}",
            step,
            of,
            description.get("imported") is True,
        )
        for of in ([seed] if seed is not None else seeds)
    ]


def corpus_of(path: str | os.PathLike) -> Path:
    """The folder of the corpus that a run was trained on; beside its config if the run was moved.

    Raises InputError when it is not there any more, or is another text by now, and for a model
    that is no run.
    """
    if not is_run(path) and (":" in os.fspath(path) or user_path(path).exists()):
        raise InputError(
            f"{path}: no training run, and no text comes with it; give a text with --data"
        )
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


def validation_curve(path: str | os.PathLike, seed: int | None = None) -> list[tuple[int, float]]:
    """(step, bits per byte) of the validations in a run's log so far; empty without a log or run.

    Of a population they are the means over its models, or those of the model of `seed`. Raises
    InputError for a seed that the run does not have.
    """
    if not is_run(path):
        return []
    folder, seeds, curve = user_path(path), seeds_at(path), []
    check_seed(folder, seeds, seed)
    nth = seeds.index(seed) if seed is not None and len(seeds) > 1 else None
    with contextlib.suppress(OSError):
        for line in (folder / "metrics.jsonl").read_text().splitlines():
            with contextlib.suppress(ValueError):  # a line that is being written
                entry = json.loads(line)
                if entry.get("kind") != "validation":
                    continue
                whole = entry["bits_per_byte"]
                bits = whole if nth is None else entry["bits_per_byte_of_seeds"][nth]
                if bits is not None:
                    curve.append((entry["step"], bits))
    return curve


def model_config(description: dict[str, Any], file: Path) -> ModelConfig:
    """That of a run, from its config.json (at `file`). Raises InputError."""
    fields = description.get("model")
    if not isinstance(fields, dict):
        raise InputError(f'{file}: no section "model"')
    try:
        return ModelConfig(**fields).check()
    except TypeError as error:
        raise InputError(f'{file}: section "model": {error}') from error


def check_seed(folder: Path, seeds: range, seed: int | None) -> None:
    """Raises InputError for a seed that a run does not have."""
    if seed is not None and seed not in seeds:
        raise InputError(f"{folder}: no model of seed {seed}; {named(seeds)}")


def named(seeds: range) -> str:
    """The seeds of a run, for people."""
    return (
        f"its seeds are {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"its seed is {seeds[0]}"
    )


def _check_shapes(config: ModelConfig, seeds: range, parameters: dict, origin: str) -> None:
    def shapes(tree, *axes: int) -> dict[str, tuple]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path): (*axes, *leaf.shape) for path, leaf in leaves}

    axes = (len(seeds),) if len(seeds) > 1 else ()
    wanted, found = shapes(language_model.parameter_shapes(config), *axes), shapes(parameters)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise InputError(
                f"{origin}: array {name} has shape {found.get(name)}, "
                f"the run's config.json asks for {wanted.get(name)}"
            )
