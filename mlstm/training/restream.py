"""Going on with other streams: another batch or window than the run had.

A stream is a piece of the text whose place follows from how many there are. With another number
the text falls into other pieces: the state carried along the old ones belongs nowhere, and what
of the epoch was read is no beginning of the new ones.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mlstm import checkpoint_files, devices
from mlstm.checkpoint_errors import Damaged, DiskError
from mlstm.corpus.stream import Stream
from mlstm.model import language_model
from mlstm.training.config import Config
from mlstm.training.setup import Setup
from mlstm.training.state import Position, TrainState, each_model


def of(config: Config) -> list[int]:
    """What decides where streams lie: kept with every checkpoint."""
    return [config.data.batch, config.data.window]


def of_newest(folder: Path) -> list[int] | None:
    """`of` the newest checkpoint that says it; None where none does."""
    for step in reversed(checkpoint_files.steps(folder)):
        try:
            return checkpoint_files.read_metadata(folder / str(step))["content"].get("streams")
        except (Damaged, DiskError):  # said when it is restored
            continue
    return None


def with_streams(abstract: TrainState, streams: int, mesh: Mesh) -> TrainState:
    """The abstract state with a carry of so many streams, whole wherever its model is."""

    def of_saved(leaf: Any) -> jax.ShapeDtypeStruct:
        shape = (*leaf.shape[:-2], streams, leaf.shape[-1])
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=devices.by_model(mesh))

    return abstract._replace(carry=jax.tree.map(of_saved, abstract.carry))


def begun_anew(state: TrainState, setup: Setup) -> TrainState:
    """The state at the start of its epoch, with an empty carry for the streams of `setup`."""
    config, places = setup.config, setup.abstract()

    def fresh(parameters: Any) -> Any:
        dtype = language_model.dtype_of(parameters)
        return language_model.initial_state(config.model, config.data.batch, dtype)

    carry = jax.jit(
        each_model(config, fresh), out_shardings=jax.tree.map(lambda x: x.sharding, places.carry)
    )(state.parameters)
    zero = devices.spread(jnp.int32(0), places.position.window.sharding)
    return state._replace(carry=carry, position=Position(state.position.epoch, zero))


def loss(state: TrainState, saved: list[int], setup: Setup) -> str:
    """One line for the log: what is lost by going on with the streams of `setup`."""
    batch, window = saved
    windows = Stream(setup.stream.split, batch, window).windows
    read = int(state.position.window) / windows
    return (
        f"streams: {setup.config.data.batch} x {setup.config.data.window}, they were {batch} x "
        f"{window}: the carried state is lost, and epoch {int(state.position.epoch) + 1} begins "
        f"anew; the {read:.0%} of it that were read are read again"
    )
