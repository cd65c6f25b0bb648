"""What taking out N neurons costs: in one vmapped call, one at a time, and in PyTorch.

    python benchmarks/ablation.py --neurons=32 --hidden=512 --bytes=10240 --streams=16 --rounds=5

All rows read the same text on the same streams and give, for each neuron, the nats of every byte
with that neuron's c at its mean, exactly. "one at a time" is our own loop with an edit; PyTorch's
rows loop over time in Python, as the published models do, one neuron after another, or all of them
side by side as N times as many rows. Before anything is timed the rows have to agree. Then the
vmapped call with half as many, as many and twice as many neurons, for each of them: the same time
for each neuron is linear.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import timing

from mlstm.model import costs, edits, encoding, language_model, scoring
from mlstm.model.config import ModelConfig

WINDOW = 128
COLUMNS = {
    "name": ("", ""),
    "median": ("s", ".2f"),
    "best": ("best", ".2f"),
    "ratio": ("ratio", ".2f"),
    "each": ("ms/neuron", ".1f"),
}


class Problem:
    """A model of random parameters, a text on streams, and the neurons to be taken out."""

    def __init__(self, hidden: int, size: int, streams: int, neurons: int) -> None:
        self.config = ModelConfig(hidden=hidden)
        self.parameters = language_model.init_parameters(self.config, jax.random.key(0))
        self.parameters["readout"]["w"] *= 3  # else nothing depends on any neuron
        draw = np.random.default_rng(0)
        self.streams = streams
        self.texts = list(draw.integers(0, 256, (streams, size // streams)).astype(np.uint8))
        self.value = draw.normal(size=hidden).astype(np.float32) * 0.1
        self.units = draw.permutation(hidden)[:neurons].tolist()

    def vmapped(self, units: list[int]) -> list[float]:
        """Nats of the text for each neuron: one call for each window of it."""
        batch = edits.each_set(self.config, "0.c", [[u] for u in units], value=self.value)
        sums = [
            window.nats.sum((1, 2))
            for window in costs.stream_costs(
                self.config, self.parameters, self.texts, batch, streams=self.streams, window=WINDOW
            )
        ]
        return np.asarray(jax.device_get(sums), np.float64).sum(0).tolist()

    def one_at_a_time(self) -> list[float]:
        return [
            scoring.bits_per_byte(
                self.config,
                self.parameters,
                Windows(self.texts, self.streams),
                edits=edits.make_edits(self.config, [f"0.c[{unit}]={self.value[unit]}"]),
            ).nats
            for unit in self.units
        ]


class Windows:
    """The packed texts as what `scoring` reads."""

    def __init__(self, texts: list[np.ndarray], streams: int) -> None:
        self.batch_size, self.texts = streams, texts
        self.feeds = list(encoding.feeds(texts, streams, WINDOW))
        self.windows = len(self.feeds)

    def batch(self, epoch: int, window: int) -> Any:
        from mlstm.corpus.stream import Batch

        feed = self.feeds[window]
        targets, weights = costs.next_ids(self.texts, feed)
        return Batch(feed.ids, targets, weights.astype(np.float32), feed.resets)


def torch_rows(problem: Problem) -> dict[str, Callable[[], list[float]]]:
    """PyTorch's: each gives the nats of the text for each neuron."""
    import torch  # pyright: ignore[reportMissingImports]
    import torch_steps

    cell = torch_steps.Cell(problem.config.cell, problem.parameters["layers"]["0"])
    table = torch.from_numpy(np.array(problem.parameters["embedding"]))
    readout = torch_steps.linear(*(problem.parameters["readout"][k] for k in ("w", "b")))
    # As the packing has them: stream b reads text `order[b]`.
    order = [texts[0] for texts in encoding.plan([len(t) for t in problem.texts], problem.streams)]
    ids = torch.from_numpy(np.stack([problem.texts[i] for i in order], 1).astype(np.int64))
    value = torch.from_numpy(problem.value)

    def run(units: list[int]) -> list[float]:
        N, B, H = len(units), ids.shape[1], problem.config.hidden
        keep, add = torch.ones(N, 1, H), torch.zeros(N, 1, H)
        for n, unit in enumerate(units):
            keep[n, :, unit], add[n, :, unit] = 0, value[unit]
        h = c = torch.zeros(N * B, H)
        nats = torch.zeros(N, dtype=torch.float64)
        hidden = []
        with torch.no_grad():
            for t in range(len(ids) - 1):
                x = table[ids[t]].repeat(N, 1)
                m = cell.wmx(x) * cell.wmh(h)
                i, f, o, u = (cell.wx(x) + cell.wh(m)).chunk(4, 1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
                c = (c.view(N, B, H) * keep + add).view(N * B, H)
                h = torch.sigmoid(o) * torch.tanh(c)
                hidden.append(h)
                if len(hidden) == WINDOW or t == len(ids) - 2:
                    scores = readout(torch.stack(hidden)).view(-1, N, B, 256)
                    targets = ids[t - len(hidden) + 2 : t + 2]
                    log_p = torch.log_softmax(scores, -1)
                    chosen = targets[:, None, :, None].expand(-1, N, -1, 1)
                    nats -= log_p.gather(-1, chosen).sum((0, 2, 3)).double()
                    hidden = []
        return nats.tolist()

    return {
        "PyTorch, one at a time": lambda: [run([unit])[0] for unit in problem.units],
        "PyTorch, side by side": lambda: run(problem.units),
    }


def check(runs: dict[str, Callable[[], list[float]]]) -> None:
    """The rows agree on the nats of every neuron, and neurons differ."""
    found = {name: np.array(run()) for name, run in runs.items()}
    first, *others = found.values()
    assert np.ptp(first) > 1e-5 * first.mean(), "no neuron has an effect: nothing is compared"
    for name, other in zip(list(found)[1:], others, strict=True):
        apart = np.abs(other - first).max() / first.mean()
        if apart > 1e-5:
            raise SystemExit(f"{name}: {apart:.1e} of the nats apart from the vmapped call")


def read_flags():
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    for name, default in (
        ("neurons", 32),
        ("hidden", 512),
        ("bytes", 10240),
        ("streams", 16),
        ("rounds", 5),
    ):
        flags.add_argument(f"--{name}", type=timing.count, default=default)
    flags.add_argument("--json", help="write the figures to this file as well")
    given = flags.parse_args()
    if given.bytes < 2 * given.streams:
        flags.error(f"{given.bytes} bytes are fewer than 2 for each of {given.streams} streams")
    if given.hidden < given.neurons or given.neurons < 2:
        flags.error(f"{given.neurons} neurons of {given.hidden}: at least 2, and no more than all")
    return given


def main():
    given = read_flags()
    problem = Problem(given.hidden, given.bytes, given.streams, given.neurons)
    runs = {
        "ours, one vmapped call": functools.partial(problem.vmapped, problem.units),
        "ours, one at a time": problem.one_at_a_time,
    }
    if timing.installed("torch"):
        runs |= torch_rows(problem)
    check(runs)
    every = np.random.default_rng(1).permutation(given.hidden).tolist()
    counts = [max(1, given.neurons // 2), min(2 * given.neurons, given.hidden)]
    of_count = {n: f"ours, one vmapped call of {n}" for n in counts}
    runs |= {name: functools.partial(problem.vmapped, every[:n]) for n, name in of_count.items()}
    times = timing.interleaved(runs, given.rounds)
    of_name = {name: n for n, name in of_count.items()}
    numbers = {name: int(of_name.get(name, given.neurons)) for name in times}
    first = next(iter(times.values()))
    rows = [
        {
            "name": name,
            "median": now.median,
            "best": now.best,
            "ratio": now.ratio(first),
            "each": now.median / numbers[name] * 1e3,
        }
        for name, now in times.items()
    ]
    machine = timing.machine()
    print(
        f"{given.neurons} neurons, H {given.hidden}, {given.bytes} bytes on {given.streams} "
        f"streams; {given.rounds} rounds on {timing.described(machine)}"
    )
    print(timing.table(COLUMNS, rows))
    if given.json:
        seconds = {name: now.seconds for name, now in times.items()}
        timing.write_json(
            given.json,
            {
                "machine": machine,
                "flags": vars(given),
                "versions": timing.versions("jax", "torch"),
                "rows": rows,
                "seconds": seconds,
            },
        )


if __name__ == "__main__":
    main()
