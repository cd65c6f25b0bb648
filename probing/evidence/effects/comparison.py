"""Is this effect larger than that of other neurons like it? Of one neuron, and of a set.

One neuron is compared with all others at its site. Neurons that vary more, or are read by larger
weights, have larger effects whatever they follow, and effects that scatter more. So an effect is
divided by the size that it would have if the neuron were like the others: the log of the size of
effects is regressed on log variance and log norm of the output weight, by least squares with a
small penalty on the slopes, and each neuron is measured by the line through all the others, the
controls' too. So no neuron is measured by a line that it pulled itself, and where controls hardly
differ in a figure no slope is made of it. Where the size of effects goes with a power of variance
and weight, one that is like the others takes any place with equal chance.

A set is compared with random sets of its size, each of neurons that are near the set's, one by
one, in the same two figures.
"""

# H neurons, C covariates, N controls

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlstm.errors import InputError

FLOOR = 1e-3  # of the median size of effects: smaller ones count as that large
FEWEST = 4  # effects beyond one for each covariate: fewer make no line
RIDGE = 0.1  # in logs: a figure that scatters by less among neurons adjusts little
NEAR = 5  # neurons that a match is drawn from, at least
SPARE = 5  # times the sets that are wanted can be drawn
ATTEMPTS = 50  # times the sets that are wanted
UNBALANCED = 0.25  # of a standard deviation: more is said


@dataclass(frozen=True)
class Comparison:
    """Where an effect stands among those of controls; p = (1 + as extreme) / (1 + n)."""

    controls: str  # what they are
    n: int
    bytes: int  # on which all were compared
    effect: float  # of what is compared, on these
    percentile: float  # share of the controls with a smaller effect, in percent
    p: float
    adjusted_percentile: float | None  # the same of one neuron's relative effect; of a set None
    adjusted_p: float | None
    balance: dict[str, tuple[float, float]]
    """Of sets: standardised mean difference of each covariate, before and after matching."""
    effects: tuple[float, ...] = ()  # of the controls

    def __str__(self) -> str:
        said = f"percentile {self.percentile:.1f} of {self.n:,} {self.controls}, p = {self.p:.4f}"
        if self.adjusted_p is not None:
            return (
                f"{said}; adjusted for variance and output weight {self.adjusted_percentile:.1f}, "
                f"p = {self.adjusted_p:.4f}"
            )
        if not self.balance:
            return said
        parts = ", ".join(f"{k} {a:+.2f} -> {b:+.2f}" for k, (a, b) in self.balance.items())
        far = max(abs(after) for _, after in self.balance.values()) > UNBALANCED
        warning = "; none like it are left, and they are not matched" if far else ""
        return f"{said} (mean difference in deviations: {parts}{warning})"


def p_of(own: float, others: np.ndarray) -> float:
    """(1 + controls that are as large) / (1 + controls)."""
    return float((1 + np.count_nonzero(others >= own)) / (1 + len(others)))


def percentile_of(own: float, others: np.ndarray) -> float:
    """Share of the controls that are smaller, ties counting half, in percent."""
    below = np.count_nonzero(others < own) + np.count_nonzero(others == own) / 2
    return float(100 * below / len(others)) if len(others) else float("nan")


