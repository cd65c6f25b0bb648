"""What one time step launches on an NVIDIA H100, found on a machine without a GPU.

    make .aot/.installed
    python benchmarks/h100.py --hidden=4096 --batch=128 --window=64 --products=bfloat16 --mesh=1x1

Compiles loss and gradient of one window for a mesh of H100s that need not exist, and reads from
the compiled program what the host would launch: the kernels, matrix products and collectives of
each loop, what each loop does for one time step, and the temporary memory. `--plain` compiles the
plain scan with JAX's own gradient. Flags in XLA_FLAGS are kept.

It cannot say how long anything takes. Two things are chosen only where there is a device to try
them on: the tiles of a product, with which it may be cut in pieces that a further kernel adds up,
and whether it is made by cuBLAS or by a kernel of XLA's own.

Legend: B batch, H hidden, T time.
"""

import argparse
import dataclasses
import functools
import json
import os
import re
import sys
import tempfile
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from launch_list import Loop, loops

PLUGIN = Path(__file__).resolve().parents[1] / ".aot"

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

LAUNCH_MICROSECONDS = {"from the host": (2.0, 3.0), "in a CUDA graph": (1.0, 1.3)}
"""What one launch is assumed to cost where kernels are too short to hide it; not measured."""


@dataclasses.dataclass(frozen=True)
class Step:
    """What the time loops of one direction do for one time step, through all layers.

    What a loop over chunks does between its time loops is not in it, but in `Report.launches`.
    """

    kernels: float
    products: float
    weight_gradients: float
    """Products that sum over as many terms as there are streams on a device: they could be made
    for many steps at once. (Where that is also a size of the model, others are taken for them.)"""
    collectives: dict[str, float]
    """How many of each kind."""
    sums_over_data: float


@dataclasses.dataclass(frozen=True)
class Report:
    """What was compiled, and what the host would launch for it."""

    what: str
    loops: list[Loop]
    temporaries: int
    """Bytes on each device."""
    window: int
    streams: int
    """On each device."""

    def iterations(self, loop: Loop) -> int:
        """In one window. Raises ValueError where only the device knows."""
        total = 1
        for outer in (self._at(loop.path[: n + 1]) for n in range(loop.depth)):
            if outer.trips is None:
                raise ValueError(f"the loop {' / '.join(outer.path)} has no fixed number of trips")
            total *= outer.trips
        return total

    def _at(self, path: tuple[str, ...]) -> Loop:
        return next(loop for loop in self.loops if loop.path == path)

    def step(self, *, backward: bool) -> Step:
        """Forward or backward: what its time loops do in a window, for each step of the window.

        So it does not matter how many steps an iteration holds, or whether loops share the steps.
        """
        collectives: dict[str, float] = {}
        kernels = products = gradients = sums = 0.0
        for loop in self.loops:
            if not loop.over_time or loop.backward != backward:
                continue
            share = self.iterations(loop) / self.window
            kernels += share * len(loop.kernels)
            products += share * len(loop.products)
            gradients += share * sum(p.terms == self.streams for p in loop.products) * backward
            for collective in loop.collectives:
                collectives[collective.kind] = collectives.get(collective.kind, 0) + share
                sums += share * collective.sums_over_data
        return Step(kernels, products, gradients, collectives, sums)

    @property
    def launches(self) -> int:
        """In one window."""
        return sum(self.iterations(loop) * len(loop.kernels) for loop in self.loops)

    def to_dict(self) -> dict[str, Any]:
        """Numbers alone, as --json prints them."""
        return {
            "what": self.what,
            "temporaries": self.temporaries,
            "forward": dataclasses.asdict(self.step(backward=False)),
            "backward": dataclasses.asdict(self.step(backward=True)),
            "launches": self.launches,
            "loops": [
                {
                    "role": loop.role,
                    "depth": loop.depth,
                    "trips": loop.trips,
                    "kernels": dict(Counter(kernel.family for kernel in loop.kernels)),
                    "products": [str(product) for product in loop.products],
                    "collectives": [str(collective) for collective in loop.collectives],
                    "sums_over_data": sum(c.sums_over_data for c in loop.collectives),
                }
                for loop in self.loops
            ],
        }

    def __str__(self) -> str:
        lines = [self.what, f"temporaries on each device: {self.temporaries / 2**30:.2f} GiB", ""]
        lines.append(f"{'of one time step':24}{'kernels':>9}{'products':>10}  collectives")
        for backward, name in enumerate(("forward", "backward")):
            step = self.step(backward=bool(backward))
            exchanged = ", ".join(f"{n:g} {kind}" for kind, n in step.collectives.items())
            lines.append(f"{name:24}{step.kernels:9g}{step.products:10g}  {exchanged or '-'}")
        for loop in self.loops:
            lines.append("")
            where = "  " * max(0, loop.depth - 1) + loop.role
            trips = f", {loop.trips} iterations" if loop.depth else ""
            lines.append(f"{where}{trips}: {len(loop.kernels)} kernels")
            families = Counter(kernel.family for kernel in loop.kernels)
            lines += [f"    {n:3} {family}" for family, n in families.most_common()]
            lines += [f"    product {product}" for product in loop.products]
            lines += [f"    {collective}" for collective in loop.collectives]
        total = self.launches
        lines += ["", f"launches in one window: {total}; one is assumed to cost"]
        for way, costs in LAUNCH_MICROSECONDS.items():
            window = " to ".join(f"{total * cost / 1e3:.1f}" for cost in costs)
            step = " to ".join(f"{total * cost / self.window:.0f}" for cost in costs)
            lines.append(
                f"  {way:18}{costs[0]} to {costs[1]} us: {window} ms in a window, "
                f"{step} us in a time step"
            )
        return "\n".join(lines)


