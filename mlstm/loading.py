"""A trained model, read from its run: config, parameters, vocabulary and cleaning in one object.

Reading one needs neither an optimizer nor TensorBoard.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import jax
import numpy as np
from jax.sharding import Mesh

from mlstm.corpus import vocabulary as vocabularies
from mlstm.corpus.files import user_path
from mlstm.corpus.reading import Corpus
from mlstm.corpus.vocabulary import Vocabulary
from mlstm.errors import InputError
from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """What joins text and ids: everything that is needed to run a model on text."""

    config: ModelConfig
    parameters: dict[str, Any]
    vocabulary: Vocabulary
    cleaning: str = "none"
    origin: str = "memory"
    """Where it was read from: a run's path and step, and of a population the seed."""
    step: int | None = None
    seed: int | None = None
    """That it was trained with."""

    def __repr__(self) -> str:
        count = language_model.parameter_count(self.config)
        return (
            f"Model({self.config.cell}, {self.config.layers} x {self.config.hidden} units, "
            f"{count:,} parameters, {self.vocabulary.kind}, from {self.origin})"
        )

    def encode(
        self,
        texts: Iterable[str | bytes],
        site: str | Sequence[str] | None = None,
        pooling: str = "last",
        cleaning: str | None = None,
        *,
        streams: int | None = None,
        mesh: Mesh | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Features of texts, (texts, units) float32, in the order of the texts.

        Args:
          texts: each of any length. One without a byte, after cleaning, has the zero state: a row
            of zeros.
          site: states to read, as "0.c", "0.c,0.h" or a sequence of names, whose units come one
            after another; None is the primary one, `sites.primary`.
          pooling: over the positions of a text: "last" is the state after its last byte, else
            the "mean", "max" or "min" of each unit.
          cleaning: a recipe of `corpus.cleaning`: "none", "openai". None is the model's own.
          streams: how many texts are read side by side; None chooses by their lengths.
          mesh: of `devices.mesh`, for several devices. Processes of one job give the same texts,
            and each gets all rows.
          progress: called with the bytes read and all bytes.

        Each text starts from the zero state, and its row does not depend on the others, but for
        rounding. Raises InputError for a site, a pooling or a cleaning that there is not, and for
        what is no list of texts.
        """
        from mlstm import features

        return features.encode(
            self, texts, site, pooling, cleaning, streams=streams, mesh=mesh, progress=progress
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


@overload
def load(path: str | os.PathLike, step: int | None = None, *, seed: int) -> Model: ...


@overload
def load(
    path: str | os.PathLike, step: int | None = None, *, seed: int | None = None
) -> Model | list[Model]: ...


def load(
    path: str | os.PathLike, step: int | None = None, *, seed: int | None = None
) -> Model | list[Model]:
    """The model of a training run; of a population all of them, in a list by rising seed.

    Args:
      path: the run's workdir; training may be going on in it.
      step: which checkpoint; without it the one of the best validation, else the newest. That of
        a population is the best of the mean.
      seed: the model of this seed alone. A population is read and verified whole even so.

    Raises InputError when `path` is no run, has no such checkpoint or seed, or it is damaged.
    """
    from mlstm.checkpoint import read_parameters

    folder = user_path(path)
    description = read_config(folder)
    config = _model_config(description, folder / "config.json")
    seeds = seeds_of(description, folder / "config.json")
    _check_seed(folder, seeds, seed)
    vocabulary = vocabularies.from_json(description.get("vocabulary"))
    if vocabulary.size != config.vocabulary:
        raise InputError(
            f"{folder / 'config.json'}: model.vocabulary is {config.vocabulary}, the vocabulary "
            f"has {vocabulary.size} symbols"
        )
    parameters, step, _ = read_parameters(folder / "checkpoints", "best" if step is None else step)
    origin = f"{folder}, step {step}"
    _check_shapes(config, seeds, parameters, origin)
    models = [
        Model(
            config,
            member(parameters, seeds, of),
            vocabulary,
            description.get("cleaning", "none"),
            origin if len(seeds) == 1 else f"{origin}, seed {of}",
            step,
            of,
        )
        for of in ([seed] if seed is not None else seeds)
    ]
    return models if len(models) > 1 else models[0]


def load_one(path: str | os.PathLike, step: int | None = None, seed: int | None = None) -> Model:
    """`load` for whoever needs one model: InputError for a population of which none is chosen."""
    seeds = seeds_at(path)
    if seed is None and len(seeds) > 1:
        raise InputError(
            f"{user_path(path)} holds several models, and one is needed: {_named(seeds)}; choose "
            "with --model_seed=N"
        )
    return load(path, step, seed=seeds[0] if seed is None else seed)


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


def validation_curve(path: str | os.PathLike, seed: int | None = None) -> list[tuple[int, float]]:
    """(step, bits per byte) of the validations in a run's log so far; empty without a log.

    Of a population they are the means over its models, or those of the model of `seed`. Raises
    InputError for a seed that the run does not have.
    """
    folder, seeds, curve = user_path(path), seeds_at(path), []
    _check_seed(folder, seeds, seed)
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


def _model_config(description: dict[str, Any], file: Path) -> ModelConfig:
    fields = description.get("model")
    if not isinstance(fields, dict):
        raise InputError(f'{file}: no section "model"')
    try:
        return ModelConfig(**fields).check()
    except TypeError as error:
        raise InputError(f'{file}: section "model": {error}') from error


def _check_seed(folder: Path, seeds: range, seed: int | None) -> None:
    if seed is not None and seed not in seeds:
        raise InputError(f"{folder}: no model of seed {seed}; {_named(seeds)}")


def _named(seeds: range) -> str:
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
