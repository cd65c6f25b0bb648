"""What steering has shown: the dose-response, its slope among matched controls, and the fluency."""

# D doses, N controls

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from probing.evidence.claims import ALPHA, CausalCheck, Interval
from probing.evidence.effects.comparison import UNBALANCED
from probing.evidence.written import Saved, figure, signed

FORMAT_VERSION = 1


_PHASES = {
    "prompt": "the prompt is read",
    "generation": "the text is written",
    "both": "the prompt is read and the text is written",
}


@dataclass(frozen=True)
class Level:
    """The texts that were written in one way."""

    score: Interval  # the judge's, of the concept
    bits: Interval  # per byte under the unedited model
    distinct: float  # share of different 4-grams in a text
    judged: int  # texts that had something to judge


@dataclass(frozen=True)
class Dose:
    """One value that the subject was put to, and what came of it."""

    quantile: float
    z: float  # deviations from the mean of train text
    value: float
    level: Level
    controls: tuple[float, ...]  # mean score of each control at the same z


@dataclass(frozen=True)
class Steering(Saved):
    """What a neuron, or a direction, makes a model write, by dose."""

    subject: str  # "0.c[17]"; of a direction "0.c[direction]"
    concept: str
    task: str
    model: str
    data: str
    data_digest: str
    how: str  # "set": to the dose; "add": as much as the dose is off the mean, at every step
    phase: str  # "prompt", "generation" or "both"
    judge: dict  # kind, measure, how well it tells test documents
    mean: float  # of the subject over train text
    deviation: float
    unedited: Level
    doses: tuple[Dose, ...]
    slope: Interval  # of the score by standard deviation of dose, jackknife by document
    expected: int  # 1 or -1: the sign that was asked for; 0: either
    controls: tuple[str, ...]  # names, nearest first
    slopes: tuple[float, ...]  # of the controls
    percentile: float
    """Share of the controls with a smaller slope (in size, or as expected), in percent; slopes are
    adjusted for variance and output weight, as `effects.comparison` says."""
    p: float  # (1 + as extreme) / (1 + controls)
    balance: dict[str, tuple[float, float]]
    prompts: int
    documents: int  # that the prompts are of: what intervals leave out
    prompt_source: str
    samples: int  # of each prompt and dose
    length: int
    temperature: float
    seed: int
    step: int | None = None
    examples: tuple[dict, ...] = ()  # dose (None: unedited), prompt, text
    notes: tuple[str, ...] = ()
    unit: str = "byte"  # or "token": what a text's length is counted in

    def check(self, alpha: float = ALPHA) -> CausalCheck:
        """Sufficiency: the slope differs from 0 in the expected direction, and from those of
        controls."""
        lower = self.slope.lower * self.expected if self.expected > 0 else -self.slope.upper
        apart = lower > 0 if self.expected else self.slope.lower > 0 or self.slope.upper < 0
        return CausalCheck(bool(apart and self.p < alpha), self.p, len(self.slopes))

    def plain(self) -> dict:
        version = {"format_version": FORMAT_VERSION, "kind": "steering"}
        fields = dataclasses.asdict(self)
        if self.unit == "byte":
            del fields["unit"]
        return version | fields

    def __str__(self) -> str:
        verb = "set to" if self.how == "set" else "moved by"
        lines = [
            f'{self.subject} {verb} doses, and "{self.concept}" in what is written',
            f"  model      {self.model}",
            f"  data       {self.task} in {self.data}",
            f"  judge      {self.judge['kind']}: {self.judge['measure']}",
            *_tested(self.judge["tested"]),
            f"  texts      {self.prompts} prompts ({self.prompt_source}), {self.samples} samples "
            f"of {self.length} {self.unit}s, temperature {self.temperature:g}",
            f"  edited     while {_PHASES[self.phase]}",
            "",
            f"  {'dose':>10}{'value':>9}{'z':>7}  {'score':<24}{'controls':<19}"
            f"{'bits per byte':<24}distinct",
            f"  {'unedited':>10}{'':>16}  {_level(self.unedited, '')}",
        ]
        for dose in self.doses:
            name = f"{dose.quantile:.1%}".replace(".0%", "%")
            lines.append(
                f"  {name:>10}{dose.value:>9.3f}{dose.z:>+7.2f}  "
                f"{_level(dose.level, _band(dose.controls))}"
            )
        lines += ["", f"  slope      {signed(self.slope)} for each standard deviation of dose"]
        if self.slopes:
            sided = "two-sided" if not self.expected else f"{'+' if self.expected > 0 else '-'}"
            lines += [
                f"  controls   percentile {self.percentile:.1f} of {len(self.slopes)} at the same "
                f"z, p = {self.p:.4f} ({sided}), adjusted for variance and output weight",
                f"             {_balance(self.balance)}",
            ]
        else:
            lines.append("  controls   none")
        lines += [f"  note       {note}" for note in self.notes]
        return "\n".join(lines)


def _tested(figures: dict[str, float]) -> list[str]:
    """How well a classifier tells what people wrote, on a line of its own."""
    if not figures:
        return []
    rest = {k: v for k, v in figures.items() if k not in ("lower", "upper")}
    bounds = f" [{figure(figures['lower'])}, {figure(figures['upper'])}]"
    said = ", ".join(
        f"{k} {figure(v)}{bounds if k in ('AUC', 'r') else ''}" for k, v in rest.items()
    )
    return [f"             on test documents: {said}"]


def _level(level: Level, controls: str) -> str:
    return f"{level.score!s:<24}{controls:<19}{level.bits!s:<24}{figure(level.distinct)}"


def _band(scores: tuple[float, ...]) -> str:
    """The middle 90% of the controls."""
    known = sorted(score for score in scores if not math.isnan(score))
    if not known:
        return "-"
    low, high = (known[round(q * (len(known) - 1))] for q in (0.05, 0.95))
    return f"{low:.3f} to {high:.3f}"


def _balance(balance: dict[str, tuple[float, float]]) -> str:
    parts = ", ".join(f"{name} {a:+.2f} -> {b:+.2f}" for name, (a, b) in balance.items())
    far = max((abs(after) for _, after in balance.values()), default=0) > UNBALANCED
    warning = "; too few are like it" if far else ""
    return f"matched (difference in deviations, before -> after): {parts}{warning}"
