"""Bytes of text a second that GPUs would train, from what is computed, moved, launched, exchanged.

    python benchmarks/scaling_model.py

Prints the tables of docs/scaling.md, which says where each figure here is from and what would
show it to be wrong. Nothing here was measured on a GPU.

The kernels of a window run one after another: times add up. Inside one, products and memory
traffic overlap, and the slower of the two counts.

Legend: B streams of a device group, T time, E embedding, H hidden, V vocabulary; a state is (B, H)
in float32, shared by the devices of a group.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

from mlstm.model.language_model import ModelConfig, flops_per_byte, plan


class Range(NamedTuple):
    """What makes for a slow, a likely and a fast run; or what comes of it."""

    low: float
    likely: float
    high: float


# Of a device's peak.
STEP_PRODUCTS = Range(0.45, 0.60, 0.75)  # in products of B rows
LARGE_PRODUCTS = Range(0.50, 0.65, 0.75)
MEMORY = Range(0.70, 0.85, 0.92)
# Launches: seconds by which each delays the next, and how many there are, as compiled.
LAUNCH = Range(3.0e-6, 1.3e-6, 0.5e-6)
# States to and from memory in a time step: from all that its kernels read and write, as if no cache
# were there, to what is kept for the backward pass alone.
STATES_FORWARD = Range(30, 15, 7)
STATES_BACKWARD = Range(60, 36, 24)
# Passes over all h and all logits of a window: readout, loss and their gradient.
HIDDEN_PASSES = Range(8, 5, 3)
LOGIT_PASSES = Range(14, 10, 6)
# Passes over the parameters: weight norm, its gradient, Adam, norms, guard.
PARAMETER_PASSES = Range(32, 24, 16)
# Sums over `data`: bytes a second at which a ring goes on, inside a node and between nodes.
INSIDE_NODE = Range(250e9, 370e9, 480e9)
BETWEEN_NODES = Range(150e9, 300e9, 390e9)
# Exchanges of one state in a time step: seconds until it goes on, and bytes a second then.
SMALL_DELAY = Range(25e-6, 12e-6, 7e-6)
SMALL_RATE = Range(100e9, 200e9, 300e9)
DEVICES_OF_NODE = 8


@dataclasses.dataclass(frozen=True)
class Launches:
    """Kernels of one time step forward and backward, of a chunk, and of the rest of a window."""

    forward: float
    backward: float
    chunk: int
    rest: int


ALONE = Launches(5.5, 7, 27, 151)  # hidden units on one device
SHARED = Launches(8.5, 10.5, 25, 190)  # on several


@dataclasses.dataclass(frozen=True)
class Device:
    """What the maker states."""

    name: str
    """Part of the name that JAX gives."""
    products: Mapping[str, float]
    """Floating-point operations a second, dense, by the type of the products."""
    memory: float
    """Bytes a second."""
    cache: int
    """Bytes of L2."""


DEVICES = (
    Device("H100", {"bfloat16": 989.4e12, "float32": 66.9e12}, 3.35e12, 50 << 20),
    Device("H200", {"bfloat16": 989.4e12, "float32": 66.9e12}, 4.8e12, 50 << 20),
    Device("A100", {"bfloat16": 312e12, "float32": 19.5e12}, 2.039e12, 40 << 20),
    Device("V100", {"float32": 15.7e12}, 0.9e12, 6 << 20),  # its tensor cores have no bfloat16
)
H100 = DEVICES[0]


def device(kind: str) -> Device | None:
    """The one that JAX calls so, if it is known here; its SXM form, with 80 GB or more."""
    return next((known for known in DEVICES if known.name in kind), None)


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is trained, on data x model devices: one layer of the multiplicative LSTM, Adam."""

    hidden: int = 4096
    batch: int = 128
    """Streams of each of the `data` groups."""
    window: int = 256
    data: int = 1
    model: int = 1
    products: str = "bfloat16"
    embedding: int = 64
    chunk: int = 0
    """As in ModelConfig."""

    @property
    def config(self) -> ModelConfig:
        return ModelConfig(
            hidden=self.hidden,
            embedding=self.embedding,
            products=self.products,
            chunk=self.chunk,
        )

    @property
    def bytes(self) -> int:
        """Of text, in one window of all streams."""
        return self.batch * self.window * self.data

    @property
    def flops(self) -> int:
        """Of the products of one step on one device."""
        return flops_per_byte(self.config) * self.batch * self.window // self.model


