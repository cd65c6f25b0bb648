"""Devices: the mesh, and where each array lives on it.

The mesh has two axes. `data` splits the streams of a batch; `model` splits the hidden units, which
is the last axis of every recurrent weight. With the gates on an axis of their own, that splits
each gate alike and costs no shuffling between them.

The mesh of a population has an axis `seeds` before them. Whatever belongs to a model has a first
axis of seeds there, which this one splits; models exchange nothing.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mlstm.errors import InputError
from mlstm.model.readable import Placement

# The last axis of these is the hidden units that they make.
_BY_LAST_AXIS = {"wmx", "wmh", "wx", "wh", "b", "gmx", "gmh", "gx", "gh"}


def mesh(data: int = 1, model: int = 1, *, population: bool = False) -> Mesh:
    """A ('data', 'model') mesh over the first data x model devices.

    With `population` the `data` groups of devices split the seeds: a ('seeds', 'data', 'model')
    mesh of data x 1 x model. The axes are Auto: the compiler places what is computed in between.
    Raises InputError where there are fewer devices than that.
    """
    devices = jax.devices()
    if data * model > len(devices):
        advice = ""
        if devices[0].platform == "cpu":
            advice = "; XLA_FLAGS=--xla_force_host_platform_device_count=N makes N of a CPU"
        raise InputError(
            f"config.mesh {data} x {model} needs {data * model} devices, here "
            f"{'is' if len(devices) == 1 else 'are'} {len(devices)} ({devices[0].platform})"
            f"{advice}"
        )
    axes = {"seeds": data, "data": 1} if population else {"data": data}
    axes["model"] = model
    grid = np.array(devices[: data * model]).reshape(*axes.values())
    return Mesh(grid, tuple(axes), axis_types=(AxisType.Auto,) * len(axes))


def parameter_shardings(mesh: Mesh, parameters: Any) -> Any:
    """For each leaf of the parameters its NamedSharding, by the leaf's name.

    The recurrent weights are split over `model` by their last axis. The readout's w (H, V) is
    split by its first, so that each device reads the hidden units it made, and what is summed over
    devices is logits (V of them) rather than states (H). The embedding and the readout's bias are
    everywhere.
    """

    def sharding(path: tuple, leaf: Any) -> NamedSharding:
        *above, name = (_name(key) for key in path)
        if "readout" in above:
            return _of_models(mesh, *(("model", None) if name == "w" else ()))
        if name in _BY_LAST_AXIS and "layers" in above:
            axes = leaf.ndim - len(_seeds(mesh))
            return _of_models(mesh, *(None,) * (axes - 1), "model")
        return _of_models(mesh)

    return jax.tree_util.tree_map_with_path(sharding, parameters)


def optimizer_shardings(mesh: Mesh, optimizer: Any, parameters: Any) -> Any:
    """A moment that has a parameter's name and shape lives where the parameter lives; the rest of
    the optimizer's state (counts, factored moments) is wherever its model is."""
    placed: Mapping[tuple, tuple] = {
        tuple(map(_name, path)): (leaf.shape, sharding)
        for (path, leaf), sharding in zip(
            jax.tree_util.tree_leaves_with_path(parameters),
            jax.tree.leaves(parameter_shardings(mesh, parameters)),
            strict=True,
        )
    }

    def sharding(path: tuple, leaf: Any) -> NamedSharding:
        names = tuple(map(_name, path))
        for start in range(len(names)):
            shape, place = placed.get(names[start:], (None, None))
            if shape == leaf.shape:
                return place
        return _of_models(mesh)

    return jax.tree_util.tree_map_with_path(sharding, optimizer)


def placement(mesh: Mesh) -> Placement:
    """What the model is told of this mesh."""
    whole = functools.partial(_whole, mesh) if mesh.shape["model"] > 1 else None
    return Placement(groups=mesh.shape["data"], whole=whole)


def _whole(mesh: Mesh, states: jax.Array) -> jax.Array:
    """States (..., B, H) with all their units on each device, their streams over `data`."""
    spec = P(*(None,) * (states.ndim - 2), "data", None)
    return jax.lax.with_sharding_constraint(states, NamedSharding(mesh, spec))


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device, whole."""
    return NamedSharding(mesh, P())


def by_model(mesh: Mesh) -> NamedSharding:
    """A number that each model has: wherever its model is."""
    return _of_models(mesh)


def carry_sharding(mesh: Mesh) -> NamedSharding:
    """(batch, hidden) of each model: streams over `data`, units over `model`."""
    return _of_models(mesh, "data", "model")


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """(time, batch), which all models share: streams over `data`."""
    return NamedSharding(mesh, P(None, "data"))


def _of_models(mesh: Mesh, *spec: str | None) -> NamedSharding:
    """`spec` is that of the array of one model."""
    return NamedSharding(mesh, P(*_seeds(mesh), *spec))


def _seeds(mesh: Mesh) -> tuple[str, ...]:
    """The axis that a population's arrays have before those of one model."""
    return tuple(name for name in mesh.axis_names if name == "seeds")


def _name(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
