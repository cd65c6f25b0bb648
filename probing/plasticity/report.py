"""What a study found: the curve of every arm and seed, and what they say together."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from mlstm.model.pruning import Units, format_units
from mlstm.output import to_json, write_whole
from probing.plasticity.measurement import Measurement
from probing.plasticity.sets import Balance

FORMAT_VERSION = 1
LEVEL = 0.95
COLUMNS = (  # figure, title, form, width; the first have an interval beside them
    ("bits_per_byte", "bits/byte", ".3f", 14),
    ("best_auc", "best AUC", ".3f", 14),
    ("probe_auc", "probe AUC", ".3f", 14),
    ("roles_taken", "roles", ".1f", 7),
    ("roles_taken_newly", "newly", ".1f", 7),
    ("concepts_followed", "concepts", ".2f", 10),
    ("participation", "spread", ".1f", 8),
    ("nearest_angle", "angle", ".0f", 7),
    ("context_similarity", "contexts", ".2f", 10),
)
INTERVALS = 3


@dataclass(frozen=True)
class Arm:
    """One arm of one seed: what it prunes, and its measurements by step."""

    arm: str
    seed: int
    pruned: Units
    balance: Balance | None
    curve: dict[int, Measurement]


@dataclass(frozen=True)
class Point:
    """A figure over the seeds: its mean, and the 95% interval of that, Student's; NaN of one."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PlasticityReport:
    """What `plasticity` returns: print it, save it, or take `point`s of curves."""

    model: str
    task: str
    data: str
    data_digest: str
    question: dict[str, Any]
    held_out: str  # the split of the corpus that bits per byte are of
    learning_rate: float
    bytes: int
    classes: tuple[str, ...]
    base: Measurement
    arms: list[Arm]

    @property
    def names(self) -> list[str]:
        """Of the arms, each once."""
        return list(dict.fromkeys(arm.arm for arm in self.arms))

    @property
    def steps(self) -> list[int]:
        return list(self.arms[0].curve)

    def seeds_of(self, name: str) -> list[Arm]:
        return [arm for arm in self.arms if arm.arm == name]

    def point(self, name: str, step: int, figure: str) -> Point:
        """Of an arm at a step, over its seeds."""
        values = [arm.curve[step].figures.get(figure, np.nan) for arm in self.seeds_of(name)]
        return over_seeds(values)

    def apart(self, name: str, step: int, figure: str) -> Point:
        """The concept's arm less a twin at a step, paired by seed: both read the same windows."""
        pairs = zip(self.seeds_of("concept"), self.seeds_of(name), strict=True)
        both = [[arm.curve[step].figures.get(figure, np.nan) for arm in pair] for pair in pairs]
        return over_seeds([own - twin for own, twin in both])

    def __str__(self) -> str:
        asked, seeds = self.question, self.question["seeds"]
        count = sum(map(len, self.seeds_of("concept")[0].pruned.values()))
        lines = [
            f'plasticity of "{asked["concept"]}" ({self.task}) in {self.model}',
            f"pruned: {count} units of {', '.join(asked['sites'])} by {asked['ranking']}; "
            f"retrained {self.steps[-1]} steps from a learning rate of {self.learning_rate:g}; "
            f"{seeds} seed{'s' if seeds > 1 else ''}",
            f"measured on {self.bytes:,} bytes of {self.data}; bits per byte on the "
            f"{self.held_out} text",
            "",
            f"{'arm':<10}{'step':>6}"
            + "".join(f"{title:>{width}}" for _, title, _, width in COLUMNS),
            self._line("before", None, 0),
        ]
        for name in self.names:
            lines += [self._line(name, name, step) for step in self.steps]
        lines += ["", *self._twins(), "", *self._balances(), "", *self._notes()]
        return "\n".join(lines)

    def _line(self, label: str, name: str | None, step: int) -> str:
        cells = []
        for nth, (figure, _, form, width) in enumerate(COLUMNS):
            if name is None:
                cells.append(f"{_number(self.base.figures[figure], form):>{width}}")
                continue
            point = self.point(name, step, figure)
            text = _number(point.mean, form)
            if nth < INTERVALS and np.isfinite(point.low):
                text += f" ±{_number(point.high - point.mean, form)}"
            cells.append(f"{text:>{width}}")
        when = "" if name is None else f"{step:,}"
        return f"{label:<10}{when:>6}" + "".join(cells)

    def _twins(self) -> list[str]:
        """How far the concept's arm lies from each twin at the end."""
        step = self.steps[-1]
        lines = []
        for name in (each for each in self.names if each != "concept"):
            cells = []
            for figure, title, form, _ in COLUMNS[:INTERVALS]:
                point = self.apart(name, step, figure)
                reach = f" ±{_number(point.high - point.mean, form)}"
                cells.append(f"{title} {_number(point.mean, '+' + form)}{reach}")
            lines.append(f"concept less {name}, step {step:,}: {', '.join(cells)}")
        return lines

    def _balances(self) -> list[str]:
        lines = ["what was pruned        deviation   output weight   apart from the concept's set"]
        for name in self.names:
            found = [arm.balance for arm in self.seeds_of(name) if arm.balance]
            if not found:
                continue
            mean = np.mean([list(vars(balance).values()) for balance in found], 0)
            lines.append(
                f"  {name:<20}{mean[0]:>9.3f}{mean[1]:>16.3f}   {mean[2]:+.2f} and {mean[3]:+.2f} "
                "standard deviations"
            )
        return lines

    def _notes(self) -> list[str]:
        return [
            "±: half of the 95% interval over seeds (none apart where all prune the same, at step "
            "0), each a start in the text",
            "and a draw of the twins, of one base model; all arms of a seed read the same windows; "
            "differences are paired",
            "best AUC: the best single neuron, chosen on train, scored on test; probe AUC: ridge "
            "regression on all",
            "roles: neurons of the pruned set (untouched: of the concept's) that a living one "
            "follows at |r| of .5 or more",
            "on held-out text; newly: by one that did not before; concepts: that a neuron follows "
            "(AUC of .75 on both splits);",
            "spread: participation ratio of the concept's direction; angle: degrees to the nearest "
            "other concept's;",
            "contexts: TF-IDF cosine of a neuron's top contexts with those that it had before",
            "a pruned unit was exactly 0 in weights, states and optimizer at every checkpoint",
        ]

    def to_json(self) -> str:
        """Every figure of every measurement, the roles, and the figures of each neuron before,
        right behind the pruning, and at the end."""
        ends = {self.steps[0], self.steps[-1]}
        return to_json(
            {
                "format_version": FORMAT_VERSION,
                "kind": "plasticity",
                **{
                    name: getattr(self, name)
                    for name in (
                        "model", "task", "data", "data_digest", "question", "held_out",
                        "learning_rate", "bytes", "classes",
                    )
                },
                "concept_less_twin": {
                    name: {
                        str(step): {
                            figure: vars(self.apart(name, step, figure))
                            for figure, *_ in COLUMNS[:INTERVALS]
                        }
                        for step in self.steps
                    }
                    for name in self.names
                    if name != "concept"
                },
                "base": plain(self.base, neurons=True),
                "arms": [
                    {
                        "arm": arm.arm,
                        "seed": arm.seed,
                        "pruned": format_units(arm.pruned),
                        "balance": vars(arm.balance) if arm.balance else None,
                        "curve": {
                            str(step): plain(found, neurons=step in ends)
                            for step, found in arm.curve.items()
                        },
                    }
                    for arm in self.arms
                ],
            }
        )  # fmt: skip

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON, whole or not at all."""
        write_whole(path, self.to_json() + "\n")


def plain(found: Measurement, *, neurons: bool) -> dict[str, Any]:
    """A measurement without passages; `neurons`: with the figures of each."""
    whole = {
        "figures": found.figures,
        "best_neuron": found.best_neuron,
        "roles": [vars(role) for role in found.roles],
    }
    if neurons:
        whole |= {name: getattr(found, name) for name in ("auc", "saliency", "followed", "words")}
    return json.loads(to_json(whole))


def over_seeds(values: Sequence[float]) -> Point:
    """NaN is left out; without any it is NaN."""
    known = np.array([value for value in values if np.isfinite(value)])
    if not len(known):
        return Point(np.nan, np.nan, np.nan)
    mean = float(known.mean())
    if len(known) < 2:
        return Point(mean, np.nan, np.nan)
    reach = float(
        student.ppf((1 + LEVEL) / 2, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5
    )
    return Point(mean, mean - reach, mean + reach)


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else "-"
