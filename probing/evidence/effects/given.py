"""Edits that are given, and what they are compared with: the same done to other units.

What is said of a unit in its own terms is said of another in that one's: a value it is set to, or
clamped between, lies as many deviations from its mean; a shift is as many deviations. A factor is
the same. An erased subspace is compared with random ones of its rank that are taken out as it is:
drawn in the states' own coordinates and projected away at right angles, as INLP does it, or drawn
and taken out in whitened coordinates, as LEACE does.
"""

# H units, K rank, N controls

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlstm.errors import InputError
from mlstm.model import edits as model_edits
from mlstm.model import sites
from mlstm.model.edits import Edit, Edits
from mlstm.model.edits.notation import written
from mlstm.trained import Model
from probing.evidence.effects.units import Units

COMPARABLE = ("set", "shift", "scale", "clamp")
ORTHOGONAL = 1e-4  # of entries: what is less is the rounding of float32
SHRINKAGE = 1e-3  # of the covariance, towards a multiple of the identity


@dataclass(frozen=True, eq=False)
class Given:
    """Edits, and at which units of which site they are, where that is one."""

    edits: tuple[Edit, ...]
    site: str  # where the concept's probe reads: the edited one, else the primary
    units: np.ndarray  # empty where they are of several sites, or of all units
    erased: int  # rank of what is erased, where that is all that is done; else 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(written, self.edits))

    @property
    def why_alone(self) -> str:
        """Why there is nothing to compare with; empty where there is."""
        if self.erased:
            return ""
        if not len(self.units):
            return "edits of whole sites, or of several, have no controls"
        if any(edit.kind not in COMPARABLE for edit in self.edits):
            return "edits with states of their own (resample, patch) have no controls"
        return ""

    def why_not(self, known: Units) -> str:
        """The same, with what is known of the units."""
        if self.why_alone or all(edit.kind == "scale" for edit in self.edits):
            return self.why_alone
        still = [f"{self.site}[{unit}]" for unit in self.units if not known.varies[unit]]
        if still:
            return (
                f"{', '.join(still[:3])}{', ...' if len(still) > 3 else ''} never varies: there is "
                "no deviation to say in other units' terms what is done to it, and no control"
            )
        return ""


def given(model: Model, edits: str | Edit | Iterable[Edit | str] | Edits) -> Given:
    """Raises InputError for a site or unit that the model lacks, no edit, or one of what the model
    writes: texts are read here, and none is made."""
    made = model_edits.make_edits(model.config, edits)
    if made is None:
        raise InputError("no edit is given")
    for edit in made.edits:
        if edit.phase == "generation":
            raise InputError(
                f'"{written(edit)}" does nothing here: effects are measured on texts that are '
                "read, and @generation acts on what the model writes; leave it out"
            )
    where = {edit.site for edit in made.edits}
    site = where.pop() if len(where) == 1 else None
    some = site is not None and all(edit.units is not None for edit in made.edits)
    units = [u for e in made.edits for u in e.units or ()] if some else []
    alone = len(made.edits) == 1 and made.edits[0].kind == "erase"
    rank = made.edits[0].values["into"].shape[1] if alone else 0
    return Given(
        made.edits, site or sites.primary(model.config), np.unique(units).astype(int), rank
    )


def like(of: Given, known: Units, sets: Sequence[np.ndarray]) -> list[list[Edit]]:
    """The same edits of other units: of each set, whose units take the places of the given ones."""
    found = []
    for others in sets:
        place = dict(zip(of.units.tolist(), others.tolist(), strict=True))
        found.append([_moved(edit, known, place) for edit in of.edits])
    return found


def _moved(edit: Edit, known: Units, place: dict[int, int]) -> Edit:
    own = np.array(edit.units, int)
    new = np.array([place[unit] for unit in own.tolist()])
    scale = known.deviation[new] / np.where(known.varies[own], known.deviation[own], 1)

    def value(name: str, x: Any) -> np.ndarray:
        if edit.kind == "scale":
            return np.broadcast_to(np.asarray(x, np.float32), own.shape)
        if edit.kind == "shift":
            return (np.asarray(x, float) * scale).astype(np.float32)
        return (known.mean[new] + (np.asarray(x, float) - known.mean[own]) * scale).astype(
            np.float32
        )

    values = {name: value(name, x) for name, x in edit.values.items()}
    return dataclasses.replace(edit, units=tuple(new.tolist()), values=values)


def random_erasures(of: Given, known: Units, count: int, seed: int) -> list[list[Edit]]:
    """Random subspaces of the rank of what is erased, about its mean, taken out as it is."""
    (edit,) = of.edits
    into, out = (np.asarray(edit.values[name], float) for name in ("into", "out"))
    H = len(into)
    straight = np.allclose(into, -out.T, atol=ORTHOGONAL) and np.allclose(
        out @ into, -np.eye(of.erased), atol=ORTHOGONAL
    )
    whiten, colour = (np.eye(H), np.eye(H)) if straight else _whitening(known.pool)
    draw, found = np.random.default_rng(seed), []
    for _ in range(count):
        q, _ = np.linalg.qr(draw.normal(size=(H, of.erased)))
        values = {"mean": edit.values["mean"]}
        values |= {
            "into": (-whiten @ q).astype(np.float32),
            "out": (q.T @ colour).astype(np.float32),
        }
        found.append([dataclasses.replace(edit, values=values)])
    return found


def _whitening(pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, H) the inverse root of the covariance of states (P, H), and the root."""
    x = pool.astype(np.float64) - pool.mean(0, dtype=np.float64)
    covariance = x.T @ x / len(x)
    H = len(covariance)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * covariance.trace() / H * np.eye(H)
    sizes, axes = np.linalg.eigh(covariance)
    root = np.sqrt(np.maximum(sizes, sizes.max() * 1e-12))
    return (axes / root) @ axes.T, (axes * root) @ axes.T


def removed(of: Given, known: Units, controls: Sequence[Sequence[Edit]]) -> str:
    """What erasures do to the states of train documents, as a note: the mean square of what each
    moves them by, in percent of their variance."""
    x = known.pool.astype(np.float64)
    variance = x.var(0).sum()

    def share(edit: Edit) -> float:
        v = edit.values
        return float((((x - v["mean"]) @ v["into"] @ v["out"]) ** 2).sum(1).mean() / variance)

    rest = [share(edit) for (edit,) in controls]
    return (
        f"the erasure moves states by {share(of.edits[0]):.2%} of their variance (mean square), "
        f"the random subspaces by {np.median(rest):.2%} ({min(rest):.2%} to {max(rest):.2%})"
    )