def seconds(shape: Shape, on: Device, case: str) -> dict[str, float]:
    """How long each part of a step takes, for the `case` low, likely or high.

    Raises KeyError for products of a type that the device has no figure for.
    """

    def of(values: Range) -> float:
        return getattr(values, case)

    peak, rate = on.products[shape.products], on.memory * of(MEMORY)
    H, B, T, V = shape.hidden, shape.batch, shape.window, shape.config.vocabulary
    width = 2 if shape.products == "bfloat16" else 4
    weights = 5 * H * H / shape.model  # of wmh and wh, on one device
    inputs = 5 * H * shape.embedding / shape.model
    readout = H * V / shape.model
    state = 4 * B * H / shape.model  # bytes
    launches = ALONE if shape.model == 1 else SHARED
    chunk = plan(shape.config, B).chunk
    chunks = T / chunk

    # The two halves of an H100's cache may hold the same line: half of it counts, and that only
    # where the rest of a step does not drive the weights out.
    cached = case == "high" and weights * width <= on.cache / 2
    step = max(
        2 * B * weights / (peak * of(STEP_PRODUCTS)),
        0 if cached else weights * width / rate,
    )
    computing = 2 * chunk * B * (weights + 2 * inputs) / (peak * of(LARGE_PRODUCTS))
    summing = 2 * 4 * (weights + inputs) / rate  # sums so far are read, and written
    gradients = computing + summing if case == "low" else max(computing, summing)
    number = T * (launches.forward + launches.backward) + chunks * launches.chunk + launches.rest
    found = {
        "products of time steps": 2 * T * step,
        "states": T * (of(STATES_FORWARD) + of(STATES_BACKWARD)) * state / rate,
        "weight gradients": chunks * gradients,
        "launches": number * of(LAUNCH),
        "readout and loss": 6 * B * T * readout / (peak * of(LARGE_PRODUCTS))
        + (of(HIDDEN_PASSES) * T * state + of(LOGIT_PASSES) * T * B * V * 4) / rate,
        "parameters": of(PARAMETER_PASSES) * 4 * (weights + inputs + readout) / rate,
        "exchange over model": 0.0,
        "sum over data": 0.0,
    }
    if shape.model > 1:
        others = (shape.model - 1) / shape.model
        # Whole states: two gathered forward in the type of the products, two summed backward.
        sent = T * 2 * others * B * H * (width + 4)
        logits = 2 * others * T * B * (V + shape.embedding) * 4
        found["exchange over model"] = (
            4 * T * of(SMALL_DELAY) + sent / of(SMALL_RATE) + logits / of(INSIDE_NODE)
        )
    if shape.data > 1:
        inside = shape.data * shape.model <= DEVICES_OF_NODE
        ring = 2 * (shape.data - 1) / shape.data * 4 * (weights + inputs + readout)
        # The devices that share the units of one model sum at once, over what a node has between.
        rate_of_one = of(INSIDE_NODE) if inside else of(BETWEEN_NODES) / shape.model
        found["sum over data"] = ring / rate_of_one + 3 * 2 * math.log2(shape.data) * of(
            SMALL_DELAY
        )
    return found


def bytes_per_second(shape: Shape, on: Device = H100) -> Range:
    """Of text, on all devices together."""
    return Range(*(shape.bytes / sum(seconds(shape, on, case).values()) for case in Range._fields))


MESHES = ((1, 1), (8, 1), (64, 1), (512, 1), (4, 2), (1, 8))


