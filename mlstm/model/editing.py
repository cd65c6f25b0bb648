"""What an edit does to a state, step by step. What asks for it is in `edits`.

An edit sends a state x of a site to

    clip(keep * x + add + ((x - mean) @ into) @ out, low, high),

and with a strength s to (1 - s) x + s times that. Each of these terms may be there or not. Edits
are one dict from a key to a tuple of stages, which act one after another; a stage is a dict of
terms. Which keys, how many stages, which terms, the rank of `into`, and which terms differ from
step to step are compiled in. Everything else is data: other units and values never recompile, and
`vmap` runs many edits at once.

The key of a site, "0.c", edits the state where the step makes it: c before h = o tanh(c) is formed,
h for the next step and for whatever reads the layer. Three more keys are of what leaves a step:

    0.c@after_step    the c that is carried: from the next step on
    0.h@recurrence    the h that the next step reads
    0.h@readout       the h that the readout, or the layer above, reads

A site emits the value after its edit. Where units keep a share of their old value (zoneout), an
edit of c or h acts on what the step makes and on what leaves it, and the latter is emitted.

Legend: T time, B streams, H hidden, K rank. A term is (H,) or (B, H), into (H, K), out (K, H);
under "at" in a stage stand terms of every step, (T, B or 1, H or 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mlstm.errors import InputError
from mlstm.model.layouts import Rows
from mlstm.model.sites import check_site

TERMS = ("keep", "add", "mean", "into", "out", "low", "high", "strength")
OF_STATES = {"c": ("after_step",), "h": ("recurrence", "readout")}
"""What may stand behind @ in a key, by the state."""

Stage = Mapping[str, Any]
Arrays = Mapping[str, tuple[Stage, ...]]
"""What `language_model.forward` takes as edits."""


def edited(x: jax.Array, stages: tuple[Stage, ...], layout: Any = Rows) -> jax.Array:
    """The state after all stages; their terms broadcast against it."""
    for stage in stages:
        x = _after(x, stage, layout)
    return x


def _after(x: jax.Array, stage: Stage, layout: Any) -> jax.Array:
    new = x
    if "keep" in stage:
        new = stage["keep"] * new
    if "add" in stage:
        new = new + stage["add"]
    if "into" in stage:
        centred = x - stage["mean"] if "mean" in stage else x
        new = new + layout.project(centred, stage["into"], stage["out"])
    if "low" in stage:
        new = jnp.maximum(new, stage["low"])
    if "high" in stage:
        new = jnp.minimum(new, stage["high"])
    if "strength" in stage:
        # Exact at 0 and at 1, where x + s (new - x) would be at 0 alone.
        new = (1 - stage["strength"]) * x + stage["strength"] * new
    return new


def check_keys(config: Any, edits: Arrays | None) -> None:
    """InputError for an edit of a site, or of a part of one, that the model does not have."""
    for key in edits or ():
        name, at, part = key.partition("@")
        site = check_site(config, name)
        if at and part not in OF_STATES.get(site.name, ()):
            raise InputError(f'no "{part}" of site "{name}" can be edited by itself')


def of_layer(layer: int, edits: Arrays | None) -> dict[str, tuple[Stage, ...]]:
    """Those of a layer, by the rest of their keys."""
    prefix = f"{layer}."
    return {k.removeprefix(prefix): v for k, v in (edits or {}).items() if k.startswith(prefix)}


def apart(edits: Mapping[str, Any]) -> bool:
    """Whether, by the edits of a layer, the next step reads another h than the readout."""
    return "h@recurrence" in edits or "h@readout" in edits


def divided(edits: Arrays) -> tuple[Any, Any]:
    """The terms that are the same at every step, and those that are not, (T, ...) each."""
    fixed = {
        key: tuple({k: v for k, v in stage.items() if k != "at"} for stage in stages)
        for key, stages in edits.items()
    }
    timed = {
        key: tuple(dict(stage.get("at", {})) for stage in stages) for key, stages in edits.items()
    }
    return fixed, timed


def joined(fixed: Any, timed: Any) -> dict[str, tuple[Stage, ...]]:
    """The stages of one step (or of a chunk of steps that are run at once), from both parts."""
    return {
        key: tuple({**a, **b} for a, b in zip(fixed[key], timed[key], strict=True)) for key in fixed
    }


def at(edits: Arrays | None, step: Any) -> Arrays | None:
    """The edits of one step, without "at"."""
    if not edits:
        return None
    fixed, timed = divided(edits)
    take = lambda a: lax.dynamic_index_in_dim(a, step, 0, keepdims=False)  # noqa: E731
    return joined(fixed, jax.tree.map(take, timed))
