"""What a compiled program launches, exchanges and keeps, in numbers and as text.

B streams, T time, H hidden units.
"""

import dataclasses
from collections import Counter
from typing import Any

from launch_list import Collective, Loop

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
class Exchange:
    """A collective outside the loops over time, and how often it is made in one window."""

    collective: Collective
    times: int

    @property
    def bytes(self) -> int:
        """In one window, as each device has them afterwards."""
        return self.times * self.collective.bytes

    def __str__(self) -> str:
        often = f"{self.times} times " if self.times > 1 else ""
        return f"{often}{self.collective} ({self.bytes / 1e6:,.3f} MB)"


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each device while the program runs."""

    arguments: int
    outputs: int
    aliased: int
    """Outputs that take the place of arguments."""
    temporaries: int

    @classmethod
    def of(cls, compiled: Any) -> "Memory":
        """What XLA planned for a compiled function."""
        m = compiled.memory_analysis()
        return cls(
            m.argument_size_in_bytes,
            m.output_size_in_bytes,
            m.alias_size_in_bytes,
            m.temp_size_in_bytes,
        )

    @property
    def total(self) -> int:
        return self.arguments + self.outputs - self.aliased + self.temporaries


@dataclasses.dataclass(frozen=True)
class Report:
    """What was compiled, and what the host would launch for it."""

    what: str
    loops: list[Loop]
    memory: Memory
    window: int
    streams: int
    """On each device."""
    parameters: int = 0
    """Bytes on each device."""

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
    def exchanges(self) -> list[Exchange]:
        """What devices exchange outside the loops over time."""
        return [
            Exchange(collective, self.iterations(loop))
            for loop in self.loops
            if not loop.over_time
            for collective in loop.collectives
        ]

    @property
    def summed_over_data(self) -> int:
        """Bytes on each device, of sums over the groups' streams: gradients, loss and norms."""
        return sum(e.bytes for e in self.exchanges if e.collective.sums_over_data)

    @property
    def launches(self) -> int:
        """In one window."""
        return sum(self.iterations(loop) * len(loop.kernels) for loop in self.loops)

    def to_dict(self) -> dict[str, Any]:
        """Numbers alone, as --json prints them."""
        return {
            "what": self.what,
            "temporaries": self.memory.temporaries,
            "memory": self.memory.total,
            "parameters": self.parameters,
            "summed_over_data": self.summed_over_data,
            "exchanges": [
                {
                    "kind": exchange.collective.kind,
                    "axes": list(exchange.collective.axes),
                    "results": list(exchange.collective.results),
                    "times": exchange.times,
                    "bytes": exchange.bytes,
                }
                for exchange in self.exchanges
            ],
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
        memory = self.memory
        lines = [
            self.what,
            f"on each device: temporaries {memory.temporaries / 2**30:.2f} GiB, with arguments and "
            f"results {memory.total / 2**30:.2f} GiB",
            "",
        ]
        lines.append(f"{'of one time step':24}{'kernels':>9}{'products':>10}  collectives")
        for backward, name in enumerate(("forward", "backward")):
            step = self.step(backward=bool(backward))
            exchanged = ", ".join(f"{n:g} {kind}" for kind, n in step.collectives.items())
            lines.append(f"{name:24}{step.kernels:9g}{step.products:10g}  {exchanged or '-'}")
        if exchanges := self.exchanges:
            lines += ["", "exchanged outside the loops over time, in one window:"]
            lines += [f"    {exchange}" for exchange in exchanges]
            lines.append(
                f"summed over data: {self.summed_over_data / 1e6:,.3f} MB; the parameters of a "
                f"device are {self.parameters / 1e6:,.3f} MB"
            )
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
