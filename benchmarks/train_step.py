"""Loss and all gradients of one window of training: ours beside the same model in other code.

    python benchmarks/train_step.py --hidden=512 --batch=64 --window=128 --rounds=7
    python benchmarks/train_step.py --hidden=2048 --peers=plain,torch --json=step.json
    python benchmarks/train_step.py --keep=products --products=float32,bfloat16 --peers=
    python benchmarks/train_step.py --keep=products,states --chunk=4,8,16 --layout=rows,columns

Of ours there is a row for every combination of --products, --keep, --chunk and --layout; peers run
in the first of --products. All are timed in one run, in random order each round, beside a large
matrix product that says what the machine gives just then. Before that every row's loss and
gradients are compared with ours.

The columns: milliseconds (median, best); how many times longer than ours (median of the rounds'
own ratios, ratio of the best); the rate of the model's products as papers count them, six
operations for each weight and byte, of the median and of the best;
both as a share of the best rate of the matrix product; the memory that XLA plans for what is kept
between the passes, and its ratio to the plain scan's; by how much loss and gradients differ from
ours (largest of max|a - b| / max|b|; of PyTorch's those of embedding and readout).
"""

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import steps
import timing

from mlstm import output
from mlstm.errors import InputError
from mlstm.model.cells import CELLS
from mlstm.model.language_model import ModelConfig, flops_per_byte

PEERS = {
    "plain": "plain scan, autodiff",
    "flax": "flax nnx.RNN",
    "unirep": "jax-unirep MLSTMCell",
    "torch": "PyTorch cell loop",
    "torch-compile": "PyTorch, torch.compile",
    "torch-lstm": "torch.nn.LSTM",
    "torch-gru": "torch.nn.GRU",
    "torch-rnn": "torch.nn.RNN",
}
NATIVE = {"torch-lstm": "lstm", "torch-gru": "gru", "torch-rnn": "rnn"}
PRODUCT = "matrix product {}x{}x{}".format(*timing.PRODUCT)
ALLOWED = {"float32": 1e-3, "bfloat16": 0.3}
"""A row that differs more from ours does not compute the same thing."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What is timed, its floating-point operations, and what is known of it beforehand."""

    run: Callable[[], object]
    flops: int
    temporaries: int | None = None
    differs: float | None = None
    allowed: float = ALLOWED["float32"]
    """How much it may differ."""


def missing(peer: str, config: ModelConfig) -> str | None:
    """Why a peer has no row here, if it has none."""
    if peer == "unirep" and config.cell != "multiplicative_lstm":
        return "has the multiplicative LSTM alone"
    if peer == "flax" and not config.cell.endswith("lstm"):
        return "is written for the LSTMs"
    if peer in ("torch-gru", "torch-rnn") and config.cell != NATIVE[peer]:
        return f"is another cell than {config.cell}"
    package = {"plain": "jax", "flax": "flax", "unirep": "jax_unirep"}.get(peer, "torch")
    if not timing.installed(package):
        return f"not installed: pip install {package.replace('_', '-')} (all: the extra `peers`)"
    if package == "torch" and jax.default_backend() != "cpu":
        return "would run on the CPU, and JAX does not"
    if peer == "torch-compile" and not shutil.which(os.environ.get("CXX", "g++")):
        return "needs a C++ compiler (g++, or CXX)"
    return None