def relative(effects: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """(H,) each effect over the size that the line through all the others gives it.

    effects (H,), covariates (H, C), logs; the first is that of the neuron that is compared. The
    line is followed no farther than a standard deviation beyond the others. Leaving one out is a
    division: e / (1 - leverage). Too few effects for a line are returned as they are.
    """
    if len(effects) < covariates.shape[1] + FEWEST:
        return effects
    own, rest = covariates[0], covariates[1:]
    least, most = rest.min(0) - rest.std(0), rest.max(0) + rest.std(0)
    covariates = np.concatenate([[np.clip(own, least, most)], rest])
    sizes, count = np.abs(effects), len(effects)
    usual = np.median(sizes)
    logs = np.log(np.maximum(sizes, (FLOOR * usual) if usual > 0 else max(sizes.max(), 1e-300)))
    design = np.column_stack([np.ones(count), covariates - covariates.mean(0)])
    penalty = np.diag(np.append(0, np.full(covariates.shape[1], count * RIDGE**2)))
    hat = design @ np.linalg.solve(design.T @ design + penalty, design.T)
    apart = (logs - hat @ logs) / np.maximum(1 - np.diagonal(hat), 1e-9)
    return np.sign(effects) * np.exp(np.clip(apart, -100, 100))


def against_others(
    own: float, others: np.ndarray, covariates: np.ndarray, bytes: int
) -> Comparison:
    """One neuron among others (N,); covariates (1 + N, C), its own first."""
    if 1 + len(others) < len(covariates.T) + FEWEST:
        raise InputError(
            f"{len(others)} other neurons at the site: too few to compare an effect with"
        )
    rest = relative(np.append(own, others), covariates)
    return Comparison(
        "other neurons of the site",
        len(others),
        bytes,
        own,
        percentile_of(own, others),
        p_of(own, others),
        percentile_of(rest[0], rest[1:]),
        p_of(rest[0], rest[1:]),
        {},
        tuple(others.tolist()),
    )


@dataclass(frozen=True, eq=False)
class MatchedSets:
    """Random sets of a size, and how near their neurons are to the set's."""

    sets: np.ndarray  # (N, k) places of neurons, each row ascending; no two rows are the same
    balance: dict[str, tuple[float, float]]


def matched_sets(
    covariates: np.ndarray,
    chosen: np.ndarray,
    count: int,
    seed: int,
    allowed: np.ndarray | None = None,
) -> MatchedSets:
    """`count` random sets that hold none of the chosen neurons, matched to them by covariates.

    For each chosen neuron, in random order, one is drawn from the 5 nearest that are left, or from
    as many as make enough different sets, by Euclidean distance in standard deviations. covariates
    (H, C) are log variance and log output weight; allowed (H,) bool says which may be drawn.

    Fewer sets come where there are not so many different ones. InputError where too few neurons
    are left to match with.
    """
    H, k = len(covariates), len(chosen)
    free = np.ones(H, bool) if allowed is None else allowed.copy()
    free[chosen] = False
    pool = np.flatnonzero(free)
    if len(pool) < 2 * k or len(pool) < 3:
        raise InputError(
            f"{k} neurons of {H}: {len(pool)} others are left, too few to draw matched sets from"
        )
    spread = covariates[pool].std(0)
    scale = np.where(spread > 0, spread, 1.0)
    distance = np.linalg.norm((covariates[chosen][:, None] - covariates[pool]) / scale, axis=-1)
    near = max(NEAR, int(np.ceil((SPARE * count) ** (1 / k))))
    draw, found = np.random.default_rng(seed), {}
    for _ in range(ATTEMPTS * count):
        taken = np.zeros(len(pool), bool)
        for j in draw.permutation(k):
            left = np.where(taken, np.inf, distance[j])
            nearest = np.argpartition(left, min(near, len(pool) - 1))[:near]
            taken[draw.choice(nearest[np.isfinite(left[nearest])])] = True
        found[tuple(pool[taken].tolist())] = None
        if len(found) == count:
            break
    sets = np.array(list(found), int)
    after = covariates[sets].reshape(-1, covariates.shape[1]).mean(0)
    own = covariates[chosen].mean(0)
    before = (own - covariates[pool].mean(0)) / scale
    names = ("log variance", "log output weight")
    matched = (own - after) / scale
    pairs = {n: (float(a), float(b)) for n, a, b in zip(names, before, matched, strict=False)}
    return MatchedSets(sets, pairs)


def against_sets(
    own: float,
    others: np.ndarray,
    balance: dict[str, tuple[float, float]],
    bytes: int,
    what: str = "matched random sets",
) -> Comparison:
    """A set among matched ones (N,)."""
    p, percentile = p_of(own, others), percentile_of(own, others)
    return Comparison(
        what,
        len(others),
        bytes,
        own,
        percentile,
        p,
        None,
        None,
        balance,
        tuple(others.tolist()),
    )
