"""How a model learns from the text that it is scored on: rates, or a grid of them, and lengths."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from mlstm.errors import InputError
from mlstm.model.dynamic import Rates

GRIDS = {
    "rms": ((1e-5, 3e-5, 1e-4, 3e-4), (0.0, 0.001, 0.005)),
    "sgd": ((0.01, 0.03, 0.1, 0.3), (0.0, 0.003)),
}
"""Learning rates and decays of each rule that are tried where none are given: found to hold the
best for byte models of 128 and 256 units."""


@dataclass(frozen=True)
class Settings:
    """How a model learns as it reads. More than one rate of a kind is a grid that is tuned over;
    epsilon is as published."""

    rule: str = "rms"
    learning_rates: tuple[float, ...] = GRIDS["rms"][0]
    decays: tuple[float, ...] = GRIDS["rms"][1]
    epsilon: float = 2e-5
    segment: int = 20
    streams: int = 1
    batches: int = 200
    """Of the training text, for statistics; each is of up to 100 streams of a segment."""
    tune_ids: int = 100_000
    """Of the validation text at the most, read for each rate of the grid."""

    @staticmethod
    def of(rule: str = "rms", **given: Any) -> Settings:
        """With the grid of the rule where no rates are given."""
        rates, decays = GRIDS.get(rule, GRIDS["rms"])
        return Settings(**{"rule": rule, "learning_rates": rates, "decays": decays, **given})

    def check(self) -> Settings:
        """Return self, or raise InputError."""
        if self.rule not in ("rms", "sgd"):
            raise InputError(f'dynamic rule "{self.rule}"; it may be rms or sgd')
        for name in ("segment", "streams", "batches", "tune_ids"):
            if getattr(self, name) < 1:
                raise InputError(f"dynamic {name} is {getattr(self, name)}; it must be 1 or more")
        rates = (*self.learning_rates, *self.decays, self.epsilon)
        if not self.learning_rates or not self.decays:
            raise InputError("dynamic evaluation needs a learning rate and a decay at least")
        if not all(0 <= rate < math.inf for rate in rates):
            raise InputError(
                "dynamic rates have to be finite numbers, 0 or more: learning rates "
                f"{self.learning_rates}, decays {self.decays}, epsilon {self.epsilon}"
            )
        if max(self.decays) > 1:
            raise InputError(f"dynamic decay {max(self.decays)} goes beyond the trained parameters")
        if self.rule == "rms" and not self.epsilon:
            raise InputError(
                "dynamic epsilon is 0: a gradient that was always 0 would divide by it"
            )
        return self

    @property
    def grid(self) -> list[Rates]:
        pairs = itertools.product(self.learning_rates, self.decays)
        return [Rates(rate, decay, self.epsilon) for rate, decay in pairs]