def predictions() -> str:
    """The first table: bytes a second by mesh."""
    alone = bytes_per_second(Shape()).likely
    rows = []
    for data, model in MESHES:
        shape = Shape(data=data, model=model)
        low, likely, high = (value / 1e3 for value in bytes_per_second(shape))
        each = 1e3 * likely / (data * model)
        rows.append(
            {
                "mesh": f"{data} x {model}",
                "streams": data * shape.batch,
                "low": low,
                "likely": likely,
                "high": high,
                "each": each / 1e3,
                "share": each * flops_per_byte(shape.config) / H100.products["bfloat16"],
                "efficiency": each / alone,
            }
        )
    return _markdown(
        {
            "mesh": ("data x model", ""),
            "streams": ("streams", ",d"),
            "low": ("low, kB/s", ",.0f"),
            "likely": ("likely, kB/s", ",.0f"),
            "high": ("high, kB/s", ",.0f"),
            "each": ("likely, of each device", ",.0f"),
            "share": ("share of peak", ".0%"),
            "efficiency": ("of one device alone", ".0%"),
        },
        rows,
    )


def parts() -> str:
    """The second table: milliseconds of a step in the likely case."""
    meshes = ((1, 1), (8, 1), (512, 1), (4, 2), (1, 8))
    columns = {
        f"{data} x {model}": seconds(Shape(data=data, model=model), H100, "likely")
        for data, model in meshes
    }
    rows = [
        {"part": part} | {name: 1e3 * found[part] for name, found in columns.items()}
        for part in columns["1 x 1"]
    ]
    total = {name: 1e3 * sum(found.values()) for name, found in columns.items()}
    return _markdown(
        {"part": ("ms in a step", "")} | {name: (name, ".1f") for name in columns},
        [*rows, {"part": "all"} | total],
    )


def changes() -> str:
    """The third table: what another shape would give on one device, in the likely case."""
    shapes = {
        "as above": Shape(),
        "`chunk` 32": Shape(chunk=32),
        "256 streams": Shape(batch=256),
        "256 streams, `chunk` 32": Shape(batch=256, chunk=32),
        "512 streams, `chunk` 32": Shape(batch=512, chunk=32),
        "float32 products": Shape(products="float32"),
        "H 1024, 64 streams": Shape(hidden=1024, batch=64),
    }
    rows = []
    for name, shape in shapes.items():
        low, likely, high = (value / 1e3 for value in bytes_per_second(shape))
        share = likely * 1e3 * flops_per_byte(shape.config) / H100.products[shape.products]
        rows.append({"name": name, "low": low, "likely": likely, "high": high, "share": share})
    return _markdown(
        {
            "name": ("one H100", ""),
            "low": ("low, kB/s", ",.0f"),
            "likely": ("likely, kB/s", ",.0f"),
            "high": ("high, kB/s", ",.0f"),
            "share": ("share of peak", ".0%"),
        },
        rows,
    )


def others() -> str:
    """The fourth table: what others measured, beside what this would say of their devices."""
    # float16 on its tensor cores does what bfloat16 does on later ones.
    volta = Device("V100", {"bfloat16": 125e12, "float32": 15.7e12}, 0.9e12, 6 << 20)
    pascal = Device("Titan X", {"float32": 11e12}, 0.48e12, 3 << 20)
    rows = []
    for name, measured, shape, on in (
        ("8 V100, float16, 256 streams each", 625, Shape(batch=256, data=8), volta),
        ("8 V100, float32, 128 streams each", 76, Shape(data=8, products="float32"), volta),
        (
            "4 Titan X, float32, 32 streams each",
            12.5,
            Shape(4096, 32, 256, 4, 1, "float32"),
            pascal,
        ),
    ):
        low, likely, high = (value / 1e3 for value in bytes_per_second(shape, on))
        rows.append(
            {"name": name, "measured": measured, "low": low, "likely": likely, "high": high}
        )
    return _markdown(
        {
            "name": ("H 4096, T 256", ""),
            "measured": ("measured by others, kB/s", ",g"),
            "low": ("low", ",.0f"),
            "likely": ("likely", ",.0f"),
            "high": ("high", ",.0f"),
        },
        rows,
    )


def _markdown(columns: Mapping[str, tuple[str, str]], rows: list[dict]) -> str:
    lines = [[heading for heading, _ in columns.values()], ["---"] * len(columns)]
    lines += [[format(row[key], form) for key, (_, form) in columns.items()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES = predictions, parts, changes, others


def main() -> None:
    print("\n\n".join(show() for show in TABLES))


if __name__ == "__main__":
    main()