def make_rows(ways: dict[str, ModelConfig], peers: list[str], data) -> dict[str, Row]:
    """A row for each way of ours and for each peer, compiled, run once and compared."""
    parameters, ids_TB, _ = data
    size = (len(ids_TB) - 1) * ids_TB.shape[1]
    rows, first = {}, None

    def add(name, config, step):
        nonlocal first
        run = functools.partial(steps.compiled(step, *data), *data)
        result = run()
        difference = None if first is None else steps.differs(result, first)
        first = first or result
        memory = timing.temporaries(run.func)
        allowed = max(ALLOWED[way.products] for way in (config, next(iter(ways.values()))))
        rows[name] = Row(run, size * flops_per_byte(config), memory, difference, allowed)

    for name, way in ways.items():
        add(name, way, steps.ours(way))
    config = next(iter(ways.values()))
    in_jax = {
        "plain": functools.partial(steps.ours, reference=True),
        "flax": steps.flax_rnn,
        "unirep": steps.jax_unirep,
    }
    for peer in peers:
        if peer in in_jax:
            add(PEERS[peer], config, in_jax[peer](config))
            continue
        import torch  # pyright: ignore[reportMissingImports]
        import torch_steps

        torch.set_num_threads(timing.cores())
        if peer in NATIVE:
            run = torch_steps.native(NATIVE[peer], config, parameters, ids_TB)
        else:
            run = torch_steps.loop(config, parameters, ids_TB, compile=peer == "torch-compile")
        other = peer == "torch-lstm" and config.cell != "lstm"
        theirs = dataclasses.replace(config, cell="lstm") if other else config
        rows[PEERS[peer]] = Row(
            run,
            size * flops_per_byte(theirs),
            differs=None if other else steps.differs(run.result(), first),
            allowed=ALLOWED[config.products],
        )
    for name, row in rows.items():
        if row.differs is not None and not row.differs <= row.allowed:
            raise SystemExit(f"{name}: loss or gradients differ from ours by {row.differs:.1e}")
    return rows


def summaries(rows: dict[str, Row], times: dict[str, timing.Times], product_flops: int) -> list:
    """What is known of each row once it is timed, the matrix product last."""
    ours, *_ = rows
    plain = rows[PEERS["plain"]].temporaries if PEERS["plain"] in rows else None
    gemm = times[PRODUCT]
    found = []
    for name, row in (rows | {PRODUCT: Row(lambda: None, product_flops)}).items():
        now, of_model = times[name], name != PRODUCT
        found.append(
            {
                "name": name,
                "median_ms": now.median * 1e3,
                "best_ms": now.best * 1e3,
                "ratio": now.ratio(times[ours]) if of_model else None,
                "ratio_of_bests": now.best / times[ours].best if of_model else None,
                "gflops": row.flops / now.median / 1e9,
                "best_gflops": row.flops / now.best / 1e9,
                "share": row.flops / now.median / (product_flops / gemm.best),
                "share_of_bests": row.flops / now.best / (product_flops / gemm.best),
                "temporaries_mb": row.temporaries and row.temporaries / 1e6,
                "temporaries_to_plain": plain and row.temporaries and row.temporaries / plain,
                "differs": row.differs,
                "seconds": now.seconds,
            }
        )
    return found


COLUMNS = {
    "name": ("", ""),
    "median_ms": ("ms", ".1f"),
    "best_ms": ("best", ".1f"),
    "ratio": ("ratio", ".2f"),
    "ratio_of_bests": ("of bests", ".2f"),
    "gflops": ("GF/s", ".1f"),
    "best_gflops": ("best", ".1f"),
    "share": ("of product", ".2f"),
    "share_of_bests": ("of bests", ".2f"),
    "temporaries_mb": ("MB", ".1f"),
    "temporaries_to_plain": ("to plain", ".2f"),
    "differs": ("differs", ".0e"),
}


def per_flop(rows, times) -> dict | None:
    """How the rate of ours compares with torch.nn.LSTM's, which does fewer operations."""
    (ours, *_), name = rows, PEERS["torch-lstm"]
    if name not in rows:
        return None
    share = rows[name].flops / rows[ours].flops
    return {
        "flops_of_ours": share,
        "rate_to_ours": share / times[name].ratio(times[ours]),
        "rate_to_ours_of_bests": share * times[ours].best / times[name].best,
    }


