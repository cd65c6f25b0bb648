"""From edits that were asked for to the arrays that act: one form for all kinds, see `editing`.

`Edits` is one list of edits; `Batch` is many that differ in values or units alone, side by side
along a first axis, for `vmap`.
"""

# H units, T steps of a window, B streams, N edits side by side, R rows that are drawn from

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.errors import InputError
from mlstm.mixing import mixed
from mlstm.model import sites
from mlstm.model.editing import Arrays
from mlstm.model.edits.edit import Edit
from mlstm.model.edits.notation import parse_edit

Steps = dict[str, dict[str, dict[str, np.ndarray]]]
"""By key and place of the stage: "strength" (T, B) float32, "row" (T, B) int32."""
Where = Callable[[np.ndarray, np.ndarray, int | None], Steps]
"""(text, position, prompt) -> Steps: which text (T, B) reads, and which of its bytes; from byte
`prompt` on the text is made by the model."""


class Edits(NamedTuple):
    """A list of edits as arrays."""

    edits: tuple[Edit, ...]
    arrays: Arrays
    """The stages of each key. In place of terms of every step a stage has a "pool" (R, H)."""
    placed: tuple[tuple[Edit, int], ...]
    """Each edit that differs from step to step, and the place of its stage in its key."""

    @property
    def by_step(self) -> bool:
        """Whether anything differs from step to step."""
        return bool(self.placed)

    def steps(self, text: np.ndarray, position: np.ndarray, prompt: int | None = None) -> Steps:
        """What differs from step to step, for (T, B) steps: see `Where`."""
        found: Steps = {}
        for edit, place in self.placed:
            found.setdefault(edit.key, {})[str(place)] = _of_steps(edit, text, position, prompt)
        return found


class Batch(NamedTuple):
    """Edits side by side: `vmap` over the leading axis of what has one."""

    count: int
    arrays: Arrays
    axes: Any
    """For each array 0, or None where all edits share it."""
    steps: Where
    steps_axis: int | None
    """0 where every edit has steps of its own, (N, T, B)."""


def make_edits(config: Any, changes: str | Edit | Iterable[Edit | str] | Edits) -> Edits | None:
    """Arrays for a list of edits, applied in its order, each an `Edit` or its text.

    Raises InputError for a site or unit that the model lacks. None when there are no edits.
    """
    if isinstance(changes, Edits):
        changes = changes.edits
    if isinstance(changes, str | Edit):
        changes = [changes]
    edits = tuple(parse_edit(each) if isinstance(each, str) else each for each in changes)
    if not edits:
        return None
    for edit in edits:
        edit.check(config)
    stages, placed = _stages(edits, config.hidden)
    arrays = jax.tree.map(jnp.asarray, {key: tuple(each) for key, each in stages.items()})
    return Edits(edits, arrays, tuple(placed))


def batch(config: Any, lists: Sequence[Iterable[Edit | str]]) -> Batch:
    """Several lists of edits side by side. They have to be alike: of the same kinds, at the same
    sites, in the same order; units, values and steps may differ. InputError where they are not."""
    made = [make_edits(config, each) for each in lists]
    if not made or None in made:
        raise InputError("edits side by side: each list needs an edit, and there must be a list")
    every = [one for one in made if one is not None]

    def shape(edits: Edits) -> Any:
        return jax.tree.map(jnp.shape, edits.arrays), [
            (edit.key, place, edit.kind in _DRAWN) for edit, place in edits.placed
        ]

    if any(shape(one) != shape(every[0]) for one in every):
        raise InputError(
            "edits side by side have to be alike: of the same kinds at the same sites, in one order"
        )
    arrays = jax.tree.map(lambda *x: jnp.stack(x), *(one.arrays for one in every))

    def steps(text: np.ndarray, position: np.ndarray, prompt: int | None) -> Steps:
        found = [one.steps(text, position, prompt) for one in every]
        return jax.tree.map(lambda *x: np.stack(x), *found)

    return Batch(len(every), arrays, jax.tree.map(lambda _: 0, arrays), steps, 0)


def each_set(
    config: Any,
    site: str,
    sets: Sequence[Sequence[int]],
    *,
    value: Any = None,
    pool: np.ndarray | None = None,
    seed: int = 0,
    when: str = "before_output",
    reads: str = "both",
) -> Batch:
    """For each set of units of a site the edit that takes them out: to their `value`, a number or
    (H,), as a mean is, or to rows drawn from `pool` (R, H), as `resample` draws them.

    All sets share the values: N sets of a site of H units are N x H numbers.
    """
    if (value is None) == (pool is None):
        raise ValueError("give either a value or a pool")
    hidden = config.hidden
    options: dict[str, Any] = {"when": when, "reads": reads}
    if pool is None:
        edit = Edit(site, "set", {"value": np.broadcast_to(value, hidden)}, **options)
    else:
        edit = Edit(site, "resample", {"pool": np.asarray(pool), "seed": seed}, **options)
    edit.check(config)
    chosen = np.zeros((len(sets), hidden), np.float32)
    for row, units in zip(chosen, sets, strict=True):
        if len(units):
            if min(units) < 0:
                raise InputError(f'no unit {min(units)} at site "{site}": they begin at 0')
            sites.check_neuron(config, f"{site}[{max(units)}]")
        row[np.asarray(units, int)] = 1
    whole = make_edits(config, edit)
    assert whole is not None
    (stage,) = whole.arrays[edit.key]
    arrays = {edit.key: ({**stage, "strength": jnp.asarray(chosen)},)}
    axes = {edit.key: ({**dict.fromkeys(stage), "strength": 0},)}
    return Batch(len(sets), arrays, axes, whole.steps, None)


