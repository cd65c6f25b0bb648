"""What can be asked of a state: one edit, its kinds, and when it acts."""

# H units of a site, U the edited ones, R rows, K rank

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mlstm.errors import InputError
from mlstm.model import sites

Phase = Literal["both", "prompt", "generation"]
Units = int | Sequence[int] | None

LARGEST = 1e6
"""Of a value; states are of the order of 1, and float32 must hold what edits add up to."""
LAST = 2**31 - 1
"""Of positions, ramps and units."""

KINDS: dict[str, tuple[str, ...]] = {
    "set": ("value",),
    "shift": ("value",),
    "scale": ("value",),
    "clamp": ("low", "high"),
    "resample": ("pool", "seed"),
    "patch": ("states",),
    "erase": ("mean", "into", "out"),
}
"""The kinds of edits, and the values that each has."""
MOMENTS = ("before_output", "after_step")
READERS = ("both", "recurrence", "readout")
PHASES = ("both", "prompt", "generation")


@dataclasses.dataclass(frozen=True, eq=False)
class Edit:
    """What happens to some units of a site, and at which steps."""

    site: str
    kind: str
    """One of `KINDS`."""
    values: Mapping[str, Any]
    """By name, as `KINDS` has them: numbers, or arrays of float32."""
    units: tuple[int, ...] | None = None
    """None is all of them."""
    when: str = "before_output"
    """Of c: before h = o tanh(c) is formed, or "after_step": the carried c alone."""
    reads: str = "both"
    """Of h: who reads the edited one, "recurrence" (the next step), "readout" (what stands behind
    the layer), or both."""
    phase: Phase = "both"
    """While the prompt is read, during generation, or both. A text that is only read is a prompt;
    the first byte that is made follows from the state after the prompt."""
    start: int = 0
    """The first byte position at which it acts, counted from the beginning of the text."""
    stop: int | None = None
    """The one before which it ends."""
    ramp: int = 0
    """Steps in which its strength rises evenly from 0 to 1, from `start` (in generation alone:
    from its first byte)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "site", str(sites.parse_site(self.site)))
        _check(self)
        if self.kind == "patch":  # it ends behind the last row
            end = self.start + len(self.values["states"])
            object.__setattr__(self, "stop", end if self.stop is None else min(end, self.stop))

    @property
    def key(self) -> str:
        """That of `editing`."""
        if self.when == "after_step":
            return f"{self.site}@after_step"
        return self.site if self.reads == "both" else f"{self.site}@{self.reads}"

    @property
    def by_step(self) -> bool:
        """Whether it is not the same at every step."""
        timed = self.start, self.stop, self.ramp, self.phase
        return timed != (0, None, 0, "both") or self.kind in ("resample", "patch")

    def check(self, config: Any) -> Edit:
        """Return self, or raise InputError where a model of this config cannot have it."""
        sites.check_site(config, self.site)
        for unit in self.units or ():
            sites.check_neuron(config, f"{self.site}[{unit}]")
        width = config.hidden if self.units is None else len(self.units)
        for name, axis in _AXES.items():
            value = self.values.get(name)
            if isinstance(value, np.ndarray) and value.ndim and value.shape[axis] != width:
                raise InputError(
                    f"edit of {self.site}: {name} has {value.shape[axis]} units, not {width}"
                )
        return self

    def __str__(self) -> str:
        from mlstm.model.edits.notation import written

        return written(self)


_AXES = {
    "value": 0, "low": 0, "high": 0, "pool": 1, "states": 1, "mean": 0, "into": 0, "out": 1,
}  # fmt: skip
"""Which axis of each value has the units, where it is an array."""
_RANKS = {"pool": (2,), "states": (2,), "into": (2,), "out": (2,), "mean": (1,)}


def _check(edit: Edit) -> None:
    site = sites.parse_site(edit.site)
    names = KINDS.get(edit.kind)
    if names is None:
        raise InputError(f'no kind of edit "{edit.kind}"; there are {", ".join(KINDS)}')
    if set(edit.values) != set(names):
        raise InputError(
            f'an edit of kind "{edit.kind}" has {", ".join(names)}; this one has '
            f"{', '.join(edit.values) or 'none of them'}"
        )
    for field, choices in (("when", MOMENTS), ("reads", READERS), ("phase", PHASES)):
        if getattr(edit, field) not in choices:
            raise InputError(
                f'edit of {edit.site}: {field} is "{getattr(edit, field)}"; it may be '
                f"{', '.join(choices)}"
            )
    if edit.when != "before_output" and site.name != "c":
        raise InputError(f"edit of {edit.site}: {edit.when} is a choice of c alone")
    if edit.reads != "both" and site.name != "h":
        raise InputError(f"edit of {edit.site}: a reader, {edit.reads}, is a choice of h alone")
    if edit.units is not None and (not edit.units or len(set(edit.units)) < len(edit.units)):
        raise InputError(f"edit of {edit.site}: units have to be some, and each of them once")
    if edit.units is not None and min(edit.units) < 0:
        raise InputError(f"edit of {edit.site}: no unit {min(edit.units)}; they begin at 0")
    if edit.kind == "erase" and edit.units is not None:
        raise InputError(f"edit of {edit.site}: an erasure is of all units of a site")
    for field in ("start", "stop", "ramp"):
        value = getattr(edit, field)
        if not (field == "stop" and value is None) and not 0 <= value <= LAST:
            raise InputError(f"edit of {edit.site}: {field} is {value}; it is from 0 to {LAST}")
    if edit.stop is not None and edit.stop <= edit.start:
        raise InputError(
            f"edit of {edit.site}: it ends before position {edit.stop} and begins at {edit.start}"
        )
    _check_values(edit)


def _check_values(edit: Edit) -> None:
    for name, value in edit.values.items():
        if name == "seed":
            continue
        ranks = _RANKS.get(name, (0, 1))
        if np.ndim(value) not in ranks:
            raise InputError(
                f"edit of {edit.site}: {name} has {np.ndim(value)} axes, not "
                f"{' or '.join(map(str, ranks))}"
            )
        if not np.all(np.abs(value) < LARGEST):  # nor a NaN
            raise InputError(f"edit of {edit.site}: {name} is not finite, or not below {LARGEST:g}")
        if np.ndim(value) and not np.size(value):
            raise InputError(f"edit of {edit.site}: {name} is empty")
    v = edit.values
    if edit.kind == "clamp" and not np.all(np.asarray(v["low"]) <= np.asarray(v["high"])):
        raise InputError(f"edit of {edit.site}: low is above high")
    if edit.kind == "erase" and v["into"].shape[::-1] != v["out"].shape:
        raise InputError(
            f"edit of {edit.site}: into {v['into'].shape} and out {v['out'].shape} have to be "
            "(H, K) and (K, H)"
        )


def number(value: Any) -> Any:
    """A float, or an array of float32. InputError for what is neither."""
    try:
        if np.ndim(value) == 0:
            return float(value)
        with np.errstate(over="ignore"):
            return np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{value!r:.60} is no number, and no array of numbers") from None


def _maker(kind: str) -> Callable[..., Edit]:
    """(site, units, values in the order of KINDS, keywords of Edit) -> Edit"""

    def make(site: str, units: Units = None, **values: Any) -> Edit:
        if isinstance(units, int | np.integer):
            units = (int(units),)
        own = {name: values.pop(name) for name in KINDS[kind] if name in values}
        given = {k: v if k == "seed" else number(v) for k, v in own.items()}
        chosen = None if units is None else tuple(int(unit) for unit in units)
        return Edit(site, kind, given, chosen, **values)

    return make


def set_to(site: str, units: Units, value: Any, **options: Any) -> Edit:
    """x' = value, a number or one for each unit."""
    return _maker("set")(site, units, value=value, **options)


