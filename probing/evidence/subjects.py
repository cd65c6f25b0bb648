"""What a claim is of: one neuron of a site, or one direction in its states."""

# N rows, H units of a site

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError
from mlstm.model import sites
from mlstm.trained import Model

States = np.ndarray | jax.Array


class Subject(Protocol):
    """One value of each state of a site."""

    @property
    def site(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> int | None:
        """None of a direction."""
        ...

    def of(self, states: States) -> np.ndarray:
        """(N, H) -> (N,) float32"""
        ...


@dataclass(frozen=True)
class OneNeuron:
    """A unit's own value."""

    site: str
    unit: int

    @staticmethod
    def parse(name: str) -> OneNeuron:
        neuron = sites.parse_neuron(name)
        return OneNeuron(str(neuron.site), neuron.unit)

    @property
    def name(self) -> str:
        return f"{self.site}[{self.unit}]"

    def of(self, states: States) -> np.ndarray:
        return np.asarray(states[:, self.unit])


@dataclass(frozen=True, eq=False)
class Direction:
    """The score states @ vector, of raw states; it is read with the vector at length 1."""

    site: str
    vector: np.ndarray  # (H,) float32
    unit = None

    @property
    def name(self) -> str:
        return f"{self.site}[direction]"

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.vector.astype(np.float64)))

    @property
    def digest(self) -> str:
        """sha256 of the vector's bytes, float32, little-endian."""
        return hashlib.sha256(self.vector.astype("<f4").tobytes()).hexdigest()

    def of(self, states: States) -> np.ndarray:
        one = (self.vector.astype(np.float64) / self.norm).astype(np.float32)
        return np.asarray(jnp.matmul(states, one, precision="highest"))

    def plain(self) -> dict[str, str | float]:
        """As a claim has it."""
        return {"sha256": self.digest, "norm": self.norm}


def check_direction(model: Model, site: str, vector: object) -> Direction:
    """A direction of a site from a vector (H,), or (1, H) as a probe's `coef_` of two classes is.

    InputError for another shape, what is not numbers, numbers that float32 has not, or only zeros.
    """
    try:
        with np.errstate(over="ignore"):
            numbers = np.asarray(vector)
            if numbers.dtype.kind not in "fiub":
                raise TypeError
            found = numbers.astype(np.float32)
    except (TypeError, ValueError):
        raise InputError("a direction is an array of real numbers") from None
    hidden = model.config.hidden
    if found.shape not in ((hidden,), (1, hidden)):
        raise InputError(
            f"a direction of shape {found.shape}; {site} of {model.origin} has {hidden} units, so "
            f"it is ({hidden},)"
        )
    if not np.isfinite(found).all():
        raise InputError(f"a direction has finite numbers alone; unit {_bad(found)} has none")
    if not found.any():
        raise InputError("a direction has a number other than 0; this one has only zeros")
    return Direction(site, found.reshape(hidden))


def read_vectors(path: str | os.PathLike) -> np.ndarray:
    """The array of a .npy file. InputError for what is none; nothing in it is run."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        found = None
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path}: not an array of numbers as numpy.save writes it (.npy)")
    return found


def _bad(vector: np.ndarray) -> int:
    return int(np.flatnonzero(~np.isfinite(vector.ravel()))[0])
