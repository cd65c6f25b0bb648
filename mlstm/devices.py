"""Devices: the mesh, and where each array lives on it.

The mesh has two axes. `data` splits the streams of a batch; `model` splits the hidden units, which
is the last axis of every recurrent weight. With the gates on an axis of their own, that splits
each gate alike and costs no shuffling between them.

The mesh of a population has an axis `seeds` before them. Whatever belongs to a model has a first
axis of seeds there, which this one splits; models exchange nothing.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mlstm import job
from mlstm.errors import InputError
from mlstm.model.readable import Placement

# The last axis of these is the hidden units that they make.
_BY_LAST_AXIS = {
    *("wmx", "wmh", "wx", "wh", "whn"),
    *("gmx", "gmh", "gx", "gh", "ghn"),
    *("b", "bn"),
}


def mesh(data: int = 1, model: int = 1, *, population: bool = False) -> Mesh:
    """A ('data', 'model') mesh over the first data x model devices.

    With `population` the `data` groups of devices split the seeds: a ('seeds', 'data', 'model')
    mesh of data x 1 x model. The axes are Auto: the compiler places what is computed in between.
    In a job of several processes the mesh has all devices of all, in the order of the processes.
    Raises InputError where there are fewer devices than that, or where a process would have none.
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
    if job.count() > 1:
        _check_processes(data, model)
    axes = {"seeds": data, "data": 1} if population else {"data": data}
    axes["model"] = model
    grid = np.array(devices[: data * model]).reshape(*axes.values())
    return Mesh(grid, tuple(axes), axis_types=(AxisType.Auto,) * len(axes))


def _check_processes(data: int, model: int) -> None:
    """Raises InputError where not all devices of the job are taken, or hosts differ in theirs."""
    every, processes = jax.devices(), range(job.count())
    local = [sum(device.process_index == process for device in every) for process in processes]
    if len(set(local)) > 1:
        odd = next(process for process in processes if local[process] != local[0])
        raise InputError(
            f"process {odd} has {local[odd]} devices and process 0 has {local[0]}: each process "
            "of a job needs as many"
        )
    if data * model != len(every):
        raise InputError(
            f"config.mesh {data} x {model} takes {data * model} of the {len(every)} devices of "
            f"{job.count()} processes: data x model has to be {len(every)}"
        )


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
    of = by_name_and_shape(parameters, parameter_shardings(mesh, parameters))

    def sharding(path: tuple, leaf: Any) -> NamedSharding:
        return of(path, leaf) or _of_models(mesh)

    return jax.tree_util.tree_map_with_path(sharding, optimizer)


def by_name_and_shape(parameters: Any, values: Any) -> Callable[[tuple, Any], Any]:
    """`values` has one for each parameter. The function (path, leaf) -> the value of the parameter
    whose name the path ends with and whose shape the leaf has, or None: for an optimizer's state.
    """
    known: Mapping[tuple, tuple] = {
        tuple(map(_name, path)): (leaf.shape, value)
        for (path, leaf), value in zip(
            jax.tree_util.tree_leaves_with_path(parameters), jax.tree.leaves(values), strict=True
        )
    }

    def of(path: tuple, leaf: Any) -> Any:
        names = tuple(map(_name, path))
        for start in range(len(names)):
            shape, value = known.get(names[start:], (None, None))
            if shape == leaf.shape:
                return value
        return None

    return of


def placement(mesh: Mesh, *, of_group: bool = False) -> Placement:
    """What the model is told of this mesh; `of_group`: inside a `jax.shard_map` over `data`, where
    it sees the streams of one group."""
    groups = 1 if of_group else mesh.shape["data"]
    if mesh.shape["model"] == 1:
        return Placement(groups)
    return Placement(groups, functools.partial(_whole, None if of_group else mesh))


def _whole(mesh: Mesh | None, states: jax.Array) -> jax.Array:
    """States (..., B, H) with all their units on each device, their streams over `data` of the
    mesh; without one, those of the group that computes."""
    if mesh is None:
        return jax.lax.with_sharding_constraint(
            states, NamedSharding(jax.sharding.get_abstract_mesh(), P(*(None,) * states.ndim))
        )
    spec = P(*(None,) * (states.ndim - 2), "data", None)
    return jax.lax.with_sharding_constraint(states, NamedSharding(mesh, spec))


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device, whole."""
    return NamedSharding(mesh, P())


def by_model(mesh: Mesh) -> NamedSharding:
    """A number that each model has: wherever its model is."""
    return _of_models(mesh)


def unit_sharding(mesh: Mesh) -> NamedSharding:
    """(hidden,) of each model: units over `model`."""
    return _of_models(mesh, "model")


def carry_sharding(mesh: Mesh) -> NamedSharding:
    """(batch, hidden) of each model: streams over `data`, units over `model`."""
    return _of_models(mesh, "data", "model")


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """(time, batch), which all models share: streams over `data`."""
    return NamedSharding(mesh, P(None, "data"))


def local_rows(mesh: Mesh, streams: int) -> slice:
    """The streams of a batch that the devices of this process hold; of a mesh whose order is not
    that of the processes, perhaps some between them too."""
    spans = batch_sharding(mesh).addressable_devices_indices_map((1, streams)).values()
    bounds = [index[1].indices(streams) for index in spans if index is not None]
    return slice(min(start for start, _, _ in bounds), max(stop for _, stop, _ in bounds))


def place_batch(mesh: Mesh, batch: Any, streams: int, rows: slice) -> Any:
    """Arrays (time, those of `rows`) of this process, as (time, streams) over all devices."""
    sharding = batch_sharding(mesh)
    if sharding.is_fully_addressable:
        return jax.device_put(batch, sharding)

    def whole(part: np.ndarray) -> jax.Array:
        def block(index: Any) -> np.ndarray:
            start, stop, _ = index[1].indices(streams)
            return part[:, start - rows.start : stop - rows.start]

        return jax.make_array_from_callback((len(part), streams), sharding, block)

    return jax.tree.map(whole, batch)


def spread(tree: Any, shardings: Any) -> Any:
    """Arrays that every process has whole, as arrays on the mesh: one sharding for all, or a tree
    of them."""

    def place(x: Any, sharding: NamedSharding) -> jax.Array:
        if sharding.is_fully_addressable:
            return jax.device_put(x, sharding)
        host = jax.device_get(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: host[index])

    if isinstance(shardings, NamedSharding):
        return jax.tree.map(lambda x: place(x, shardings), tree)
    return jax.tree.map(place, tree, shardings)


def fetch(tree: Any) -> Any:
    """The values of arrays on the host, in every process, wherever on the mesh they are.

    With several processes all of them have to call it: what is not on their own devices is sent.
    """
    return jax.device_get(jax.tree.map(_here, tree))


def on_one_device(tree: Any) -> Any:
    """Arrays on the mesh as arrays on the first device of each process. All have to call it."""
    first = jax.local_devices()[0]
    return jax.device_put(jax.tree.map(_here, tree), first)


def _here(x: jax.Array) -> jax.Array:
    """The same array, or one whose whole value this process has."""
    if x.is_fully_addressable:
        return x
    if not x.is_fully_replicated:
        x = _everywhere(x.sharding.mesh)(x)  # pyright: ignore[reportAttributeAccessIssue]
    return x.addressable_data(0)


@functools.cache
def _everywhere(mesh: Mesh) -> Any:
    return jax.jit(lambda x: x, out_shardings=replicated(mesh))


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