def zero(site: str, units: Units = None, **options: Any) -> Edit:
    """x' = 0: a value that the unit may never have. `mean` and `resample` have what it does."""
    return set_to(site, units, 0.0, **options)


def mean(site: str, units: Units, value: Any, **options: Any) -> Edit:
    """x' = the unit's mean over data, a number or one for each unit, which the caller measured."""
    return set_to(site, units, value, **options)


def shift(site: str, units: Units, value: Any, **options: Any) -> Edit:
    """x' = x + value."""
    return _maker("shift")(site, units, value=value, **options)


def scale(site: str, units: Units, value: Any, **options: Any) -> Edit:
    """x' = value times x."""
    return _maker("scale")(site, units, value=value, **options)


def clamp(site: str, units: Units, low: Any, high: Any, **options: Any) -> Edit:
    """x' = x where it lies between low and high, else the nearer of them."""
    return _maker("clamp")(site, units, low=low, high=high, **options)


def resample(site: str, units: Units, pool: Any, seed: int = 0, **options: Any) -> Edit:
    """x' = that of another place: at each step a row of `pool` (R, U), drawn by (seed, text,
    position), so that units which are edited together keep what they have in common."""
    return _maker("resample")(site, units, pool=pool, seed=int(seed), **options)


def patch(site: str, units: Units, states: Any, **options: Any) -> Edit:
    """x' = what it was in another text: row p of `states` (R, U) at position start + p; it ends
    behind the last row."""
    return _maker("patch")(site, units, states=states, **options)


def erase(site: str, mean: Any, into: Any, out: Any, **options: Any) -> Edit:
    """x' = x + ((x - mean) @ into) @ out, of a whole site: mean (H,), into (H, K), out (K, H)."""
    return _maker("erase")(site, None, mean=mean, into=into, out=out, **options)
