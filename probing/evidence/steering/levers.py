"""What is steered: one neuron or one direction of a site, at the same doses as those like it.

A dose is a place in the distribution that the subject's value has over train text: a quantile, and
the standard deviations z from the mean at which that lies. Controls are put at the same z of their
own distributions. Neurons are compared with those nearest to them in log variance and log output
weight; directions with random ones that are nearest in the same two figures.
"""

# H units, N subjects (the first is steered, the others are its controls), D doses

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError
from probing.evidence.effects.units import FLOOR, Units
from probing.evidence.subjects import Direction, OneNeuron

CANDIDATES = 20  # random directions that are drawn for each that is kept
POWERS = (-0.5, 0.0, 0.5, 1.0)  # of the covariance that random directions are drawn through
BALANCED = ("log variance", "log output weight")

How = Literal["set", "add"]


@dataclass(frozen=True, eq=False)
class Levers:
    """A subject and its controls: which weights of the units each value is made of."""

    site: str
    names: tuple[str, ...]  # (N,)
    vectors: np.ndarray  # (N, H) unit length; one 1 where it is a neuron
    mean: np.ndarray  # (N,) of the value over train text
    deviation: np.ndarray  # (N,)
    covariates: np.ndarray  # (N, 2) log variance, log output weight
    balance: dict[str, tuple[float, float]]
    """The subject's covariates less the mean of others, in deviations: of all, of the controls."""
    neurons: bool

    def edits(self, z: np.ndarray, how: How) -> dict:
        """Arrays for 1 + N D edits: nothing first, then every dose of the first subject, then of
        the others. "set" puts the value to the dose, "add" adds as much as the dose is off the
        mean, at every step."""
        nothing = np.zeros((1, self.vectors.shape[1]))
        amounts = np.concatenate([[0.0], np.outer(self.deviation, z).ravel()])
        v = np.concatenate([nothing, np.repeat(self.vectors, len(z), 0)])
        if how == "add":
            return self._stage(add=amounts[:, None] * v)
        values = amounts + np.concatenate([[0.0], np.repeat(self.mean, len(z))])
        if self.neurons:
            return self._stage(keep=1 - v, add=values[:, None] * v)
        return self._stage(add=values[:, None] * v, into=v[:, :, None], out=-v[:, None, :])

    def _stage(self, **terms: np.ndarray) -> dict:
        terms.setdefault("keep", np.ones_like(terms["add"]))
        return {self.site: ({name: jnp.asarray(x, jnp.float32) for name, x in terms.items()},)}


def levers(
    subject: OneNeuron | Direction, known: Units, controls: int, seed: int
) -> tuple[Levers, np.ndarray]:
    """The subject with its controls, and its own values (R,) over train text.

    InputError where it does not vary, or no other does.
    """
    if isinstance(subject, Direction):
        names, vectors = _directions(subject, known.pool, controls, seed)
        which = np.arange(len(names))
        values = known.pool.astype(np.float64) @ vectors.T
        # As if what reads the units were at right angles.
        weight = np.sqrt(vectors**2 @ known.weight**2)
    else:
        varied = known.varies
        varied[subject.unit] = False
        which = np.append(subject.unit, np.flatnonzero(varied))
        names, vectors = [f"{known.site}[{unit}]" for unit in which], np.eye(len(known.mean))
        values, weight = known.pool[:, which].astype(np.float64), known.weight[which]
    mean, deviation = values.mean(0), values.std(0)
    if not deviation[0] > 1e-6 * max(1.0, np.abs(mean[0])):
        raise InputError(f"{subject.name} does not vary over the train documents: it has no doses")
    moved = np.flatnonzero(np.append(True, deviation[1:] > 0))
    read_by = np.maximum(weight, FLOOR * (np.median(weight) or 1.0))
    covariates = np.log(np.stack([deviation**2, read_by], 1)[moved])
    near, balance = _nearest(covariates, controls)
    if controls and not len(near):
        raise InputError(f"no other unit of {known.site} varies: {subject.name} has no controls")
    kept = np.append(0, moved[near])
    found = Levers(
        known.site,
        tuple(names[k] for k in kept),
        vectors[which[kept]],
        mean[kept],
        deviation[kept],
        covariates[np.append(0, near)],
        balance,
        isinstance(subject, OneNeuron),
    )
    return found, values[:, 0]


def _directions(
    subject: Direction, pool: np.ndarray, controls: int, seed: int
) -> tuple[list[str], np.ndarray]:
    """The direction, and random ones to choose its controls from, at unit length, at right angles
    to it: none is in part the direction itself.

    They are drawn in as many shares through powers of the states' covariance, from its inverse root
    to itself: alike in all directions, a random one varies as the mean of all does, and nothing
    like one that varies much, or little.
    """
    own = subject.vector.astype(np.float64) / subject.norm
    sizes, axes = np.linalg.eigh(np.cov(pool.astype(np.float64).T))
    sizes = np.maximum(sizes, 1e-6 * sizes.max())
    drawn = np.random.default_rng(seed).normal(size=(CANDIDATES * controls, len(own)))
    powers = np.resize(POWERS, len(drawn))[:, None]
    drawn = (drawn * sizes**powers) @ axes.T
    drawn -= np.outer(drawn @ own, own)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    names = [f"random direction {k}" for k in range(len(drawn))]
    return [subject.name, *names], np.concatenate([own[None], drawn])


def doses(values: np.ndarray, quantiles: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(D,) the quantiles of values (R,), and how many deviations from their mean each lies.
    InputError where they are all one value."""
    found = np.quantile(values, quantiles)
    z = (found - values.mean()) / values.std()
    if not np.ptp(z) > 1e-6:
        raise InputError(
            f"the doses {_listed(quantiles)} are one value, {found[0]:g}: take others, as 0 and 1"
        )
    return found, z


def check_quantiles(quantiles: Sequence[float]) -> None:
    """InputError for what is not two quantiles or more."""
    q = np.asarray(quantiles, float)
    if q.ndim != 1 or len(q) < 2 or not np.isfinite(q).all() or q.min() < 0 or q.max() > 1:
        raise InputError(
            f"doses are {_listed(quantiles)}; they are two quantiles or more, each from 0 to 1"
        )


def _listed(quantiles: Sequence[float]) -> str:
    return ", ".join(f"{q:g}" for q in quantiles) or "none"


def _nearest(
    covariates: np.ndarray, count: int
) -> tuple[np.ndarray, dict[str, tuple[float, float]]]:
    """The places of those nearest to the first, by distance in deviations, and the balance."""
    own, others = covariates[0], covariates[1:]
    if not count or not len(others):
        return np.zeros(0, int), {}
    spread = others.std(0)
    scale = np.where(spread > 0, spread, 1.0)
    distance = np.linalg.norm((others - own) / scale, axis=1)
    near = np.argsort(distance, kind="stable")[:count]
    before, after = ((own - part.mean(0)) / scale for part in (others, others[near]))
    pairs = zip(BALANCED, before, after, strict=True)
    return 1 + near, {name: (float(a), float(b)) for name, a, b in pairs}
