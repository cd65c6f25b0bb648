"""Taking a concept out of states: what a linear probe could tell of it is gone, the mean stays.

LEACE (Belrose et al. 2023, theorem 4.3) is the least change of the states after which no linear
probe does better than a constant. With W = Σxx^-1/2 and u an orthonormal basis of the columns of
W Σxz it is x' = x - W^-1 u uᵀ W (x - mean). Its covariance is shrunk as the authors' package
shrinks it (Bodnar et al. 2014), unless told otherwise; the guarantee does not depend on it.
`inlp.py` has the other published way.
"""

# N rows, H units, L columns of the concept, K rank of what is erased

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlstm.errors import InputError, check_one
from mlstm.model import sites
from mlstm.model.edits import Edit, erase
from mlstm.output import to_json, write_whole
from mlstm.trained import Model
from probing.states import activations
from probing.states.gram import Gram, GramSummary
from probing.states.statistics import centre_and_scale
from probing.tasks.cleaned import for_model
from probing.tasks.labelled import SPLITS, LabelledData

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax.sharding import Mesh

FORMAT_VERSION = 1
TOLERANCE = 1e-5
"""Of the correlation of a state's direction with the concept: what is less is rounding."""


class Covariances(NamedTuple):
    """What LEACE is made of, in float64."""

    rows: int
    mean: np.ndarray  # (H,)
    covariance: np.ndarray  # (H, H), divided by the rows
    cross: np.ndarray  # (H, L), divided by the rows
    deviation: np.ndarray  # (L,) of the columns

    @staticmethod
    def of(x: np.ndarray, y: np.ndarray) -> Covariances:
        """x: (N, H) states. y: as of `columns_of`."""
        x, z = columns_of(x, y)
        mean, centre = x.mean(0), z.mean(0)
        x, z = x - mean, z - centre
        return Covariances(len(x), mean, x.T @ x / len(x), x.T @ z / len(x), z.std(0))

    @staticmethod
    def of_gram(summary: GramSummary, slots, columns: Sequence[int]) -> Covariances:
        """From a pass's Gram matrices. columns: of its y, that are the concept."""
        part = summary.of(slots)
        rows = part.y[0]
        if rows < 2:
            raise InputError(f"erasing needs at least 2 labelled positions; there are {rows:.0f}")
        which = 1 + np.asarray(columns)
        x_mean, y_mean = part.xy[:, 0] / rows, part.y[which] / rows
        cross = part.xy[:, which] / rows - np.outer(x_mean, y_mean)
        variance = np.maximum(part.yy[which] / rows - y_mean**2, 0)
        # What is left of a constant is the rounding of sums of its squares.
        deviation = np.sqrt(np.where(variance > 1e-10 * (part.yy[which] / rows), variance, 0))
        return Covariances(
            int(rows),
            summary.mean(slots),
            summary.covariance(slots),
            cross * summary.scale[:, None],
            deviation,
        )


