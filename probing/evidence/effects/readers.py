"""What reads a neuron: the bytes that it makes likely, and the units that it drives."""

# H units, V tokens, M places

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlstm.model import language_model
from mlstm.model.sites import Neuron
from mlstm.trained import Model
from probing.evidence.effects.units import Units

SHOWN = 8


@dataclass(frozen=True)
class Reading:
    """Logits that the neuron raises and lowers most, directly, for each deviation that it rises.

    A logit is told less the mean of all: what is added to all of them changes no probability.
    """

    slope: float  # d h / d neuron, the mean over places; 1 of h itself
    raises: tuple[tuple[str, float], ...]
    lowers: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return "\n".join(
            f"{name:<13}{', '.join(f'{byte} {value:+.3f}' for byte, value in pairs)} (logit)"
            for name, pairs in (("raises", self.raises), ("lowers", self.lowers))
        )


@dataclass(frozen=True)
class Driven:
    """A unit, and how far it is from where it would be one byte after a push of one deviation."""

    neuron: str
    mean: float  # in its own deviations, over places
    size: float  # the mean of the absolute difference


def readout(
    model: Model, neuron: Neuron, plain: Mapping[str, np.ndarray], deviation: float
) -> Reading | None:
    """What the readout takes from the neuron's own h, to first order; None where it reads another
    layer, no h of the neuron's own, or of c where zoneout makes h of another one.

    plain: by site the neuron's values (L, M) in a run without edits.

    Of c, h = o tanh(c) is linearised: d h / d c = o (1 - tanh² c), averaged over places.
    """
    layer, name = neuron.site.layer, neuron.site.name
    config = model.config
    read = layer == config.layers - 1 or config.residual
    if not read or name not in ("c", "h") or (name == "c" and config.zoneout):
        return None
    slope = 1.0
    if name == "c":
        o, c = (np.asarray(plain[f"{layer}.{s}"], np.float64) for s in "oc")
        slope = float((o * (1 - np.tanh(c) ** 2)).mean())
    row = np.asarray(language_model.readout_weight(model.parameters), np.float64)[neuron.unit]
    logits = (row - row.mean()) * slope * deviation
    order = np.argsort(-logits, kind="stable")

    def listed(ids: np.ndarray) -> tuple[tuple[str, float], ...]:
        return tuple((_shown(model, int(v)), float(logits[v])) for v in ids)

    return Reading(slope, listed(order[:SHOWN]), listed(order[::-1][:SHOWN]))


def driven(site: str, moved: np.ndarray, of: Units, neuron: str) -> tuple[Driven, ...]:
    """The units of a site that are driven most, but for the neuron itself: moved (M, H) is the
    difference a byte later."""
    scaled = moved / np.where(of.varies, of.deviation, np.inf)
    mean, size = scaled.mean(0), np.abs(scaled).mean(0)
    found = [f"{site}[{unit}]" for unit in range(len(size))]
    size = np.where(np.array(found) == neuron, 0, size)
    order = np.argsort(-size, kind="stable")[:SHOWN]
    return tuple(
        Driven(found[unit], float(mean[unit]), float(size[unit]))
        for unit in order.tolist()
        if size[unit] > 0
    )


def _shown(model: Model, token: int) -> str:
    text = model.vocabulary.decode([token])
    if model.vocabulary.bytewise:
        return repr(text)[1:]
    return repr(text.decode("utf-8", "replace"))
