"""What a run would cost, found out by compiling it and nothing more."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from mlstm.model import language_model
from mlstm.model.cells import CELLS
from mlstm.model.config import ModelConfig
from mlstm.training.memory import mebibytes, of_compiled
from mlstm.training.setup import Setup
from mlstm.training.state import side_by_side


@dataclass(frozen=True)
class Estimate:
    """The size of a run. Bytes and FLOPs are of one step, for all models; memory of one device."""

    parameters: int
    """Of one model."""
    models: int
    steps: int
    step_bytes: int
    step_flops: int
    """Of the products that are computed."""
    counted_flops: int
    """As papers count: six for each weight and byte."""
    state_bytes: int
    memory_bytes: int
    """What the compiled step takes on one device: its state, batch and everything in between."""
    compile_seconds: float
    flops_per_second: float
    """Of this machine, in products as large as the recurrence's."""

    @property
    def seconds(self) -> float:
        """Predicted length of the run."""
        return self.steps * self.step_flops / self.flops_per_second

    def __str__(self) -> str:
        hours = self.seconds / 3600
        length = f"{hours:.1f} hours" if hours >= 1 else f"{self.seconds / 60:.1f} minutes"
        each = f" in each of {self.models} models" if self.models > 1 else ""
        return "\n".join(
            [
                f"parameters   {self.parameters:,}{each}",
                f"steps        {self.steps:,} of {self.step_bytes:,} bytes of text",
                f"a step       {self.step_flops / 1e9:,.2f} GFLOP in its products "
                f"({self.counted_flops / 1e9:,.2f} at six for each weight and byte, as papers "
                "count; the first layer reads its input from a table)",
                f"state        {mebibytes(self.state_bytes)} (parameters, optimizer, carry)",
                f"memory       {mebibytes(self.memory_bytes)} on each device, for the step",
                f"compiling    {self.compile_seconds:.1f} s",
                f"predicted    {length}, from the FLOPs above at "
                f"{self.flops_per_second / 1e9:,.0f} GFLOP/s, measured just now in products of "
                "the recurrence's shape; elementwise work and the optimizer come on top",
            ]
        )


def estimate(setup: Setup) -> Estimate:
    """Compile the step of `setup` and measure one product; neither state nor batch is allocated."""
    began = time.monotonic()
    compiled = setup.compiled_step()
    seconds = time.monotonic() - began
    tokens, models = setup.stream.window_bytes, setup.config.seeds
    return Estimate(
        parameters=language_model.parameter_count(setup.config.model),
        models=models,
        steps=setup.steps,
        step_bytes=round(setup.step_bytes),
        step_flops=models * _computed_flops(setup.config.model, tokens),
        counted_flops=models * language_model.flops_per_byte(setup.config.model) * tokens,
        state_bytes=sum(
            leaf.size * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(setup.abstract())
            if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        ),
        memory_bytes=of_compiled(compiled),
        compile_seconds=seconds,
        flops_per_second=_product_rate(setup) * _computers(setup),
    )


def _computed_flops(model: ModelConfig, step_bytes: int) -> int:
    """Going forward, the first layer's input terms are made once for each symbol, in a table, and
    not for each byte; their gradient is formed for each byte. Where states alone are kept, all
    other products of the layers are made forward twice."""
    cell, layers = CELLS[model.cell], language_model.parameter_shapes(model)["layers"]

    def weights(layer: str, names: Iterable[str]) -> int:
        return sum(math.prod(layers[layer][name].shape) for name in names)

    counted = language_model.flops_per_byte(model) * step_bytes
    counted -= 2 * weights("0", cell.input_gates) * (step_bytes - model.vocabulary)
    if model.keep == "states":
        again = sum(weights(layer, cell.recurrent_gates) for layer in layers)
        again += sum(weights(layer, cell.input_gates) for layer in layers if layer != "0")
        counted += 2 * again * step_bytes
    return counted


def _computers(setup: Setup) -> int:
    """How many devices compute at once. The many that one CPU can be made to look like share its
    cores, all of which one product uses already."""
    return 1 if setup.mesh.devices.flat[0].platform == "cpu" else setup.mesh.size


def _product_shape(setup: Setup) -> tuple[int, int, int, int]:
    """Models, rows, H and columns of (B, H) @ (H, G H), the largest product of a step of the
    recurrence, as one device makes it: of as many models as it computes at once."""
    config, mesh = setup.config, setup.mesh.shape
    models = config.seeds // mesh.get("seeds", 1) if side_by_side(config) else 1
    hidden = config.model.hidden
    streams = config.data.batch // mesh["data"] // config.train.accumulate
    gates = max(math.prod(axes) for axes in CELLS[config.model.cell].recurrent_gates.values())
    return models, streams, hidden, gates * hidden // mesh["model"]


def _product_rate(setup: Setup) -> float:
    """FLOP/s of one device in products of `_product_shape`."""
    models, rows, hidden, columns = _product_shape(setup)
    kind = jnp.dtype(setup.config.model.products)
    repeats = 16
    weight = jnp.full((models, hidden, columns), 1e-3, kind)

    @jax.jit
    def products(x: jax.Array, weight: jax.Array) -> jax.Array:
        # Each product waits for the one before it, as in the recurrence.
        def one(_: int, x: jax.Array) -> jax.Array:
            return (x @ weight)[..., :hidden]

        return jax.lax.fori_loop(0, repeats, one, x)

    x = jnp.full((models, rows, min(hidden, columns)), 1e-3, kind)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, hidden - x.shape[-1])))
    if columns < hidden:
        weight = jnp.pad(weight, ((0, 0), (0, 0), (0, hidden - columns)))
    products(x, weight).block_until_ready()
    count, began = 0, time.monotonic()
    while time.monotonic() - began < 0.2 or count < 2:
        products(x, weight).block_until_ready()
        count += 1
    flops = 2 * models * rows * hidden * weight.shape[-1] * repeats * count
    return flops / (time.monotonic() - began)
