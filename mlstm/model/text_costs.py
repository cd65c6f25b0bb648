"""What each token of many texts costs: texts packed as `encoding` packs them, in one shape."""

# T steps of a window, B streams

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mlstm import devices
from mlstm.model import encoding, language_model, on_mesh
from mlstm.model.config import ModelConfig
from mlstm.model.edits import Edits, resolve


class Costs(NamedTuple):
    """What the tokens of one window cost; (n,) each, in no order that matters."""

    nats: np.ndarray  # float32
    text: np.ndarray  # int32: which text
    position: np.ndarray  # int32: which of its ids
    read: int  # ids that the window read


def stream_nats(
    config: ModelConfig,
    parameters,
    texts: Sequence[np.ndarray],
    *,
    begins: Sequence[int],
    streams: int,
    window: int,
    edits: Edits | None = None,
    mesh: Mesh | None = None,
) -> Iterator[Costs]:
    """Every id of every text but its first, given those before it, from the zero state.

    begins: of each text the id at which positions begin, for edits that act from some byte on;
        ids before it count as position 0.
    mesh: as of `encoding.stream_states`; every process gets all costs.

    Texts, their number and lengths never recompile; another `streams`, `window`, mesh or kind of
    edits does. Raises InputError where the mesh does not divide the hidden units.
    """
    flat = np.concatenate([np.zeros(0, np.int32), *texts]).astype(np.int32)
    lengths = np.array([len(text) for text in texts], np.int64)
    starts, first = np.cumsum(lengths) - lengths, np.array(begins, np.int64)
    width = on_mesh.padded(mesh, streams)
    arrays = edits.arrays if edits else None
    parameters, state, arrays = on_mesh.begin(mesh, config, parameters, arrays, width)
    waiting = None
    # The last id of a text is a target alone.
    for feed in encoding.feeds([text[:-1] for text in texts], streams, window):
        there = feed.text >= 0
        number = np.where(there, feed.text, 0)
        targets = flat[np.where(there, starts[number] + feed.position + 1, 0)]
        place = np.maximum(feed.position - first[number], 0)
        steps = edits.steps(feed.text, place) if edits else {}
        given = {"ids": feed.ids, "mask": feed.mask, "resets": feed.resets}
        given = on_mesh.place(mesh, given | {"targets": targets, "steps": steps}, width)
        nats, state = _window(config, parameters, given, state, arrays, mesh)
        if waiting:  # the device computes this window while the one before it is fetched
            yield _costs(*waiting)
        waiting = nats, feed, there
    if waiting:
        yield _costs(*waiting)


def _costs(nats: jax.Array, feed: encoding.Feed, there: np.ndarray) -> Costs:
    found = np.asarray(devices.fetch(nats))[:, : there.shape[1]][there]
    return Costs(found, feed.text[there], feed.position[there] + 1, len(found))


@partial(jax.jit, static_argnames=("config", "mesh"))
def _window(config, parameters, feed, state, edits, mesh):
    output = language_model.forward(
        config,
        parameters,
        feed["ids"],
        state,
        mask=feed["mask"],
        resets=feed["resets"],
        edits=resolve(edits, feed["steps"]),
        placement=on_mesh.placement(mesh),
    )
    nats = language_model.negative_log_likelihood(
        config, parameters, output.hidden, jnp.asarray(feed["targets"])
    )
    return on_mesh.whole(mesh, nats), on_mesh.carried(mesh, output.state)
