"""A fine-tuned classifier on disk, a folder of three files that know each other by their sha256.

model.safetensors        the fine-tuned language model, which `mlstm.load(folder)` reads
classifier.safetensors   head.N.w (in, out) and head.N.b of each layer, mean and scale (F,)
classifier.json          all the rest
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from mlstm.classifier import Classifier, Labelling
from mlstm.errors import InputError
from mlstm.features import check_pooling
from mlstm.model import head as heads
from mlstm.model import sites
from mlstm.model.head import HeadConfig
from mlstm.model.whole_texts import What
from mlstm.output import to_json, write_whole

FORMAT, FORMAT_VERSION = "fine-tuned classifier", 1
MODEL, ARRAYS, ABOUT = "model.safetensors", "classifier.safetensors", "classifier.json"
_FIELDS = {
    "format": str,
    "format_version": int,
    "labelling": str,
    "classes": list,
    "thresholds": list,
    "sites": list,
    "poolings": list,
    "cleaning": str,
    "limit": int,
    "sizes": list,
    "activation": str,
    "dropout": float,
    "files": dict,
    "about": dict,
}


def save(classifier: Classifier, folder: str | os.PathLike) -> None:
    """What `Classifier.save` says."""
    from mlstm.formats.safetensors import save as save_model

    folder = Path(folder)
    save_model(classifier.model, str(folder / MODEL))
    arrays = {
        f"head.{layer}.{name}": np.array(array, np.float32)
        for layer, of in classifier.parameters.items()
        for name, array in of.items()
    }
    arrays |= {name: np.array(array, np.float32) for name, array in classifier.given.items()}
    write_whole(folder / ARRAYS, safetensors.numpy.save(arrays))
    described = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "labelling": classifier.labelling.kind,
        "classes": list(classifier.labelling.classes),
        "thresholds": list(classifier.thresholds),
        "sites": list(classifier.what.sites),
        "poolings": list(classifier.what.poolings),
        "cleaning": classifier.model.cleaning,
        "limit": classifier.limit,
        "sizes": list(classifier.head.sizes),
        "activation": classifier.head.activation,
        "dropout": classifier.head.dropout,
        "files": {name: _sha256(folder / name) for name in (MODEL, ARRAYS)},
        "about": classifier.about,
    }
    write_whole(folder / ABOUT, to_json(described, indent=2) + "\n")


def is_one(folder: str | os.PathLike) -> bool:
    """Whether a folder says that it is a fine-tuned classifier; where its description is damaged
    the arrays beside it say so."""
    folder = Path(folder)
    try:
        said = json.loads((folder / ABOUT).read_bytes())["format"] == FORMAT
    except OSError:
        return False
    except (ValueError, RecursionError, LookupError, TypeError):
        said = False
    return said or (folder / ARRAYS).exists()


def load_classifier(folder: str | os.PathLike) -> Classifier:
    """What a fine-tuning left in a folder. InputError, naming the file, for anything else."""
    from mlstm.corpus.files import user_path
    from mlstm.loading import load_one

    folder = user_path(folder)
    described = _read(folder / ABOUT)
    for name in (MODEL, ARRAYS):
        try:
            found = _sha256(folder / name)
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read: {error.strerror}") from None
        if found != described["files"].get(name):
            raise InputError(f"{folder}: {name} is not the one that {ABOUT} describes")
    model = load_one(folder)
    if model.cleaning != described["cleaning"]:
        raise InputError(f"{folder}: {MODEL} has another cleaning than {ABOUT} says")
    try:
        labelling = Labelling(described["labelling"], tuple(described["classes"])).check()
        what = What(
            sites.check_sites(model.config, described["sites"]),
            tuple(check_pooling(name) for name in described["poolings"]),
        )
        config = HeadConfig(
            what.features(model.config),
            labelling.outputs,
            tuple(described["sizes"]),
            described["activation"],
            described["dropout"],
        ).check()
        thresholds = tuple(map(float, described["thresholds"]))
        if len(thresholds) != len(labelling.labels) or described["limit"] < 0:
            raise InputError("thresholds or limit are not as they have to be")
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{folder / ABOUT}: {error}; it is damaged") from None
    parameters, given = _arrays(folder / ARRAYS, config)
    return Classifier(
        model,
        labelling,
        thresholds,
        what,
        config,
        parameters,
        given,
        described["limit"],
        described["about"],
        str(folder),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read: {error.strerror}; a fine-tuning writes it"
        ) from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: not JSON; it is damaged") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise InputError(f"{file}: not that of a fine-tuned classifier; it is another or damaged")
    if described.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{file}: format_version {described.get('format_version')}; this version reads "
            f"{FORMAT_VERSION}"
        )
    for name, kind in _FIELDS.items():
        value = described.get(name)
        if type(value) is int and kind is float:
            described[name] = value = float(value)
        if type(value) is not kind:
            raise InputError(f"{file}: {name} is {str(value)[:40]!r}: it is damaged")
    return described


def _arrays(file: Path, config: HeadConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        found = safetensors.numpy.load_file(file)
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(f"{file}: not a safetensors file: {error}") from None
    shapes = {
        f"head.{layer}.{name}": array.shape
        for layer, of in heads.parameter_shapes(config).items()
        for name, array in of.items()
    }
    shapes |= dict.fromkeys(("mean", "scale"), (config.features,))
    for name in sorted(shapes.keys() | found.keys()):
        shape = found[name].shape if name in found else None
        if shape != shapes.get(name):
            raise InputError(
                f"{file}: array {name} has the shape {shape}, it has to be {shapes.get(name)}"
            )
        if not np.isfinite(found[name]).all():
            raise InputError(f"{file}: array {name} has values that are not finite; it is damaged")
    parameters: dict[str, Any] = {}
    for layer, of in heads.parameter_shapes(config).items():
        parameters[layer] = {name: jax.numpy.asarray(found[f"head.{layer}.{name}"]) for name in of}
    return parameters, {name: jax.numpy.asarray(found[name]) for name in ("mean", "scale")}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
