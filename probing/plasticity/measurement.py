"""What was measured of one model at one time, on disk as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlstm.errors import InputError
from mlstm.output import to_json, write_whole
from probing.plasticity.roles import Role


@dataclass(frozen=True)
class Measurement:
    """One model at one time. Figures by name, and the figures of each neuron by site."""

    figures: dict[str, float]
    best_neuron: str
    roles: list[Role]
    auc: dict[str, list[float]]
    """Of each measured site: on test, in no direction; of a pruned unit NaN."""
    saliency: dict[str, list[float]]
    """Of each measured site: the rank of |AUC - 1/2| on train among all living neurons of all
    measured sites, from 0 to 1; NaN of a pruned unit."""
    followed: dict[str, list[int]]
    """Of each ranked site: how many classes each neuron follows."""
    words: dict[str, list[list[str]]]
    """Of each ranked site: the words at the end of each neuron where the concept lies."""
    passages: dict[str, list[list[str]]] = field(repr=False)

    def save(self, path: Path) -> None:
        plain = dict(vars(self)) | {"roles": [vars(role) for role in self.roles]}
        write_whole(path, to_json(plain) + "\n")

    @staticmethod
    def load(path: Path) -> Measurement:
        """Raises InputError for a file that this version did not write."""
        try:
            plain = json.loads(path.read_text())
            plain["roles"] = [Role(**role) for role in plain["roles"]]
            for name in ("auc", "saliency"):
                plain[name] = {s: _numbers(values) for s, values in plain[name].items()}
            names = list(plain["figures"])
            plain["figures"] = dict(zip(names, _numbers(plain["figures"].values()), strict=True))
            return Measurement(**plain)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a measurement of this version ({error})") from None


def _numbers(values: Any) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]
