"""One process of a job that saves and restores.

    checkpoint_worker.py PORT COUNT INDEX FOLDER ACT...

Each ACT names a function of this file, a run in the folder, and arguments, with ":" between them.
What it found is one line of JSON on stdout. With COUNT 1 the process is alone.
"""

import contextlib
import errno
import hashlib
import json
import os
import resource
import sys
from pathlib import Path
from unittest import mock

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mlstm import checkpoint_arrays, checkpoint_files, devices, job
from mlstm.checkpoint import Checkpoints, read_parameters
from mlstm.checkpoint_errors import raise_if_of_the_machine
from mlstm.errors import InputError

SPECS = {
    "parameters": {"w": P(None, "model"), "b": P()},
    "carry": P("data", "model"),
    "key": P(),
    "step": P(),
}


def places():
    """Over all devices there are: as many of the model axis as go into eight."""
    wide = min(jax.device_count(), 4)
    mesh = devices.mesh(jax.device_count() // wide, wide)
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), SPECS, is_leaf=lambda x: isinstance(x, P)
    )


@jax.jit
def values(seed):
    key = jax.random.key(seed)
    w = jax.random.normal(key, (256, 256))
    return {
        "parameters": {"w": w, "b": w[0]},
        "carry": jax.random.normal(key, (8, 64), jnp.bfloat16),
        "key": key,
        "step": seed,
    }


def make_state(seed):
    """Values are made on one device, the same everywhere, and then put in their places."""
    return jax.tree.map(_placed, values(jnp.int32(seed)), places())


def _placed(x, place):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _placed(jax.random.key_data(x), place)
        return jax.jit(jax.random.wrap_key_data, out_shardings=place)(data)
    values = np.asarray(x)
    return jax.make_array_from_callback(values.shape, place, lambda index: values[index])


def abstract():
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        jax.eval_shape(values, jnp.int32(0)),
        places(),
    )


def bits(state):
    """The bits of every array, by a hash that knows nothing of the digests."""

    def value(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.jit(jax.random.key_data)(x)
        return devices.fetch(x).tobytes()

    return [hashlib.sha256(value(x)).hexdigest() for x in jax.tree.leaves(state)]


def save(folder, *steps):
    checkpoints = Checkpoints(folder, newest=9, timeout=60)
    found = [checkpoints.save(int(step), make_state(int(step))) for step in steps]
    found += [checkpoints.close()]
    return found


def restore(folder):
    checkpoints = Checkpoints(folder, newest=9, timeout=60)
    restored = checkpoints.restore(abstract())
    checkpoints.close()
    if restored is None:
        return None
    good = bits(restored.state) == bits(make_state(restored.step))
    placed = jax.tree.map(lambda x: x.sharding, restored.state) == places()
    return [restored.step, good, placed]


def amend(folder, step):
    checkpoints = Checkpoints(folder, newest=9, timeout=60)
    good = checkpoints.save(int(step), make_state(0), metadata={"at": "later"}, validation=0.5)
    checkpoints.close()
    parameters, best, metadata = read_parameters(folder, "best")
    same = bits(parameters) == bits(make_state(int(step))["parameters"])
    return [good, best, metadata, same]


@contextlib.contextmanager
def small_files(process, limit):
    """No file of more than `limit` bytes can be written by this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if process == job.index():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def full(folder, process, limit):
    """One process cannot write; then it can."""
    checkpoints = Checkpoints(folder, newest=9, timeout=60)
    with small_files(int(process), int(limit)):
        good = checkpoints.save(1, make_state(1)) and checkpoints.wait()
    found = [good, checkpoints.steps(), checkpoints.save(2, make_state(2)), checkpoints.close()]
    job.barrier("process 0 has tidied up")
    return [*found, checkpoints.steps(), sorted(p.name for p in Path(folder).iterdir())]


def no_memory(folder, process, timeout):
    """One process cannot begin a save; then it can."""

    def fail(*_, **__):
        raise MemoryError("no room for a copy")

    checkpoints = Checkpoints(folder, newest=9, timeout=int(timeout))
    with contextlib.ExitStack() as broken:
        if job.index() == int(process):
            handler = checkpoint_arrays.ocp.StandardCheckpointHandler
            broken.enter_context(mock.patch.object(handler, "async_save", fail))
        began = checkpoints.save(1, make_state(1))
    found = [began, checkpoints.steps(), checkpoints.save(2, make_state(2)), checkpoints.close()]
    return [*found, checkpoints.steps()]


def unreadable(folder, process, kind):
    """One process alone fails to read the newest."""
    read = checkpoint_arrays.ocp.StandardCheckpointHandler.restore

    def fail(self, path, **arguments):
        if job.index() == int(process) and "/2/" in str(path):
            number = {"disk": errno.EIO, "rights": errno.EACCES}.get(kind)
            raise OSError(number, os.strerror(number)) if number else ValueError("DATA_LOSS")
        return read(self, path, **arguments)

    with mock.patch.object(checkpoint_arrays.ocp.StandardCheckpointHandler, "restore", fail):
        try:
            return restore(folder)
        except InputError as error:
            return f"{type(error).__name__}: {error}"


def bad_sector(folder):
    """The disk does not give process 0 a file of the newest, which is then saved anew."""
    check = checkpoint_files.check_files

    def fail(path, *arguments):
        if path.name == "2":
            raise_if_of_the_machine(path, OSError(errno.EIO, os.strerror(errno.EIO)))
        check(path, *arguments)

    with mock.patch.object(checkpoint_files, "check_files", fail):
        checkpoints = Checkpoints(folder, newest=9, timeout=60)
        restored = checkpoints.restore(abstract())
        found = [restored.step, checkpoints.save(2, make_state(2)), checkpoints.close()]
    return [*found, restore(folder)]


def main():
    port, count, index, folder, *acts = sys.argv[1:]
    if int(count) > 1:
        jax.distributed.initialize(
            f"127.0.0.1:{port}", int(count), int(index), initialization_timeout=60,
            heartbeat_timeout_seconds=20,
        )  # fmt: skip
    for act in acts:
        name, run, *arguments = act.split(":")
        found = globals()[name](Path(folder) / run, *arguments)
        print(json.dumps([act, found]), flush=True)


if __name__ == "__main__":
    main()
