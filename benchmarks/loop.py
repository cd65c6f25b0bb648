"""What the training loop adds to its compiled steps, and what a save costs it.

    python benchmarks/loop.py --hidden=128 --batch=16 --window=32 --steps=200 --rounds=7
    python benchmarks/loop.py --save --save_hidden=2048

The first runs `loop.run` as `launch.train` does, logs and gate saturation included. After each
`--steps` of its steps it is held, the same steps are made again by the compiled function alone, on
the same batches, which are on the devices already, and it goes on. The ratio is that of the two.

The second times `Checkpoints.save` from call to return, which is how long training stands still,
and the steps that are made until the checkpoint is whole, beside as many made just before.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import timing

from mlstm.checkpoint import Checkpoints
from mlstm.corpus.shards import open_source
from mlstm.errors import InputError
from mlstm.training import loop
from mlstm.training import setup as setups
from mlstm.training.config import Config, from_config_dict, to_dict
from mlstm.training.setup import Setup

COLUMNS = {"name": ("", ""), "median": ("ms", ".3f"), "best": ("best", ".3f"),
           "ratio": ("ratio", ".3f")}  # fmt: skip


class Held:
    """Holds the loop wherever it places a batch behind a whole round of steps."""

    def __init__(self, steps: int) -> None:
        self.loop: list[float] = []
        """Seconds for a step of the loop, of each round; the first one compiles."""
        self.bare: list[float] = []
        self._steps = steps
        self._batches: list = []
        self._state = None
        self._began = time.perf_counter()

    @contextmanager
    def installed(self) -> Iterator[None]:
        place = Setup.place

        def placed(setup: Setup, batch):
            if len(self._batches) == self._steps:
                self._round(setup)
            self._batches.append(place(setup, batch))
            return self._batches[-1]

        with mock.patch.object(Setup, "place", placed):
            yield

    def _round(self, setup: Setup) -> None:
        jax.block_until_ready([x for x in jax.live_arrays() if not x.is_deleted()])
        self.loop.append((time.perf_counter() - self._began) / self._steps)
        state = setup.create() if self._state is None else self._state
        jax.block_until_ready(state)
        began = time.perf_counter()
        for batch in self._batches:
            state, _ = setup.train_step(state, batch)
        jax.block_until_ready(state)
        self.bare.append((time.perf_counter() - began) / self._steps)
        self._state, self._batches = state, []
        self._began = time.perf_counter()


def against_bare_steps(config: Config, folder: Path, steps: int) -> dict[str, timing.Times]:
    """The loop, and its compiled step alone, without the first round."""
    held = Held(steps)
    with held.installed():
        loop.run(config, folder / "run")
    return {
        "the loop": timing.Times(held.loop[1:]),
        "compiled steps alone": timing.Times(held.bare[1:]),
    }


def saves(config: Config, folder: Path, rounds: int) -> tuple[dict[str, timing.Times], int]:
    """Seconds inside `save`, until the checkpoint is whole, and of a step before and meanwhile;
    and the bytes of the state."""
    setup = setups.make(config, setups.open_corpus(config, folder / "corpus"))
    state, batch = setup.create(), setup.place(setup.stream.batch(0, 0))
    names = "inside save", "until it is whole", "a step while it is written", "a step before"
    seconds = {name: [] for name in names}
    checkpoints = Checkpoints(folder / "checkpoints", newest=1, log_spaced=False)

    def step() -> float:
        nonlocal state
        began = time.perf_counter()
        state, _ = setup.train_step(state, batch)
        jax.block_until_ready(state)
        return time.perf_counter() - began

    step()
    try:
        for number in range(1, rounds + 2):
            before = [step() for _ in range(5)]
            began, meanwhile = time.perf_counter(), []
            if not checkpoints.save(number, state._asdict()):
                raise SystemExit("loop.py: the state could not be saved")
            inside = time.perf_counter() - began
            while not meanwhile or not (checkpoints.folder / str(number)).exists():
                meanwhile.append(step())
            whole = time.perf_counter() - began
            if number > 1:  # the first one compiles its digests
                found = inside, whole, statistics.mean(meanwhile), statistics.median(before)
                for name, value in zip(names, found, strict=True):
                    seconds[name].append(value)
    finally:
        checkpoints.close()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state._replace(key=None)))
    return {name: timing.Times(values) for name, values in seconds.items()}, size


def read_flags():
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    for name, default in (
        ("hidden", 128), ("batch", 16), ("window", 32), ("steps", 200), ("rounds", 7),
        ("save_hidden", 2048),
    ):  # fmt: skip
        flags.add_argument(f"--{name}", type=timing.count, default=default)
    flags.add_argument("--save", action="store_true")
    given = flags.parse_args()
    tree = to_dict(Config())
    tree["model"]["hidden"] = given.save_hidden if given.save else given.hidden
    tree["data"] |= {"batch": given.batch, "window": given.window, "splits": "1,0,0"}
    tree["data"]["source"] = "random"
    # Held once more behind the warm-up and all rounds; one step after that ends it.
    tree["train"]["steps"] = given.steps * (given.rounds + 1) + 1
    tree["checkpoint"] |= {"every": 10**9, "log_spaced": False}
    try:
        return given, from_config_dict(tree)
    except InputError as error:
        flags.error(str(error))


def main():
    given, config = read_flags()
    machine = timing.machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = np.random.default_rng(0).integers(0, 256, 50 * given.batch * given.window, np.uint8)
        (folder / "text").write_bytes(ids.tobytes())
        open_source(folder / "text", folder / "prepared", splits=(1, 0, 0))
        tree = to_dict(config)
        tree["data"] |= {"source": str(folder / "text"), "folder": str(folder / "prepared")}
        config = from_config_dict(tree)
        saved = ""
        if given.save:
            times, size = saves(config, folder, given.rounds)
            saved = f", a state of {size / 1e6:.0f} MB"
        else:
            times = against_bare_steps(config, folder, given.steps)
    first, *_, last = times.values()
    rows = [
        {"name": name, "median": now.median * 1e3, "best": now.best * 1e3, "ratio": now.ratio(last)}
        for name, now in times.items()
    ]
    model = config.model.hidden, config.data.batch, config.data.window
    print(
        f"H {model[0]}, B {model[1]}, T {model[2]}{saved}; {len(first.seconds)} rounds on "
        f"{timing.described(machine)}"
    )
    print(timing.table(COLUMNS, rows))


if __name__ == "__main__":
    main()
