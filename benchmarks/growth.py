"""How time and memory of one window grow with each dimension: does any outgrow its FLOPs?

    python benchmarks/growth.py --json=growth.json --figure=growth.png
    python benchmarks/growth.py --hidden=512,1024,2048 --batch= --window= --layers=

Loss and all gradients of one window are timed along four axes: the hidden size, the sequences in a
batch, the steps of a window, the layers; an empty list leaves an axis out. The shapes of an axis
are timed in one run, in random order each round. The exponent is the least-squares slope of
log(time) against log(floating-point operations), with its standard error; it is 1 where time grows
as the operations do. Small shapes run below the machine's rate, which lowers it: the column
"exponent" has that of each step from one row to the next, where growth at the large end would
show. Along the batch and the window, time and memory are also fitted by a line.
"""

import argparse
import dataclasses
import functools
import itertools
import math
from pathlib import Path

import numpy as np
import steps
import timing

from mlstm import output
from mlstm.errors import InputError
from mlstm.model.cells import CELLS
from mlstm.model.language_model import ModelConfig, flops_per_byte

AXES = {
    "hidden": "128,256,512,1024,2048,4096",
    "batch": "16,32,64,128,256",
    "window": "32,64,128,256,512",
    "layers": "1,2,3,4",
}
COLUMNS = {
    "value": ("", ""),
    "mflops_per_byte": ("MFLOP/byte", ".2f"),
    "median_us_per_byte": ("us/byte", ".2f"),
    "best_us_per_byte": ("best", ".2f"),
    "median_ms": ("ms", ".1f"),
    "exponent": ("exponent", ".2f"),
    "gflops": ("GF/s", ".1f"),
    "temporaries_mb": ("MB", ".1f"),
    "memory_exponent": ("exponent", ".2f"),
}

SIZES = {"median_ms": "time", "best_ms": "best time", "temporaries_mb": "memory"}
"""What is fitted, and its name."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """y = intercept + slope x by least squares, with the slope's standard error."""

    intercept: float
    slope: float
    error: float

    @classmethod
    def of(cls, x, y) -> "Fit":
        x, y = np.asarray(x, float), np.asarray(y, float)
        around = x - x.mean()
        spread = around @ around
        slope = around @ y / spread
        intercept = y.mean() - slope * x.mean()
        rest = y - intercept - slope * x
        error = math.sqrt(rest @ rest / (len(x) - 2) / spread)
        return cls(float(intercept), float(slope), error)

    @classmethod
    def of_logs(cls, x, y) -> "Fit":
        return cls.of(np.log(x), np.log(y))

    @property
    def at_most_one(self) -> bool:
        """The slope is not above 1 by more than two standard errors (and rounding)."""
        return self.slope - 2 * self.error <= 1 + 1e-6


def measure(shapes: dict[int, tuple[ModelConfig, int, int]], rounds: int) -> list[dict]:
    """One axis: for each of its values a row of the table, from (config, window, batch)."""
    runs, rows = {}, []
    for value, (config, window, batch) in shapes.items():
        data = steps.window(config, window, batch)
        compiled = steps.compiled(steps.ours(config), *data)
        runs[str(value)] = functools.partial(compiled, *data)
    times = timing.interleaved(runs, rounds)
    for value, (config, window, batch) in shapes.items():
        now, flops, size = times[str(value)], flops_per_byte(config), window * batch
        rows.append(
            {
                "value": value,
                "hidden": config.hidden,
                "batch": batch,
                "window": window,
                "layers": config.layers,
                "mflops_per_byte": flops / 1e6,
                "gflop": flops * size / 1e9,
                "median_us_per_byte": now.median / size * 1e6,
                "best_us_per_byte": now.best / size * 1e6,
                "median_ms": now.median * 1e3,
                "best_ms": now.best * 1e3,
                "gflops": flops * size / now.median / 1e9,
                "temporaries_mb": timing.temporaries(runs[str(value)].func) / 1e6,
                "seconds": now.seconds,
            }
        )
    for row, after in itertools.pairwise(rows):
        growth = {key: math.log(after[key] / row[key]) for key in ("gflop", *SIZES)}
        after["exponent"] = growth["median_ms"] / growth["gflop"]
        after["memory_exponent"] = growth["temporaries_mb"] / growth["gflop"]
    return rows


def fits(axis: str, rows: list[dict]) -> dict[str, dict[str, Fit]]:
    """By size: the exponent in the operations; along batch and window the line too."""
    column = {key: [row[key] for row in rows] for key in ("value", "gflop", *SIZES)}
    found = {key: {"exponent": Fit.of_logs(column["gflop"], column[key])} for key in SIZES}
    if axis in ("batch", "window"):
        for key in SIZES:
            found[key]["line"] = Fit.of(column["value"], column[key])
    return found


