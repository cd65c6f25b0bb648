"""A fitted linear probe in one file: safetensors, with what the arrays mean as JSON in its header.

Nothing in such a file is run: it holds numbers, names and text.
"""

# N rows, H features, K classes; a probe of two classes has one row of coefficients

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save

from mlstm.errors import InputError
from mlstm.output import to_json, write_whole
from probing.evidence.probes.linear import (
    LinearProbe,
    linear_scores,
    most_likely,
    probabilities,
)

FORMAT_VERSION = 1
KEY = "mlstm_probe"
ARRAYS = {"coef", "intercept", "scale"}
PYTHON = {"str": str, "int": int, "bool": bool, "float": float}


@dataclass(frozen=True)
class SavedProbe:
    """A linear probe as it was fitted, ready for new states of the same site and model."""

    kind: str  # the estimator that it was: "LogisticProbe"
    site: str  # whose states it reads: "0.c"
    model_digest: str  # of the model they come from
    classes: np.ndarray  # (K,)
    coef: np.ndarray  # (1 or K, H) float64, in the units of the states
    intercept: np.ndarray  # (1 or K,) float64
    scale: np.ndarray  # (H,) float64: standard deviations where it was fitted

    @property
    def coef_standard(self) -> np.ndarray:
        """(1 or K, H) for states in standard deviations."""
        return self.coef * self.scale

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """(N,) for two classes, positive for the second; else (N, K). InputError for other X."""
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.coef.shape[1]:
            raise InputError(
                f"states have shape {X.shape}; the probe of site {self.site} reads "
                f"(rows, {self.coef.shape[1]})"
            )
        return linear_scores(X, self.coef, self.intercept)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(N,) of `classes`."""
        return most_likely(self.decision_function(X), self.classes)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """(N, K) in the order of `classes`; of a ridge probe scores, not chances: InputError."""
        if self.kind == "RidgeProbe":
            raise InputError("a RidgeProbe gives no probabilities; use decision_function")
        return probabilities(self.decision_function(X))


def save_probe(
    probe: LinearProbe, path: str | os.PathLike, *, site: str, model_digest: str
) -> None:
    """Write a fitted linear probe as .safetensors, whole or not at all.

    InputError where it cannot be written or has classes that are not text, numbers or truth.
    """
    classes = probe.classes_.tolist()
    names = {type(each).__name__ for each in classes}
    if len(names) != 1 or not names <= set(PYTHON):
        raise InputError(
            f"classes of types {', '.join(sorted(names))} cannot be saved; they are all of one of "
            f"{', '.join(PYTHON)}"
        )
    described = {
        "format_version": FORMAT_VERSION,
        "kind": type(probe).__name__,
        "site": site,
        "model_digest": model_digest,
        "class_type": names.pop(),
        "classes": classes,
    }
    arrays = {
        "coef": np.ascontiguousarray(probe.coef_, np.float64),
        "intercept": np.ascontiguousarray(probe.intercept_, np.float64),
        "scale": np.ascontiguousarray(probe.scale_, np.float64),
    }
    write_whole(path, save(arrays, {KEY: to_json(described)}))


def load_probe(path: str | os.PathLike) -> SavedProbe:
    """Read what `save_probe` wrote. InputError, naming the file, for anything else."""
    path = Path(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            described = _described(path, (file.metadata() or {}).get(KEY))
            if set(file.keys()) != ARRAYS:
                raise InputError(
                    f"{path}: arrays {', '.join(sorted(file.keys()))}; a probe has "
                    f"{', '.join(sorted(ARRAYS))}"
                )
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file: {error}") from None
    classes = np.array(described["classes"])
    rows = 1 if len(classes) == 2 else len(classes)
    shape = arrays["coef"].shape
    features = shape[-1] if shape else 0
    wanted = {"coef": (rows, features), "intercept": (rows,), "scale": (features,)}
    for name, array in arrays.items():
        if array.shape != wanted[name] or array.dtype != np.float64 or not features:
            raise InputError(
                f"{path}: {name} is {array.dtype} {array.shape}; for {len(classes)} classes it is "
                f"float64 {wanted[name]}"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} has numbers that are not finite; the file is damaged")
    return SavedProbe(
        kind=described["kind"],
        site=described["site"],
        model_digest=described["model_digest"],
        classes=classes,
        **arrays,
    )


def _described(path: Path, text: str | None) -> dict[str, Any]:
    if text is None:
        raise InputError(f'{path}: no "{KEY}" in its header; it is not a saved probe')
    try:
        described = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f'{path}: "{KEY}" in its header is not JSON; it is damaged') from None
    if not isinstance(described, dict):
        raise InputError(f'{path}: "{KEY}" in its header is not a JSON object')
    version = described.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise InputError(
            f"{path}: format_version {version!r} cannot be read; this program reads "
            f"{FORMAT_VERSION}"
        )
    for name in ("kind", "site", "model_digest"):
        if not isinstance(described.get(name), str):
            raise InputError(f"{path}: {name} is {described.get(name)!r}; it is text")
    classes, kind = described.get("classes"), described.get("class_type")
    of = PYTHON.get(kind) if isinstance(kind, str) else None
    if (
        of is None
        or not isinstance(classes, list)
        or len(classes) < 2
        or any(type(each) is not of for each in classes)
        or len(set(classes)) != len(classes)
    ):
        raise InputError(
            f"{path}: classes are not two or more different values of one of the types "
            f"{', '.join(PYTHON)}"
        )
    if of is int and any(abs(each) >= 2**63 for each in classes):
        raise InputError(f"{path}: a class is a number beyond 64 bits")
    return described