def read_flags():
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    shape = (("hidden", 512), ("batch", 64), ("window", 128), ("layers", 1), ("embedding", 64))
    for name, default in (*shape, ("rounds", 7)):
        flags.add_argument(f"--{name}", type=timing.count, default=default)
    flags.add_argument("--cell", default="multiplicative_lstm", help=", ".join(CELLS))
    flags.add_argument("--weight_norm", action="store_true", default=True)
    flags.add_argument("--noweight_norm", action="store_false", dest="weight_norm")
    flags.add_argument("--peers", type=timing.names, help=f"of {','.join(PEERS)} (default: all)")
    flags.add_argument("--products", type=timing.names, default=["float32"])
    flags.add_argument("--keep", type=timing.names, default=["products", "states"])
    flags.add_argument("--chunk", type=timing.names, default=["0"])
    flags.add_argument("--layout", type=timing.names, default=["rows"])
    flags.add_argument("--json", metavar="FILE", help="write all figures there too")
    given = flags.parse_args()
    for peer in given.peers or ():
        if peer not in PEERS:
            flags.error(f'--peers: "{peer}" is none of {", ".join(PEERS)}')
    if bad := [number for number in given.chunk if not number.isdigit()]:
        flags.error(f'--chunk: "{bad[0]}" is no whole number')
    fields = ("cell", "embedding", "hidden", "layers", "weight_norm")
    try:
        config = ModelConfig(**{name: getattr(given, name) for name in fields}).check()
        if given.json:
            output.check_folder(Path(given.json).parent)
        ways = steps.ways(
            config,
            products=given.products,
            keep=given.keep,
            chunk=[int(number) for number in given.chunk],
            layout=given.layout,
        )
    except InputError as error:
        flags.error(str(error))
    if not ways:
        flags.error("--products, --keep, --chunk and --layout need a value each")
    return given, next(iter(ways.values())), ways


def main():
    given, config, ways = read_flags()
    machine = timing.machine()
    wanted = PEERS if given.peers is None else given.peers
    reasons = {peer: missing(peer, config) for peer in wanted}
    data = steps.window(config, given.window, given.batch)
    rows = make_rows(ways, [peer for peer, reason in reasons.items() if not reason], data)
    multiply, product_flops = timing.matrix_product()
    runs = {name: row.run for name, row in rows.items()} | {PRODUCT: multiply}
    times = timing.interleaved(runs, given.rounds)
    results = {
        "config": dataclasses.asdict(config),
        "flops_per_byte": flops_per_byte(config),
        "batch": given.batch,
        "window": given.window,
        "rounds": given.rounds,
        "machine": machine,
        "versions": timing.versions("jax", "flax", "torch", "jax-unirep"),
        "rows": summaries(rows, times, product_flops),
        "torch_lstm_per_flop": per_flop(rows, times),
        "left_out": {PEERS[peer]: reason for peer, reason in reasons.items() if reason},
    }
    print(
        f"{config.cell}, E {config.embedding}, H {config.hidden}, layers {config.layers}, "
        f"B {given.batch}, T {given.window}, {config.products}, "
        f"weight norm {'on' if config.weight_norm else 'off'}; "
        f"{given.rounds} rounds on {timing.described(machine)}"
    )
    print(timing.table(COLUMNS, results["rows"]))
    if native := results["torch_lstm_per_flop"]:
        print(
            f"per FLOP: torch.nn.LSTM does {native['flops_of_ours']:.2f} of our operations a byte, "
            f"at {native['rate_to_ours']:.2f} of our rate ({native['rate_to_ours_of_bests']:.2f} "
            "of bests); above 1 it is faster"
        )
    for name, reason in results["left_out"].items():
        print(f"left out: {name}: {reason}")
    if config.products != "float32":
        print("float32 all the same: flax nnx.RNN, jax-unirep; PyTorch runs under autocast")
    if given.json:
        timing.write_json(given.json, results)


if __name__ == "__main__":
    main()