def said(axis: str, key: str, fit: dict[str, Fit]) -> str:
    exponent = fit["exponent"]
    text = f"  {SIZES[key]:10} exponent {exponent.slope:.3f} +- {exponent.error:.3f}: " + (
        "at most 1 within two errors" if exponent.at_most_one else "ABOVE 1"
    )
    if line := fit.get("line"):
        unit = "MB" if key == "temporaries_mb" else "ms"
        each = {"batch": "sequence", "window": "step"}[axis]
        text += f"; {line.intercept:.1f} {unit} + {line.slope:.4f} (+- {line.error:.4f}) a {each}"
    return text


def draw(path: str, axes: dict[str, list[dict]], fitted: dict) -> None:
    """Time and memory against the operations, both logarithmic, a panel for each axis."""
    from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]

    figure = Figure(figsize=(3.2 * len(axes), 5.5), layout="constrained")
    panels = figure.subplots(2, len(axes), squeeze=False)
    units = {"median_ms": "ms", "temporaries_mb": "temporaries, MB"}
    for column, (axis, rows) in enumerate(axes.items()):
        gflop = np.array([row["gflop"] for row in rows])
        for panel, (key, unit) in zip(panels[:, column], units.items(), strict=True):
            fit = fitted[axis][key]["exponent"]
            panel.loglog(gflop, [row[key] for row in rows], "o", color="black")
            panel.loglog(gflop, np.exp(fit.intercept) * gflop**fit.slope, color="gray")
            for row, x in zip(rows, gflop, strict=True):
                panel.annotate(f" {row['value']}", (x, row[key]), va="top", fontsize=8)
            panel.set_title(f"{axis}: exponent {fit.slope:.2f} ± {fit.error:.2f}", fontsize=9)
            panel.set_xlabel("GFLOP a window")
            panel.set_ylabel(unit)
    figure.savefig(path, format="png", dpi=150)


def whole_numbers(text: str) -> list[int]:
    """A flag's list of at least three whole numbers, rising; nothing gives an empty one."""
    values = [timing.count(item) for item in timing.names(text)]
    if values and (len(values) < 3 or values != sorted(set(values))):
        raise argparse.ArgumentTypeError(
            f'"{text}" must be three or more numbers, rising, for a fit'
        )
    return values


def read_flags():
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    for axis, default in AXES.items():
        flags.add_argument(f"--{axis}", type=whole_numbers, default=default, metavar="LIST")
    for axis, default in (("hidden", 512), ("batch", 64), ("window", 64), ("layers", 1)):
        flags.add_argument(
            f"--at_{axis}", type=timing.count, default=default, help=f"along the axes but {axis}"
        )
    flags.add_argument(
        "--hidden_window",
        type=timing.count,
        default=32,
        help="the window along the axis hidden, where a window takes longest",
    )
    flags.add_argument("--rounds", type=timing.count, default=7)
    flags.add_argument("--cell", default="multiplicative_lstm", help=", ".join(CELLS))
    flags.add_argument("--products", default="float32", help="float32 or bfloat16")
    flags.add_argument("--keep", default="products", help="products or states")
    flags.add_argument("--json", metavar="FILE", help="write all figures there too")
    flags.add_argument("--figure", metavar="FILE", help="a PNG, where matplotlib is installed")
    given = flags.parse_args()
    try:
        config = ModelConfig(cell=given.cell, products=given.products, keep=given.keep).check()
        for path in filter(None, (given.json, given.figure)):
            output.check_folder(Path(path).parent)
    except InputError as error:
        flags.error(str(error))
    return given, config


def main():
    given, config = read_flags()
    machine = timing.machine()
    print(
        f"{config.cell}, {config.products}, {given.rounds} rounds on {timing.described(machine)}",
        flush=True,
    )
    measured, fitted = {}, {}
    for axis in AXES:
        if not getattr(given, axis):
            continue
        at = {name: getattr(given, f"at_{name}") for name in AXES}
        if axis == "hidden":
            at["window"] = given.hidden_window
        shapes = {}
        for value in getattr(given, axis):
            now = at | {axis: value}
            way = dataclasses.replace(config, hidden=now["hidden"], layers=now["layers"])
            shapes[value] = way, now["window"], now["batch"]
        measured[axis] = measure(shapes, given.rounds)
        fitted[axis] = fits(axis, measured[axis])
        fixed = ", ".join(f"{name} {value}" for name, value in at.items() if name != axis)
        columns = COLUMNS | {"value": (axis, "d")}
        print(f"\n{axis} ({fixed})\n{timing.table(columns, measured[axis])}")
        for key, fit in fitted[axis].items():
            print(said(axis, key, fit), flush=True)
    if given.json:
        results = {
            "config": dataclasses.asdict(config),
            "rounds": given.rounds,
            "machine": machine,
            "versions": timing.versions("jax"),
            "axes": measured,
            "fits": {
                axis: {
                    key: {name: dataclasses.asdict(fit) for name, fit in found.items()}
                    | {"at_most_one": found["exponent"].at_most_one}
                    for key, found in sizes.items()
                }
                for axis, sizes in fitted.items()
            },
        }
        timing.write_json(given.json, results)
    if given.figure and not timing.installed("matplotlib"):
        print(f"{given.figure} is not written: pip install matplotlib")
    elif given.figure:
        draw(given.figure, measured, fitted)


if __name__ == "__main__":
    main()