def prepare(dump: str) -> None:
    """Set what JAX reads when it is imported. Exits with one line where the plugin is missing."""
    version = metadata.version("jax")
    stamp = PLUGIN / ".installed"
    found = stamp.read_text().strip() if stamp.exists() else ""
    if found != version:
        has = f"holds the plugin of jax {found}" if found else "holds no plugin"
        sys.exit(f"{PLUGIN.name} {has}, needed is that of jax {version}: make .aot/.installed")
    sys.path.insert(0, str(PLUGIN))
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # what is not compiled leaves no dump
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # there are no CUDA libraries to check
    # Without command buffers the launch list has every kernel on a line of its own.
    ours = f"--xla_dump_to={dump} --xla_gpu_enable_command_buffer="
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ours}"


def mesh(data: int, model: int) -> Any:
    """A mesh of data x model H100s, with the axes of `mlstm.devices.mesh`."""
    from jax.experimental import topologies
    from jax.sharding import AxisType, Mesh

    topology = topologies.get_topology_desc(
        platform="cuda", target_config=H100, topology=f"1x1x{data * model}"
    )
    grid = np.array(topology.devices).reshape(data, model)
    return Mesh(grid, ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def compile_step(config: Any, plain: bool, streams: int, window: int, seeds: int, mesh: Any) -> Any:
    """Loss and gradient of one window, compiled for the mesh; with `seeds`, of that many models."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec
    from steps import ours

    from mlstm import devices
    from mlstm.model import language_model

    def shaped(leaf: Any, place: Any) -> Any:
        shape = leaf.shape
        if seeds:
            shape, place = (seeds, *shape), NamedSharding(mesh, PartitionSpec(None, *place.spec))
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=place)

    parameters = language_model.parameter_shapes(config)
    parameters = jax.tree.map(shaped, parameters, devices.parameter_shardings(mesh, parameters))
    state = jax.eval_shape(functools.partial(language_model.initial_state, config, streams))
    state = jax.tree.map(lambda leaf: shaped(leaf, devices.carry_sharding(mesh)), state)
    ids = jax.ShapeDtypeStruct(
        (window + 1, streams), jnp.int32, sharding=devices.batch_sharding(mesh)
    )
    run = ours(config, reference=plain)
    if seeds:
        run = jax.vmap(run, in_axes=(0, None, 0))
    # Shapes that name their devices: without them the same call would compile for the CPU.
    traced = jax.jit(run).trace(parameters, ids, state)
    return traced.lower(lowering_platforms=("cuda",)).compile()


def report(flags: argparse.Namespace) -> Report:
    """Compile what the flags say. Needs the environment of `prepare`."""
    from mlstm.errors import InputError
    from mlstm.model.language_model import GPU_UNROLL, ModelConfig, plan

    names = ("cell", "hidden", "layers", "products", "keep", "chunk", "layout", "unroll")
    fields = {name: getattr(flags, name) for name in names}
    fields["unroll"] = fields["unroll"] or GPU_UNROLL
    try:
        config = ModelConfig(**fields).check()
    except InputError as error:
        sys.exit(str(error))
    data, model = map(int, flags.mesh.split("x"))
    if flags.seeds and data > 1:
        sys.exit("--seeds: only of one device, or of several that share the hidden units (1xN)")
    chunk = plan(config, flags.batch).chunk
    turns = chunk // config.unroll
    if not flags.plain and (flags.window % chunk or chunk % config.unroll or turns < 2):
        sys.exit(
            f"--window={flags.window} must be chunks of {chunk} steps, and a chunk two or more "
            f"turns of {config.unroll}: what is left over would not be counted (--chunk, --unroll)"
        )
    for name, size, parts in (("batch", flags.batch, data), ("hidden", flags.hidden, model)):
        if size % parts:
            sys.exit(f"--{name}={size} does not divide into {parts}, as --mesh={flags.mesh} wants")
    grid = mesh(data, model)
    compiled = compile_step(config, flags.plain, flags.batch, flags.window, flags.seeds, grid)
    dump = Path(re.findall(r"--xla_dump_to=(\S+)", os.environ["XLA_FLAGS"])[-1])
    (program,) = dump.glob("*gpu_after_optimizations.txt")
    listing, numbered = (
        (dump / f"{program.name.partition('.sm_')[0]}.{name}.txt").read_text()
        for name in ("thunk_sequence", "thunk_metadata")
    )
    names = re.findall(r'profile_annotation: "(.*?)"\s+thunk_id: (\d+)', numbered)
    return Report(
        what=f"{flags.cell}, H {flags.hidden}, B {flags.batch}, T {flags.window}, "
        f"{flags.layers} {'layer' if flags.layers == 1 else 'layers'}, {flags.products}, "
        + (f"{flags.seeds} seeds, " if flags.seeds else "")
        + f"keep {flags.keep}, "
        + f"mesh {flags.mesh}, {'plain scan' if flags.plain else 'fast'}, "
        f"for {grid.devices.flat[0].device_kind}",
        loops=loops(
            listing,
            {int(number): name for name, number in names},
            program.read_text(),
            model=model,
            seeds=max(1, flags.seeds),
        ),
        temporaries=compiled.memory_analysis().temp_size_in_bytes,
        window=flags.window,
        streams=flags.batch // data,
    )


def main() -> None:
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    flags.add_argument("--cell", default="multiplicative_lstm")
    for name, default in (("hidden", 4096), ("batch", 128), ("window", 64), ("layers", 1)):
        flags.add_argument(f"--{name}", type=int, default=default)
    flags.add_argument("--products", default="bfloat16")
    flags.add_argument("--mesh", default="1x1", help="devices on the axes data x model")
    flags.add_argument("--plain", action="store_true", help="the plain scan, JAX's own gradient")
    flags.add_argument("--keep", default="products", help="products or states")
    flags.add_argument("--chunk", type=int, default=0, help="steps of a weight-gradient product")
    flags.add_argument("--layout", default="rows", help="rows or columns")
    flags.add_argument("--unroll", type=int, default=0, help="0: what a GPU is given")
    flags.add_argument("--seeds", type=int, default=0, help="that many models at once")
    flags.add_argument("--json", action="store_true")
    flags = flags.parse_args()
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", flags.mesh):
        sys.exit(f"--mesh={flags.mesh}: it is two numbers, data x model: 4x2")
    with tempfile.TemporaryDirectory() as dump:
        prepare(dump)
        made = report(flags)
        try:
            print(json.dumps(made.to_dict()) if flags.json else made)
        except ValueError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
