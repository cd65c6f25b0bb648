"""A fine-tuning, in the order in which things happen.

What is trained depends on the model, the texts and the config alone: one that was stopped anywhere
and begun again ends with the same bits as one that was not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlstm import classifier_files
from mlstm import features as reading
from mlstm.classifier import Classifier, Labelling, limited
from mlstm.errors import InputError, check_one
from mlstm.model import sites
from mlstm.model.config import ModelConfig
from mlstm.model.head import HeadConfig
from mlstm.model.whole_texts import What
from mlstm.output import check_folder
from mlstm.trained import Model
from mlstm.training.finetuning import choosing, resuming, step
from mlstm.training.finetuning.config import FinetuneConfig, check_once
from mlstm.training.finetuning.examples import Examples, balanced, check_variety, targets
from mlstm.training.finetuning.step import Shape
from mlstm.training.finetuning.work import Progress, Work


@dataclass(frozen=True, eq=False)
class Finetuned:
    """What a fine-tuning made."""

    classifier: Classifier
    epochs: tuple[dict[str, Any], ...]
    """Of each: its number (0 is before the first, the head alone), the loss of the steps, and on
    dev loss, score and thresholds."""
    best: int
    """The epoch whose parameters are kept: that of the best score on dev; of equals, of the lowest
    loss there."""
    resumed: int | None = None
    """The epoch after which it went on, where it had been begun before; the last one where it was
    done already."""

    def __str__(self) -> str:
        lines = ["epoch   train loss   dev loss   dev score"]
        for entry in self.epochs:
            loss = entry["loss"]
            lines.append(
                f"{entry['epoch']:5}   {f'{loss:10.4f}' if loss is not None else ' ' * 10}   "
                f"{entry['dev_loss']:8.4f}   {entry['dev_score']:9.4f}"
                f"{'  (best)' if entry['epoch'] == self.best else ''}"
            )
        return "\n".join(lines)


def finetune(
    model: Model,
    train: Examples,
    dev: Examples,
    labelling: Labelling,
    config: FinetuneConfig,
    folder: str | os.PathLike | None = None,
    *,
    progress: Progress = lambda what, done, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Finetuned:
    """Train head and model on the train texts; choose epoch and thresholds on dev.

    First the head alone, for `config.freeze` steps on features that are computed once, then both.

    folder: where the classifier is saved, and until then the state after each epoch, from which
        the same call goes on.
    progress: called with what is done, how much and of how much: bytes. tell: with a line for
    each epoch.

    InputError for labels that do not fit, one class alone, a list of models, a loss that is not
    finite, and where a folder holds another model or fine-tuning, or the beginning of one.
    """
    check_one(model)
    config.check()
    if folder is not None:
        _check_free(Path(folder))
    labelling.check()
    train, dev = train.check(labelling, "train"), dev.check(labelling, "dev")
    check_variety(labelling, train.labels, "train")
    if config.language_model_loss and model.config.readout == "none":
        raise InputError(
            f"language_model_loss is {config.language_model_loss}: the model has no readout, so "
            "that what it puts out next is not known; leave it at 0"
        )
    what = What(sites.check_sites(model.config, config.sites or None), config.poolings)
    check_once("sites", what.sites)
    head = HeadConfig(
        what.features(model.config),
        labelling.outputs,
        config.sizes,
        config.activation,
        config.dropout,
    ).check()
    shape = Shape(model.config, head, what, labelling.kind, config.language_model_loss)
    ids, dev_ids = (
        limited(reading.read(model, of.texts, model.cleaning), config.limit) for of in (train, dev)
    )
    wanted, weights = targets(labelling, train.labels)
    if config.class_weights == "balanced":
        weights = balanced(labelling, wanted, weights)
    work = Work(shape, config, labelling, ids, wanted, weights, dev_ids, dev.labels, progress)

    of = _plain(
        {
            "config": dataclasses.asdict(config) | {"sites": list(what.sites)},
            "labelling": [labelling.kind, *labelling.classes],
            "model": _digest(jax.tree.leaves(model.parameters)),
            "model's cell": _function_of(model.config),
            "train texts": _digest([*ids, train.labels]),
            "dev texts": _digest([*dev_ids, dev.labels]),
        }
    )
    if folder is not None:
        check_folder(folder)
        if made := _finished(Path(folder), of):
            return made
    state, standard, best = work.like(model)
    found = resuming.read(Path(folder), of, (state, standard, best)) if folder is not None else None
    if found:
        notes, (state, standard, best) = found
        history = notes["epochs"]
        resumed = len(history) - 1
    else:
        resumed, history = None, []
        standard, of_head = work.head_alone(model)
        state = state._replace(parameters={"model": model.parameters, "head": of_head})
        best = jax.tree.map(jnp.copy, state.parameters)
        state = state._replace(parameters=jax.tree.map(jnp.copy, state.parameters))

    run = None
    while len(history) <= config.epochs:
        epoch, loss = len(history), None
        if epoch:
            run = run or step.make_step(shape, config, work.steps)
            state, loss = work.epoch(run, epoch, state, standard)
        chosen = work.dev(state.parameters, standard)
        history.append(_plain({"epoch": epoch, "loss": loss, **chosen}))
        if choosing.best(history) == epoch:
            best = jax.tree.map(jnp.copy, state.parameters)
        if folder is not None:
            resuming.write(Path(folder), of, {"epochs": history}, (state, standard, best))
        tell(_line(history[-1], config.epochs))
    chosen = choosing.best(history)
    made = Classifier(
        dataclasses.replace(
            model, parameters=best["model"], origin=f"{model.origin}, fine-tuned", step=None
        ),
        labelling,
        tuple(history[chosen]["thresholds"]),
        what,
        head,
        best["head"],
        standard,
        config.limit,
        {"model": model.origin, "of": of, "epochs": history, "epoch": chosen},
    )
    if folder is not None:
        made.save(folder)
        resuming.remove(Path(folder))
    return Finetuned(made, tuple(history), chosen, resumed)


def _check_free(folder: Path) -> None:
    """InputError where a folder is a model that no fine-tuning left there: what is written beside
    it would be read in its place."""
    from mlstm.formats import known

    if classifier_files.is_one(folder) or (folder / resuming.FILE).exists():
        return
    if module := known.recognised(folder):
        raise InputError(f"{folder} is a model already ({module.NAME}); give a folder of its own")


def _finished(folder: Path, of: dict[str, Any]) -> Finetuned | None:
    """What is in the folder already. InputError where that is another classifier."""
    if not classifier_files.is_one(folder):
        return None
    made = classifier_files.load_classifier(folder)
    resuming.check_same(folder, made.about.get("of", {}), of)
    resuming.remove(folder)  # it was killed between the last two lines of `finetune`
    history = made.about["epochs"]
    return Finetuned(made, tuple(history), made.about["epoch"], len(history) - 1)


def _function_of(config: ModelConfig) -> tuple:
    """What a model computes with its parameters, but for rounding."""
    return config.cell, config.layers, config.weight_norm, config.residual, config.products


def _line(entry: dict[str, Any], epochs: int) -> str:
    loss = "" if entry["loss"] is None else f"train loss {entry['loss']:.4f}, "
    return (
        f"epoch {entry['epoch']} of {epochs}: {loss}dev loss {entry['dev_loss']:.4f}, "
        f"dev score {entry['dev_score']:.4f}"
    )


def _digest(arrays: list[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _plain(tree: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(tree, dict):
        return {name: _plain(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    return tree