def resolve(arrays: Arrays | None, steps: Any) -> Arrays | None:
    """The edits of so many steps, as `editing` has them, from what is the same at every step and
    what is not. Inside jit."""
    if not arrays:
        return None
    made = {}
    for key, stages in arrays.items():
        found = []
        for place, stage in enumerate(stages):
            own = steps.get(key, {}).get(str(place), {})
            new = {name: term for name, term in stage.items() if name != "pool"}
            timed = {}
            if "row" in own:
                timed["add"] = stage["pool"][own["row"]]
            if "strength" in own:
                timed["strength"] = own["strength"][..., None]
            found.append({**new, "at": timed} if timed else new)
        made[key] = tuple(found)
    return made


_DRAWN = ("resample", "patch")


def _stages(
    edits: Sequence[Edit], hidden: int
) -> tuple[dict[str, list[dict[str, Any]]], list[tuple[Edit, int]]]:
    """The stages of each key, and for each edit that differs by step the place of its stage.

    Edits of units one by one, at every step, share a stage as long as none of their units has been
    clamped in it.
    """
    stages: dict[str, list[dict[str, Any]]] = {}
    placed: list[tuple[Edit, int]] = []
    shared: dict[str, set[int] | None] = {}  # of the last stage: its clamped units; None: closed
    for edit in edits:
        of_key = stages.setdefault(edit.key, [])
        units = set(range(hidden)) if edit.units is None else set(edit.units)
        clamped = shared.get(edit.key)
        alone = edit.by_step or edit.kind == "erase"
        if alone or clamped is None or clamped & units:
            of_key.append({})
            clamped = set()
        _add(of_key[-1], edit, hidden)
        if edit.by_step:
            placed.append((edit, len(of_key) - 1))
        shared[edit.key] = None if alone else clamped | (units if edit.kind == "clamp" else set())
    return stages, placed


def _add(stage: dict[str, Any], edit: Edit, hidden: int) -> None:
    """What an edit adds to the terms of its stage."""
    units = slice(None) if edit.units is None else list(edit.units)
    v = edit.values

    def term(name: str, default: float) -> np.ndarray:
        return stage.setdefault(name, np.full(hidden, default, np.float32))

    if edit.kind == "erase":
        stage.update({name: np.asarray(v[name], np.float32) for name in ("mean", "into", "out")})
    elif edit.kind == "clamp":
        term("low", -np.inf)[units] = v["low"]
        term("high", np.inf)[units] = v["high"]
    elif edit.kind in _DRAWN:
        rows = v["pool"] if edit.kind == "resample" else v["states"]
        pool = np.zeros((len(rows), hidden), np.float32)
        pool[:, units] = rows
        term("keep", 1)[units] = 0
        stage["pool"] = pool
    else:
        keep, add = {"set": (0, v["value"]), "shift": (1, v["value"]), "scale": (v["value"], 0)}[
            edit.kind
        ]
        term("add", 0)[units] = term("add", 0)[units] * keep + add
        term("keep", 1)[units] *= keep


def _of_steps(
    edit: Edit, text: np.ndarray, position: np.ndarray, prompt: int | None
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    if edit.kind == "resample":
        draws = _hashed(edit.values["seed"], text, position)
        found["row"] = (draws % np.uint64(len(edit.values["pool"]))).astype(np.int32)
    elif edit.kind == "patch":
        last = len(edit.values["states"]) - 1
        found["row"] = np.clip(position - edit.start, 0, last).astype(np.int32)
    strength = _strength(edit, position, prompt)
    if strength is not None:
        found["strength"] = strength
    return found


def _strength(edit: Edit, position: np.ndarray, prompt: int | None) -> np.ndarray | None:
    """(T, B); None where it is 1 everywhere, whatever the position."""
    if (edit.start, edit.stop, edit.ramp, edit.phase) == (0, None, 0, "both"):
        return None
    on = position >= edit.start
    if edit.stop is not None:
        on &= position < edit.stop
    made = np.zeros(position.shape, bool) if prompt is None else position >= prompt
    if edit.phase != "both":
        on &= made if edit.phase == "generation" else ~made
    strength = on.astype(np.float32)
    if edit.ramp:
        first = max(edit.start, prompt or 0) if edit.phase == "generation" else edit.start
        strength *= np.clip((position - first + 1) / edit.ramp, 0, 1).astype(np.float32)
    return strength


def _hashed(seed: int, text: np.ndarray, position: np.ndarray) -> np.ndarray:
    """uint64 of (seed, text, position), as if drawn (SplitMix64)."""
    x = np.asarray(text).astype(np.int64).astype(np.uint64) << np.uint64(32)
    x ^= np.asarray(position).astype(np.uint64)
    with np.errstate(over="ignore"):
        x += np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
    return mixed(x)
