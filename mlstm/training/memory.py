"""What the training step takes of a device's memory: as it was compiled, and as it turned out."""

import contextlib
import math
import resource
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from mlstm.training.setup import Setup


class Memory:
    """Two lines for the start of a run: what the step will take, and what was taken after all."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._devices = setup.mesh.local_devices
        self._state = _on_a_device(setup.abstract())
        self._compiled: int | None = None
        """Bytes that the process held when the step was compiled."""

    def predicted(self) -> str:
        """What the compiled step takes on each device. It is not compiled again when it is called:
        JAX keeps it."""
        whole = of_compiled(self._setup.compiled_step())
        self._compiled = _resident()
        limit = (self._devices[0].memory_stats() or {}).get("bytes_limit")
        return (
            f"memory: predicted {mebibytes(whole)} on each device (state "
            f"{mebibytes(self._state)}){f', of its {mebibytes(limit)}' if limit else ''}"
        )

    def measured(self) -> str | None:
        """The largest size so far; None before there was a prediction, and where it was said.

        A CPU counts the whole process. What is comparable is the state and what came since the step
        was compiled: compiling takes more than a small model does.
        """
        if self._compiled is None:
            return None
        before, self._compiled = self._compiled, None
        stats = [device.memory_stats() or {} for device in self._devices]
        peak = max(stat.get("peak_bytes_in_use", 0) for stat in stats)
        if peak:
            return f"memory: measured peak {mebibytes(peak)} on the fullest device"
        whole, devices = _peak_resident(), len(self._devices)
        own = max(0, whole - before) + self._state * devices
        return (
            f"memory: measured peak {mebibytes(whole)} of the whole process; {mebibytes(own)} of "
            "it are the state and what came after compiling"
            f"{f', for {devices} devices' if devices > 1 else ''}"
        )


def of_compiled(compiled: Any) -> int:
    """What a compiled step takes on one device: its state, its batch and everything in between."""
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def mebibytes(count: int) -> str:
    """A number of bytes for the reader, "1,234.5 MiB"."""
    return f"{count / 2**20:,.1f} MiB"


def _on_a_device(state: Any) -> int:
    """Bytes of the part of an abstract state that one device holds."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(state)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def _resident() -> int:
    """Bytes that the process holds now; where the system does not say, the most it ever held."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return _peak_resident()


def _peak_resident() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
