"""Bytes of text a second of the whole training step, on the GPUs at hand, beside the prediction.

    python benchmarks/gpu.py --hidden=4096 --batch=128 --window=256 --products=bfloat16 --mesh=8x1

The step is the one that a run makes, with Adam: loss, gradient, norms, optimizer and guard, state
donated; the same batch again and again, so that reading text is not in it. `--batch` is the streams
of each of the `data` groups of the mesh. It runs on a CPU too, at small sizes, without prediction;
`python benchmarks/h100.py --step` compiles the same program for H100s that are not there.

What it prints is meant to prove `scaling_model.py` wrong: see docs/scaling.md.
"""

import argparse
import dataclasses
import re
import statistics
import time
from typing import Any

import jax
import numpy as np
import scaling_model
import timing
from jax.sharding import Mesh
from whole_step import abstract, run_config

from mlstm import devices
from mlstm.errors import InputError
from mlstm.training import optimizer as optimizers
from mlstm.training import state as states
from mlstm.training.config import Config


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured, and what was foreseen for it."""

    shape: scaling_model.Shape
    kind: str
    """Of the devices, as JAX names it."""
    seconds: list[float]
    """Of one step, the mean of each round."""
    planned: int
    """Bytes on each device, as XLA says beforehand."""
    peak: int | None
    """Bytes at most in use on the first device; None where it does not count them."""

    @property
    def step(self) -> float:
        return statistics.median(self.seconds)

    @property
    def bytes_per_second(self) -> float:
        return self.shape.bytes / self.step

    @property
    def flops(self) -> float:
        """A second, on each device, counted as papers do: six for each weight and byte."""
        return self.shape.flops / self.step

    @property
    def predicted(self) -> scaling_model.Range | None:
        """Bytes a second; None for a device, or products on it, that the model does not know."""
        on = scaling_model.device(self.kind)
        if on is None or self.shape.products not in on.products:
            return None
        return scaling_model.bytes_per_second(self.shape, on)

    def to_dict(self) -> dict[str, Any]:
        """As --json writes it."""
        predicted = self.predicted
        return dataclasses.asdict(self) | {
            "bytes_per_second": self.bytes_per_second,
            "flops": self.flops,
            "predicted": predicted._asdict() if predicted else None,
        }

    def __str__(self) -> str:
        shape, predicted = self.shape, self.predicted
        share = ""
        if predicted:
            on = scaling_model.device(self.kind)
            assert on
            share = f", {self.flops / on.products[shape.products]:.1%} of its peak"
        lines = [
            f"H {shape.hidden}, B {shape.batch} for each of {shape.data} groups, T {shape.window}, "
            f"{shape.products}, mesh {shape.data} x {shape.model} of {self.kind}",
            f"measured   {self.bytes_per_second / 1e3:,.1f} kB/s: {self.step * 1e3:,.2f} ms a step "
            f"({min(self.seconds) * 1e3:,.2f} to {max(self.seconds) * 1e3:,.2f}), "
            f"{self.step / shape.window * 1e6:,.1f} us a time step, "
            f"{self.flops / 1e12:,.3f} TFLOP/s on each device{share}",
        ]
        if predicted:
            low, likely, high = predicted
            verdict = "inside"
            if not low <= self.bytes_per_second <= high:
                verdict = "BELOW" if self.bytes_per_second < low else "ABOVE"
            lines.append(
                f"predicted  {low / 1e3:,.1f} to {high / 1e3:,.1f} kB/s, likely "
                f"{likely / 1e3:,.1f}: the measured rate is {verdict} that range, "
                f"{self.bytes_per_second / likely:.2f} of the likely one"
            )
        else:
            lines.append(f"predicted  nothing: no figures of {self.kind} for {shape.products}")
        peak = _size(self.peak) if self.peak else "not counted by this device"
        lines.append(f"memory     planned {_size(self.planned)} on each device; peak {peak}")
        return "\n".join(lines)


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def measure(config: Config, mesh: Mesh, steps: int, rounds: int) -> tuple[list[float], int]:
    """Mean seconds of a step in each round, and the bytes on a device that XLA plans for it."""
    jitted, abstract_state, shapes = abstract(config, mesh)
    compiled = jitted.lower(abstract_state, shapes).compile()
    memory = compiled.memory_analysis()
    planned = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    shape = shapes.ids.shape
    random = np.random.default_rng(0).integers(0, 256, (shape[0] + 1, shape[1]), np.int32)
    values = shapes._replace(ids=random[:-1], targets=random[1:], weights=np.ones(shape, "f4"))
    place = devices.batch_sharding(mesh)
    batch = jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, place, x.__getitem__), values
    )
    optimizer = optimizers.make(config.optimizer, config.train.steps)
    state = states.create(config, optimizer, mesh)
    seconds = []
    for number in range(rounds + 1):
        start = time.perf_counter()
        metrics = None
        for _ in range(steps):
            state, metrics = compiled(state, batch)
        jax.block_until_ready((state.parameters, metrics))
        if number:  # the first round warms up
            seconds.append((time.perf_counter() - start) / steps)
    if int(state.skipped):
        raise SystemExit(f"gpu.py: {int(state.skipped)} steps were not finite, and did nothing")
    return seconds, planned


def read_flags() -> tuple[argparse.Namespace, scaling_model.Shape, Config, Mesh]:
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("hidden", 4096), ("batch", 128), ("window", 256)):
        flags.add_argument(f"--{name}", type=timing.count, default=default)
    flags.add_argument("--products", default="bfloat16", help="bfloat16 or float32")
    flags.add_argument("--mesh", default="1x1", help="devices on the axes data x model")
    flags.add_argument("--chunk", type=int, default=0, help="steps of a weight-gradient product")
    flags.add_argument("--steps", type=timing.count, default=10, help="of a round")
    flags.add_argument("--rounds", type=timing.count, default=3)
    flags.add_argument("--json", help="write the results here too")
    given = flags.parse_args()
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", given.mesh):
        flags.error(f"--mesh={given.mesh}: it is two numbers, data x model: 4x2")
    data, model = map(int, given.mesh.split("x"))
    shape = scaling_model.Shape(
        given.hidden, given.batch, given.window, data, model, given.products, chunk=given.chunk
    )
    try:
        config = run_config(shape.config, "adam", given.batch * data, given.window, data, model)
        mesh = devices.mesh(data, model)
    except InputError as error:
        flags.error(str(error))
    return given, shape, config, mesh


def main() -> None:
    given, shape, config, mesh = read_flags()
    seconds, planned = measure(config, mesh, given.steps, given.rounds)
    device = mesh.local_devices[0]
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    result = Result(shape, device.device_kind, seconds, planned, peak)
    if jax.process_index():
        return
    print(result)
    if given.json:
        timing.write_json(given.json, result.to_dict())


if __name__ == "__main__":
    main()
