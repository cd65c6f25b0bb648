"""What each byte of many texts costs under many edits, all of them in one call.

Texts are packed as `encoding` packs them, and every edit reads the same windows: `vmap` over what
the edits have of their own. The unedited model reads them beside.
"""

# T steps of a window, B streams, N edits, H hidden

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.model import encoding, language_model
from mlstm.model.config import ModelConfig
from mlstm.model.edits import Batch, resolve


class CostWindow(NamedTuple):
    """T steps of B streams. A cell (t, b) that has read byte `position` of `text` pays for the byte
    behind it; where there is none, `weights` is False and costs are 0."""

    base: jax.Array  # (T, B) nats under the unedited model, on the device as all that follow
    nats: jax.Array  # (N, T, B) under each edit
    divergence: jax.Array | None  # (N, T, B) nats: KL(unedited || edited) of the next byte
    states: Mapping[str, jax.Array]  # emitted sites, (N, T, B, H)
    weights: np.ndarray  # (T, B) bool
    text: np.ndarray  # (T, B) int32; -1 where nothing is read
    position: np.ndarray  # (T, B) int32


def stream_costs(
    config: ModelConfig,
    parameters: Any,
    texts: Sequence[np.ndarray],
    edits: Batch,
    *,
    streams: int = 16,
    window: int = 128,
    divergence: bool = False,
    emit: Sequence[str] = (),
) -> Iterator[CostWindow]:
    """Every byte of every text but its first, under every edit.

    texts: arrays of ids; each is read from the zero state.
    divergence: whether the two distributions of each next byte are compared.
    emit: sites whose edited states are wanted too.

    Other texts, units and values never recompile; another number of edits, kind of them, `streams`
    or `window` does. A window holds N x T x B x (vocabulary + 10 H) numbers, about.
    """
    axes = tuple(jax.tree.leaves(edits.axes, is_leaf=lambda axis: axis is None))
    base = language_model.initial_state(config, streams, language_model.dtype_of(parameters))
    state = jax.tree.map(lambda x: jnp.zeros((edits.count, *x.shape), x.dtype), base)
    for feed in encoding.feeds(texts, streams, window):
        targets, weights = next_ids(texts, feed)
        given = {"ids": feed.ids, "mask": feed.mask, "resets": feed.resets}
        given |= {"targets": targets, "weights": weights}
        made = _window(
            config,
            parameters,
            given,
            (base, state),
            edits.arrays,
            edits.steps(feed.text, feed.position, None),
            axes,
            edits.steps_axis,
            divergence,
            tuple(emit),
        )
        (base, state), own, nats, apart, states = made
        yield CostWindow(own, nats, apart, states, weights, feed.text, feed.position)


def next_ids(texts: Sequence[np.ndarray], feed: encoding.Feed) -> tuple[np.ndarray, np.ndarray]:
    """(T, B) the id behind each that is read, and whether there is one."""
    targets = np.zeros(feed.ids.shape, np.int32)
    weights = np.zeros(feed.ids.shape, bool)
    for text in np.unique(feed.text[feed.text >= 0]).tolist():
        ids = texts[text]
        here = feed.text == text
        behind = feed.position[here] + 1
        weights[here] = behind < len(ids)
        targets[here] = ids[np.minimum(behind, len(ids) - 1)]
    return targets, weights


@partial(jax.jit, static_argnames=("config", "axes", "steps_axis", "divergence", "emit"))
def _window(config, parameters, feed, states, arrays, steps, axes, steps_axis, divergence, emit):
    def read(state, edits, emit=()):
        output = language_model.forward(
            config,
            parameters,
            feed["ids"],
            state,
            mask=feed["mask"],
            resets=feed["resets"],
            edits=edits,
            emit=emit,
        )
        scores = language_model.logits(parameters, output.hidden, config.products)
        log_p = jax.nn.log_softmax(scores, axis=-1)
        chosen = jnp.take_along_axis(log_p, feed["targets"][..., None], axis=-1)[..., 0]
        return output, log_p, jnp.where(feed["weights"], -chosen, 0)

    output, plain, own = read(states[0], None)

    def one(state, arrays, steps):
        edited, log_p, nats = read(state, resolve(arrays, steps), emit)
        apart = None
        if divergence:
            apart = jnp.sum(jnp.exp(plain) * (plain - log_p), axis=-1)
            apart = jnp.where(feed["weights"], jnp.maximum(apart, 0), 0)
        return edited.state, nats, apart, edited.emitted

    of_arrays = jax.tree.unflatten(jax.tree.structure(arrays), axes)
    state, nats, apart, emitted = jax.vmap(one, (0, of_arrays, steps_axis))(
        states[1], arrays, steps
    )
    return (output.state, state), own, nats, apart, emitted