@dataclass(frozen=True, eq=False)
class Eraser:
    """x' = x + ((x - mean) @ into) @ out: the mean of the states is as it was."""

    method: str  # "LEACE", "INLP" or "random"
    mean: np.ndarray  # (H,)
    into: np.ndarray  # (H, K)
    out: np.ndarray  # (K, H)
    site: str = ""
    concepts: tuple[str, ...] = ()
    rows: int = 0  # that it was fitted on
    told: tuple[float, ...] = ()
    """Of INLP, what each probe told of the concept before it was projected away: balanced accuracy
    of classes, R² of a number."""

    @property
    def rank(self) -> int:
        return self.into.shape[1]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, H) states without the concept, in the type of x."""
        changed = x + ((x - self.mean) @ self.into) @ self.out
        return changed.astype(x.dtype)

    def edit(self, **options: Any) -> Edit:
        """The edit that erases it at its site at every step; options of `Edit`, as when it acts.
        InputError where it has no site, or changes nothing."""
        if not self.site:
            raise InputError("an eraser of arrays has no site; name it: dataclasses.replace(...)")
        return erase(self.site, self.mean, self.into, self.out, **options)

    def to_json(self) -> str:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        arrays = {name: plain[name].tolist() for name in ("mean", "into", "out")}
        kind = {"format_version": FORMAT_VERSION, "kind": "eraser", "rank": self.rank}
        return to_json(kind | plain | arrays)

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")

    def __str__(self) -> str:
        what = ", ".join(self.concepts) or "a concept"
        where = f" at {self.site}" if self.site else ""
        return (
            f"{self.method} of {what}{where}: rank {self.rank} of {len(self.mean)} units, fitted "
            f"on {self.rows:,} positions"
        )

    def random(self, seed: int) -> Eraser:
        """What stands beside it: a subspace of the same rank, drawn by the seed, projected away."""
        draw = np.random.default_rng(seed)
        basis = np.linalg.qr(draw.normal(size=self.into.shape))[0]
        return Eraser("random", self.mean, basis, -basis.T, self.site, self.concepts, self.rows)


def leace(of: Covariances, *, shrinkage: bool = True, tolerance: float = TOLERANCE) -> Eraser:
    """The least change after which no linear probe tells the concept from these rows.

    shrinkage: of the covariance, towards equal variances: better where rows are not many times the
        units, and needed where there are fewer.
    tolerance: directions whose correlation with the concept is less are left as they are.

    InputError for a concept that has one value, fewer than 2 rows, or states that are not finite.
    """
    if of.rows < 2:
        raise InputError(f"erasing needs at least 2 labelled positions; there are {of.rows}")
    if not all(np.isfinite(part).all() for part in of[1:]):
        raise InputError("erasing needs finite states and labels")
    varies = of.deviation > 0
    if not varies.any():
        raise InputError("the concept has one value at all positions: there is nothing to erase")
    covariance = (of.covariance + of.covariance.T) / 2
    covariance = _shrunk(covariance, of.rows) if shrinkage else covariance
    values, vectors = np.linalg.eigh(covariance)
    kept = values > max(values[-1], 0) * len(values) * np.finfo(float).eps
    root = np.sqrt(np.where(kept, values, 0))
    inverse = np.where(kept, 1 / np.where(kept, root, 1), 0)
    whiten, colour = vectors * inverse @ vectors.T, vectors * root @ vectors.T
    # Columns at deviation 1: their singular values are correlations, and a rare class counts.
    correlation = whiten @ (of.cross[:, varies] / of.deviation[varies])
    u, strength, _ = np.linalg.svd(correlation, full_matrices=False)
    u = u[:, strength > tolerance]
    return Eraser("LEACE", of.mean, -whiten @ u, (colour @ u).T, rows=of.rows)


def fit_leace(
    model: Model,
    data: LabelledData,
    site: str | None = None,
    concepts: str | Sequence[str] | None = None,
    *,
    shrinkage: bool = True,
    split: str = "train",
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
) -> Eraser:
    """LEACE of concepts of the data, from one pass over a split; states are not stored.

    concepts: one, or several that are erased together; all if None. site: the primary one if None.
    progress: called with bytes done.
    InputError for an unknown site, concept or split, a split without labels, or a concept that has
    one value there.
    """
    check_one(model)
    data = for_model(model, data)
    name = str(sites.check_site(model.config, site or sites.primary(model.config)))
    wanted = (concepts,) if isinstance(concepts, str) else tuple(concepts or data.concepts)
    for concept in wanted:
        data.only(concept)  # which says what there is, if not this
    if split not in SPLITS:
        raise InputError(f"split {split!r}: it is one of {', '.join(SPLITS)}")
    documents = data.indices(split)
    if not data.counts[documents].sum():
        raise InputError(f"{data.origin}: no labelled {data.unit} in the {split} split")
    pilot = activations.sample(model, data, (name,), mesh=mesh)[name]
    gram, done = Gram.init(*centre_and_scale(pilot), len(data.concepts), slots=1), 0
    for window in activations.stream(model, data, (name,), documents=documents, mesh=mesh):
        y = np.concatenate([window.classes.astype(np.float32), window.numbers], 1)
        gram = gram.update(window.states[name], y, np.where(window.split < 0, -1, 0))
        done += window.bytes
        if progress:
            progress(done)
    summary = gram.finalize()
    columns = [data.concepts.index(concept) for concept in wanted]
    found = leace(Covariances.of_gram(summary, [0], columns), shrinkage=shrinkage)
    return dataclasses.replace(found, site=name, concepts=wanted)


def columns_of(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States (N, H), and the columns (N, L) of the concept, in float64.

    y: (N,) bool of a class, float of a number, int or text of classes that exclude each other; or
    (N, L) columns. InputError for other shapes, fewer than 2 rows, or what is not finite.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y)
    if x.ndim != 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise InputError(
            f"states of shape {x.shape} and labels of shape {y.shape}; they are (N, H) and (N,)"
        )
    if len(x) < 2:
        raise InputError(f"erasing needs at least 2 labelled positions; there are {len(x)}")
    if y.ndim == 1 and y.dtype.kind not in "bf":
        y = y[:, None] == np.unique(y)
    z = np.asarray(y, np.float64).reshape(len(y), -1)
    if not (np.isfinite(x).all() and np.isfinite(z).all()):
        raise InputError("erasing needs finite states and labels")
    return x, z


def _shrunk(covariance: np.ndarray, rows: int) -> np.ndarray:
    """a S + b I, of the least expected distance from the true one (Bodnar, Gupta and Parolya 2014):
    distribution-free, for units and rows that grow alike."""
    units = len(covariance)
    mean = np.trace(covariance) / units
    size = units * mean**2  # of mean I, as the squared Frobenius norm
    apart = (covariance**2).sum() * size - (mean * np.trace(covariance)) ** 2
    if not apart > 0:
        return covariance
    a = max(0.0, 1 - np.trace(covariance) ** 2 * size / rows / apart)
    return a * covariance + (1 - a) * mean * np.eye(units)
