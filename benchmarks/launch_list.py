"""What a program that XLA compiled for a GPU launches, loop by loop, read from XLA's own dump.

A launch is what the host asks of the device at one time: a kernel, a copy, a fill, a collective.
XLA's word for a line of its launch list is thunk.

Legend: M, N, K of a matrix product (M, K) times (K, N).
"""

import dataclasses
import math
import re

import numpy as np

# What the host waits for without asking for anything; all else in the launch list is a launch.
_NO_LAUNCH = {"AsyncDone", "CopyDone", "RecvDone", "SendDone"}
_COLLECTIVES = {"AllGather", "AllReduce", "AllToAll", "CollectiveBroadcast", "CollectivePermute"}
_COLLECTIVES |= {"RaggedAllToAll", "ReduceScatter"}


@dataclasses.dataclass(frozen=True)
class Product:
    """One matrix product, or several of the same shape: (M, K) times (K, N)."""

    result: tuple[int, ...]
    """M and N, and before them the number of products where there are several: XLA also cuts one
    product along K into several, and adds them up afterwards."""
    terms: int
    """K, over all pieces of such a product."""

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.result))} over {self.terms}"


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices."""

    kind: str
    """all-gather, reduce-scatter, ..."""
    axes: tuple[str, ...]
    """The axes of the mesh over which it goes."""
    results: tuple[str, ...]
    """Type and shape of what each device has after it: several where XLA joined exchanges."""

    def __str__(self) -> str:
        return f"{self.kind} over {' and '.join(self.axes) or '?'}: {', '.join(self.results)}"

    @property
    def bytes(self) -> int:
        """Of all that each device has after it."""
        return sum(map(_bytes, self.results))

    @property
    def sums_over_data(self) -> bool:
        """Whether devices add up what each made of its own streams: gradients, and the loss."""
        return "reduce" in self.kind and "data" in self.axes


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One launch: a kernel, a copy, a fill or a collective."""

    family: str
    """Its name without the number at the end."""
    products: tuple[Product, ...] = ()
    collective: Collective | None = None


@dataclasses.dataclass(frozen=True)
class Loop:
    """The body of a loop without the loops inside it; the outermost "loop" is the program."""

    path: tuple[str, ...]
    """The names of the loops around it, and its own."""
    trips: int | None
    """How often it runs each time it is reached; None where only the device knows."""
    backward: bool
    innermost: bool
    kernels: tuple[Kernel, ...]

    @property
    def depth(self) -> int:
        """0 for the program itself."""
        return len(self.path)

    @property
    def products(self) -> list[Product]:
        return [product for kernel in self.kernels for product in kernel.products]

    @property
    def collectives(self) -> list[Collective]:
        return [kernel.collective for kernel in self.kernels if kernel.collective]

    @property
    def over_time(self) -> bool:
        """Whether its iterations are time steps: no loop inside, but products."""
        return self.depth > 0 and self.innermost and bool(self.products)

    @property
    def role(self) -> str:
        if not self.depth:
            return "outside loops"
        what = "time" if self.over_time else "other" if self.innermost else "chunks"
        return f"{'backward' if self.backward else 'forward'} {what}"


@dataclasses.dataclass
class _Thunk:
    """A line of the launch list, and the lines that stand below it."""

    number: int
    kind: str
    inside: list["_Thunk"] = dataclasses.field(default_factory=list)
    condition: list["_Thunk"] = dataclasses.field(default_factory=list)


def _thunks(listing: str) -> list[_Thunk]:
    """The launch list as a tree. A line has four spaces for each line that it is inside of."""
    top: list[_Thunk] = []
    last: list[_Thunk] = []  # at each depth
    in_condition = False
    for line in listing.splitlines():
        if line.strip() in ("condition:", "body:"):
            in_condition = line.strip() == "condition:"
        if not (found := re.match(r"( *)(\d+): k(\w+)", line)):
            continue
        depth = len(found[1]) // 4
        thunk = _Thunk(int(found[2]), found[3])
        del last[depth:]
        siblings = top
        if last:
            siblings = last[-1].condition if in_condition else last[-1].inside
        siblings.append(thunk)
        last.append(thunk)
    return top


