"""The training step that a run has, from a few figures and without its text."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mlstm import devices
from mlstm.corpus.stream import Batch
from mlstm.model.config import ModelConfig
from mlstm.training import optimizer as optimizers
from mlstm.training import setup, state
from mlstm.training.config import (
    Config,
    DataConfig,
    MeshConfig,
    OptimizerConfig,
    TrainConfig,
    from_config_dict,
    to_dict,
)

STEPS = 100_000
"""Of the run and of its epoch: what a learning rate falls over, which costs nothing."""


def run_config(
    model: ModelConfig, optimizer: str, streams: int, window: int, data: int, devices_of_group: int
) -> Config:
    """A run on data x devices_of_group devices. Raises InputError."""
    config = Config(
        model=model,
        data=DataConfig(source="none", batch=streams, window=window),
        optimizer=OptimizerConfig(name=optimizer, learning_rate=5e-4),
        train=TrainConfig(steps=STEPS),
        mesh=MeshConfig(data, devices_of_group),
    )
    return from_config_dict(to_dict(config))


def abstract(config: Config, mesh: Mesh, *, resets: bool = False) -> tuple[Any, Any, Batch]:
    """The jitted step, and the shapes of the state and the batch that it takes, with their places.

    Without `resets` it is the step of a text whose state is never reset inside a window.
    """
    optimizer = optimizers.make(config.optimizer, STEPS)
    step = setup.train_step(config, optimizer, mesh, steps=STEPS, windows=STEPS)
    shape, place = (config.data.window, config.data.batch), devices.batch_sharding(mesh)

    def of(dtype: Any) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

    batch = Batch(
        of(jnp.int32),
        of(jnp.int32),
        of(jnp.float32),
        of(bool) if resets else None,  # pyright: ignore[reportArgumentType]
    )
    return step, state.abstract(config, optimizer, mesh), batch
