"""The effect of ablating each neuron of a site, estimated for all of them by one gradient.

Ablating x at one step moves it by d = mean - x. With g the gradient of the cost with respect to x,
the cost changes by g d, to first order, and by (g d)^2 / 2 more, where the model's probabilities
are about right: the curvature of a log likelihood is the mean of its squared gradient. Both are
summed over steps. The second is what counts of a neuron that the model uses well, of which the
first is small on average.

A c that is ablated at every step acts through h = o tanh(c) alone, since what it would carry on is
replaced. So of c the gradient is that of h, and d is o (tanh(mean) - tanh(c)), however far from
linear tanh is between the two (with zoneout c is as any other site). Gradients reach to the end of
a window of 128 steps.
"""

# T steps, B streams, H units

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.model import costs, encoding, language_model
from mlstm.trained import Model
from probing.evidence.effects.marked import Marked
from probing.evidence.effects.units import Units

WINDOW = 128


def screen(
    model: Model,
    marked: Marked,
    of: Units,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """(H, 2) bits per byte that mean ablation should cost more: elsewhere, on the concept."""
    streams = encoding.choose_streams(marked.lengths, WINDOW)
    state = language_model.initial_state(model.config, streams)
    mean, total, done = of.mean.astype(np.float32), np.zeros((2, model.config.hidden)), 0
    for feed in encoding.feeds(marked.texts, streams, WINDOW):
        cells = marked.predicted(feed.text, feed.position)
        given = {
            "ids": feed.ids,
            "mask": feed.mask,
            "resets": feed.resets,
            "targets": costs.next_ids(marked.texts, feed)[0],
            "sides": np.stack([cells % 2 == 0, cells % 2 == 1]) & (cells >= 0),
        }
        state, part = _window(model.config, model.parameters, given, state, mean, of.site)
        total += np.asarray(part, np.float64)
        done += int(np.count_nonzero(feed.text >= 0))
        if progress:
            progress(done, sum(marked.lengths))
    return total.T / marked.counts().sum(0) / math.log(2)


@functools.partial(jax.jit, static_argnames=("config", "site"))
def _window(config, parameters, feed, state, mean, site):
    """The state after it, and (2, H): the estimates of both sides."""
    layer, name = site.split(".")
    through_h = name == "c" and not config.zoneout  # which makes the carried c another one
    acting = f"{layer}.h" if through_h else site
    emit = (site, f"{layer}.o") if through_h else (site,)

    def cost(tap):
        out = language_model.forward(
            config,
            parameters,
            feed["ids"],
            state,
            mask=feed["mask"],
            resets=feed["resets"],
            edits={acting: ({"at": {"add": tap}},)},
            emit=emit,
        )
        nats = language_model.negative_log_likelihood(
            config, parameters, out.hidden, feed["targets"]
        )
        return jnp.sum(nats * feed["sides"], axis=(1, 2)), (out.state, out.emitted)

    tap = jnp.zeros((*feed["ids"].shape, config.hidden))
    _, pull, (after, emitted) = jax.vjp(cost, tap, has_aux=True)
    x = emitted[site]
    moved_by = mean - x
    if through_h:
        moved_by = emitted[f"{layer}.o"] * (jnp.tanh(mean) - jnp.tanh(x))
    delta = jnp.where(feed["mask"][..., None], moved_by, 0)

    def estimate(side):
        (gradient,) = pull(jnp.zeros(2).at[side].set(1.0))
        moved = gradient * delta
        return jnp.sum(moved + moved**2 / 2, axis=(0, 1))

    return after, jnp.stack([estimate(0), estimate(1)])