@dataclasses.dataclass(frozen=True)
class _Instruction:
    """A line of the compiled program: `name = type opcode(operands), attributes`."""

    type: str
    opcode: str
    rest: str

    @property
    def calls(self) -> str:
        """The name of the computation that it runs, or nothing."""
        found = re.search(r"\bcalls=%([\w.\-]+)", self.rest)
        return found[1] if found else ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result; of its first part where there are several."""
        found = re.search(r"\w+\[([\d,]*)\]", self.type)
        return tuple(map(int, found[1].split(","))) if found and found[1] else ()


class _Program:
    """The compiled program's instructions by their names, and the names in each computation."""

    def __init__(self, hlo: str, seeds: int):
        self.seeds = seeds
        self.instructions: dict[str, _Instruction] = {}
        self.computations: dict[str, list[str]] = {}
        computation = ""
        for line in hlo.splitlines():
            if begins := re.match(r"(?:ENTRY )?%([\w.\-]+) \(", line):
                computation = begins[1]
                self.computations[computation] = []
            elif found := re.match(r"\s+(?:ROOT )?%(\S+) = (.*?) ([a-z][\w\-]*)\((.*)", line):
                name, *parts = found.groups()
                self.instructions[name] = _Instruction(*parts)
                self.computations[computation].append(name)

    def products(self, name: str) -> list[Product]:
        """The matrix products in an instruction, and in what it calls."""
        instruction = self.instructions.get(name)
        if instruction is None:
            return []
        called = self.computations.get(instruction.calls, [])
        inside = [product for inner in called for product in self.products(inner)]
        pattern = None
        if instruction.opcode in ("dot", "scaled-dot"):
            pattern = r"lhs_contracting_dims=\{([\d,]*)\}"
        elif "__cublas$" in instruction.rest:
            pattern = r'"lhs_contracting_dimensions":\[([^\]]*)\]'
        if pattern is None:
            return inside
        operand = self.instructions[re.findall(r"%([\w.\-]+)", instruction.rest)[0]]
        dims = re.search(pattern, instruction.rest)
        summed = [int(d) for d in re.findall(r"\d+", dims[1])] if dims else []
        batch = re.search(r"lhs_batch_dims=\{([\d,]*)\}", instruction.rest)
        summed += [int(d) for d in batch[1].split(",")] if batch else []
        terms = math.prod(operand.shape[d] for d in summed)
        return [*inside, Product(instruction.shape, terms // (self.seeds if batch else 1))]

    def collective(self, kind: str, name: str, model: int) -> Collective:
        """The collective of an instruction, on a mesh with `model` devices in a row."""
        instruction = self.instructions[name]
        if instruction.opcode == "async-start":
            instruction = self.instructions[self.computations[instruction.calls][-1]]
        group = _first_group(instruction.rest)
        axes = {
            "data": len({device // model for device in group}) > 1,
            "model": len({device % model for device in group}) > 1,
        }
        results = re.findall(r"\w+\[[\d,]*\]", instruction.type)
        if instruction.opcode in ("all-gather-start", "collective-permute-start"):
            operands = len(re.findall(r"%", instruction.rest.partition(")")[0]))
            results = results[operands : 2 * operands]
        return Collective(
            _words(kind, "-"),
            tuple(axis for axis, crossed in axes.items() if crossed),
            tuple(results),
        )


def _bytes(result: str) -> int:
    """Of "bf16[16,64]", for example."""
    kind, _, shape = result.rstrip("]").partition("[")
    bits = int(found[0]) if (found := re.findall(r"^[a-z]+(\d+)", kind)) else 8  # pred is a byte
    return math.prod(int(n) for n in shape.split(",") if n) * bits // 8


def _words(camel: str, between: str) -> str:
    return re.sub(r"(?<=.)([A-Z])", rf"{between}\1", camel).lower()


def _family(name: str) -> str:
    """An instruction's name without its number."""
    return re.sub(r"[.\d]+$", "", name)


def _first_group(attributes: str) -> list[int]:
    """The devices of the first group that a collective goes over."""
    numbers = r"([\d,]+)"
    form = rf"(?:replica_groups|source_target_pairs)=\{{\{{{numbers}\}}"
    if found := re.search(form, attributes):
        return [int(d) for d in found[1].split(",")]
    # [groups,size]<=[dims]T(permutation): the devices in order, as dims, transposed, regrouped.
    form = rf"replica_groups=\[{numbers}\]<=\[{numbers}\](?:T\({numbers}\))?"
    if found := re.search(form, attributes):
        groups, dims = ([int(d) for d in found[i].split(",")] for i in (1, 2))
        devices = np.arange(math.prod(dims)).reshape(dims)
        if found[3]:
            devices = devices.transpose([int(d) for d in found[3].split(",")])
        return devices.reshape(groups)[0].tolist()
    # mesh['a'=2,'b'=4] {'b'}: the axes that a group runs along; the devices may be named too.
    order = rf"(?:, device_ids=\(\[{numbers}\](?:T\({numbers}\))?\))?"
    form = rf"replica_groups=mesh\[(.*?)\]{order} \{{(.*?)\}}"
    if found := re.search(form, attributes):
        sizes = {name: int(n) for name, n in re.findall(r"'(\w+)'=(\d+)", found[1])}
        along = set(re.findall(r"'(\w+)'", found[4]))
        devices = np.arange(math.prod(sizes.values()))
        if found[2]:
            devices = devices.reshape([int(d) for d in found[2].split(",")])
        if found[3]:
            devices = devices.transpose([int(d) for d in found[3].split(",")])
        devices = devices.reshape(list(sizes.values()))
        return devices[tuple(slice(None) if n in along else 0 for n in sizes)].ravel().tolist()
    raise ValueError(f"not understood: between which devices {attributes[:200]}")


def loops(
    listing: str, names: dict[int, str], hlo: str, *, model: int = 1, seeds: int = 1
) -> list[Loop]:
    """The program and its loops, in the order in which they are reached.

    Args:
      listing: XLA's launch list, the file "thunk_sequence.txt" of its dump.
      names: for each number of that list the name of the instruction in `hlo`.
      hlo: the compiled program as text.
      model: devices on the mesh's axis `model`.
      seeds: models trained at once.
    """
    program = _Program(hlo, seeds)

    def of_body(thunks: list[_Thunk], path, trips, backward) -> list[Loop]:
        kernels: list[Kernel] = []
        deeper: list[Loop] = []

        def collect(thunks: list[_Thunk], around: str) -> None:
            for thunk in thunks:
                name = names.get(thunk.number, "")
                if thunk.kind == "While":
                    loop = program.instructions[name]
                    known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest)
                    body = thunk.inside
                    if not known:  # the host reads after each iteration what the device decided
                        body = [*thunk.condition, _Thunk(0, "CopyOfCondition"), *body]
                    deeper.extend(
                        of_body(
                            body,
                            (*path, name),
                            int(known[1]) if known else None,
                            # As JAX names what it made for a gradient.
                            backward or bool(re.search(r'op_name="[^"]*transpose\(', loop.rest)),
                        )
                    )
                elif thunk.inside:
                    if thunk.kind == "Conditional":
                        kernels.append(Kernel("copy of condition"))
                    collect(thunk.inside, name)
                elif thunk.kind not in _NO_LAUNCH:
                    kernels.append(kernel(thunk, name, around))

        collect(thunks, "")
        return [Loop(path, trips, backward, not deeper, tuple(kernels)), *deeper]

    def kernel(thunk: _Thunk, name: str, around: str) -> Kernel:
        # What XLA makes after it named the instructions has the name of none.
        instruction = name if name in program.instructions else around
        if thunk.kind in _COLLECTIVES:
            collective = program.collective(thunk.kind, instruction, model)
            return Kernel(collective.kind, collective=collective)
        family = _family(name)
        if thunk.kind != "CustomKernel":
            family = _words(thunk.kind, " ") + (f" in {_family(around)}" if around else "")
        return Kernel(family, tuple(program.products(instruction)))

    return of_body(_thunks(listing), (), 1, False)
