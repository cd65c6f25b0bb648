"""What dynamic evaluation found, for people and for programs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlstm.model.dynamic import Rates
from mlstm.output import to_json


@dataclass(frozen=True)
class Trial:
    """One set of rates, on the validation text."""

    rates: Rates
    bits_per_byte: float


@dataclass(frozen=True)
class Reading:
    """One model's."""

    seed: int | None
    model: str
    rates: Rates
    static: float
    """Bits per byte, as the next one."""
    dynamic: float
    trials: list[Trial]
    """What was tried on validation; none where rates were given."""
    tried_against: float | None
    """The static bits per byte of the same validation text."""

    @property
    def at_edge(self) -> str:
        """Which rates are the largest or least that was tried; "" where none is, or a rate of 0,
        below which there is none."""
        found = []
        for name in ("learning_rate", "decay"):
            tried = sorted({getattr(trial.rates, name) for trial in self.trials})
            chosen = getattr(self.rates, name)
            if len(tried) > 1 and chosen and chosen in (tried[0], tried[-1]):
                found.append(name.replace("_", " "))
        return " and ".join(found)


@dataclass(frozen=True)
class DynamicEvaluation:
    """Static and dynamic bits per byte of one text, of a model or of each of a population."""

    text: str
    bytes: int
    rule: str
    segment: int
    streams: int
    """That the text was read by: fewer than were asked for where it is short."""
    tuned_on: str | None
    tuning_streams: int | None
    """The same of the text that rates were tuned on."""
    statistics: str | None
    """Of which text the statistics of gradients are; None where the rule needs none."""
    statistics_of_text: bool
    """Whether that is the very text that is scored."""
    readings: tuple[Reading, ...]

    @property
    def static(self) -> float:
        """The mean of the models' bits per byte."""
        return float(np.mean([reading.static for reading in self.readings]))

    @property
    def dynamic(self) -> float:
        """The mean of the models' bits per byte."""
        return float(np.mean([reading.dynamic for reading in self.readings]))

    def to_json(self) -> str:
        return to_json(
            {
                "format_version": 1,
                "text": self.text,
                "bytes": self.bytes,
                "rule": self.rule,
                "segment": self.segment,
                "streams": self.streams,
                "tuned_on": self.tuned_on,
                "tuning_streams": self.tuning_streams,
                "statistics": self.statistics,
                "statistics_of_text": self.statistics_of_text,
                "static_bits_per_byte": self.static,
                "dynamic_bits_per_byte": self.dynamic,
                "models": [
                    {
                        "seed": each.seed,
                        "model": each.model,
                        **each.rates._asdict(),
                        "static_bits_per_byte": each.static,
                        "dynamic_bits_per_byte": each.dynamic,
                        "validation": [
                            {**trial.rates._asdict(), "bits_per_byte": trial.bits_per_byte}
                            for trial in each.trials
                        ],
                        "validation_static_bits_per_byte": each.tried_against,
                    }
                    for each in self.readings
                ],
            },
            indent=2,
        )

    def __str__(self) -> str:
        streams = _streams(self.streams)
        lines = [
            f"{'text':10}{self.text}, {self.bytes:,} bytes scored, state carried, {streams}",
            f"{'rule':10}{self.rule}, an update after each {self.segment} symbols",
        ]
        if self.statistics is not None:
            lines.append(f"{'gradients':10}of {self.statistics}")
        if self.statistics_of_text:
            lines.append(f"{'':10}warning: the very text that is scored, which flatters it")
        for each in self.readings:
            lines += ["", f"{'model':10}{each.model}", *self._tuning(each), *_figures(each)]
        if len(self.readings) > 1:
            lines += [
                "",
                f"{'mean':10}static {self.static:.4f}, dynamic {self.dynamic:.4f}, difference "
                f"{self.dynamic - self.static:+.4f} bits per byte",
            ]
        return "\n".join(lines)

    def _tuning(self, each: Reading) -> list[str]:
        rates = f"learning rate {each.rates.learning_rate:g}, decay {each.rates.decay:g}"
        if self.rule == "rms":
            rates += f", epsilon {each.rates.epsilon:g}"
        lines = [f"{'rates':10}{rates}, {'tuned' if each.trials else 'as given'}"]
        if each.trials and each.tried_against is not None:
            best = min(
                (t.bits_per_byte for t in each.trials if math.isfinite(t.bits_per_byte)),
                default=math.nan,
            )
            lines.append(
                f"{'tuned on':10}{self.tuned_on}: {best:.4f}, static {each.tried_against:.4f}; the "
                f"best of {len(each.trials)}"
            )
            if self.tuning_streams not in (None, self.streams):
                lines.append(f"{'':10}by {_streams(self.tuning_streams or 1)}")
            if each.at_edge:
                lines.append(f"{'':10}the {each.at_edge} is at the edge of what was tried")
            if best >= each.tried_against:
                lines.append(f"{'':10}no rates were better there than standing still")
        return lines


def _streams(count: int) -> str:
    return "one stream" if count == 1 else f"{count} streams, each by itself"


def _figures(each: Reading) -> list[str]:
    change = each.dynamic - each.static
    return [
        f"{'':10}{'bits per byte':>14}",
        f"{'static':10}{each.static:14.4f}",
        f"{'dynamic':10}{each.dynamic:14.4f}",
        f"{'change':10}{change:+14.4f}  ({100 * change / each.static:+.1f}%)",
    ]
