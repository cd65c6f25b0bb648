"""What one time step launches on an NVIDIA H100, found on a machine without a GPU.

    make .aot/.installed
    python benchmarks/h100.py --hidden=4096 --batch=128 --window=64 --products=bfloat16 --mesh=1x1

Compiles loss and gradient of one window for a mesh of H100s that need not exist, and reads from
the compiled program what the host would launch: the kernels, matrix products and collectives of
each loop, what each loop does for one time step, what is exchanged outside of these, and the
memory. `--batch` is the streams of each group of devices that shares them: with `--mesh=4x2` four
times as many are trained. `--step` compiles the whole training step as a run has it: loss,
gradient, norms, optimizer and guard, with state donated; `--resets` as for a text whose state is
reset inside windows. `--plain` compiles the plain scan with JAX's own gradient. Flags in XLA_FLAGS
are kept.

It cannot say how long anything takes. Two things are chosen only where there is a device to try
them on: the tiles of a product, with which it may be cut in pieces that a further kernel adds up,
and whether it is made by cuBLAS or by a kernel of XLA's own.

Legend: B batch, H hidden, T time.
"""

import argparse
import functools
import json
import math
import os
import re
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from launch_list import loops
from launch_report import Memory, Report

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


def compile_gradient(
    config: Any, plain: bool, streams: int, window: int, seeds: int, mesh: Any
) -> Any:
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
    run = ours(config, reference=plain, placement=devices.placement(mesh))
    if seeds:
        run = jax.vmap(run, in_axes=(0, None, 0))
    # Shapes that name their devices: without them the same call would compile for the CPU.
    traced = jax.jit(run).trace(parameters, ids, state)
    return traced.lower(lowering_platforms=("cuda",)).compile()


def compile_step(config: Any, optimizer: str, streams: int, window: int, mesh: Any, resets: bool):
    """The whole training step, compiled for the mesh."""
    from whole_step import abstract, run_config

    data, model = mesh.devices.shape
    made = run_config(config, optimizer, streams, window, data, model)
    step, *shapes = abstract(made, mesh, resets=resets)
    return step.trace(*shapes).lower(lowering_platforms=("cuda",)).compile()


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
    if flags.hidden % model:
        sys.exit(
            f"--hidden={flags.hidden} does not divide into {model}, as --mesh={flags.mesh} wants"
        )
    if flags.step and (flags.seeds or flags.plain):
        sys.exit("--step: the training step of one model, by the fast recurrence")
    grid = mesh(data, model)
    streams = flags.batch * data
    if flags.step:
        compiled = compile_step(config, flags.optimizer, streams, flags.window, grid, flags.resets)
    else:
        compiled = compile_gradient(config, flags.plain, streams, flags.window, flags.seeds, grid)
    dump = Path(re.findall(r"--xla_dump_to=(\S+)", os.environ["XLA_FLAGS"])[-1])
    (program,) = dump.glob("*gpu_after_optimizations.txt")
    listing, numbered = (
        (dump / f"{program.name.partition('.sm_')[0]}.{name}.txt").read_text()
        for name in ("thunk_sequence", "thunk_metadata")
    )
    names = re.findall(r'profile_annotation: "(.*?)"\s+thunk_id: (\d+)', numbered)
    return Report(
        what=("whole step, " if flags.step else "loss and gradient, ")
        + f"{flags.cell}, H {flags.hidden}, B {flags.batch}, T {flags.window}, "
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
        memory=Memory.of(compiled),
        window=flags.window,
        streams=flags.batch,
        parameters=parameter_bytes(config, grid) * max(1, flags.seeds),
    )


def parameter_bytes(config: Any, mesh: Any) -> int:
    """Of one model's parameters, on each device."""
    import jax

    from mlstm import devices
    from mlstm.model.language_model import parameter_shapes

    shapes = parameter_shapes(config)
    return sum(
        math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf, place in zip(
            jax.tree.leaves(shapes),
            jax.tree.leaves(devices.parameter_shardings(mesh, shapes)),
            strict=True,
        )
    )


def main() -> None:
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    flags.add_argument("--cell", default="multiplicative_lstm")
    for name, default in (("hidden", 4096), ("batch", 128), ("window", 64), ("layers", 1)):
        flags.add_argument(f"--{name}", type=int, default=default)
    flags.add_argument("--products", default="bfloat16")
    flags.add_argument("--mesh", default="1x1", help="devices on the axes data x model")
    flags.add_argument("--step", action="store_true", help="the whole training step")
    flags.add_argument("--optimizer", default="adam", help="of the whole step")
    flags.add_argument("--resets", action="store_true", help="the step resets state in windows")
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
