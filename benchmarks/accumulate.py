"""The training step with its batch in parts, beside the step of the whole batch.

    python benchmarks/accumulate.py --accumulate=1,2,4 --hidden=1024 --batch=64 --rounds=7

All are the step that the training loop runs. The table has what XLA plans for each beside the
state, and how many times longer than the first it takes.
"""

import argparse
from collections.abc import Callable

import timing
from texts import random_corpus

from mlstm.errors import InputError
from mlstm.training import setup as setups
from mlstm.training.config import Config, from_config_dict, to_dict
from mlstm.training.setup import Setup

COLUMNS = {"name": ("", ""), "median": ("ms", ".1f"), "best": ("best", ".1f"),
           "ratio": ("ratio", ".2f"), "temporaries": ("temp MB", ".1f")}  # fmt: skip


def step_of(setup: Setup) -> Callable[[], object]:
    batch = setup.place(setup.stream.batch(0, 0))
    kept = [setup.create()]

    def run() -> object:
        kept[0], _ = setup.train_step(kept[0], batch)  # the old one is donated
        return kept[0]

    return run


def read_flags():
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("hidden", 1024), ("batch", 64), ("window", 128), ("rounds", 7)):
        flags.add_argument(f"--{name}", type=timing.count, default=default)
    flags.add_argument("--accumulate", type=timing.names, default=["1", "2", "4"])
    given = flags.parse_args()
    tree = to_dict(Config())
    tree["model"]["hidden"] = given.hidden
    tree["data"] |= {"source": "random", "batch": given.batch, "window": given.window}
    tree["train"]["steps"] = 1000
    configs = []
    try:
        for parts in map(timing.count, given.accumulate):
            tree["train"]["accumulate"] = parts
            configs.append(from_config_dict(tree))
    except (InputError, argparse.ArgumentTypeError) as error:
        flags.error(str(error))
    return given, configs


def main():
    given, configs = read_flags()
    machine = timing.machine()
    with random_corpus(given.batch, given.window) as corpus:
        ways = {f"accumulate {c.train.accumulate}": setups.make(c, corpus) for c in configs}
        temporaries = [timing.temporaries(setup.compiled_step()) for setup in ways.values()]
        times = timing.interleaved({n: step_of(setup) for n, setup in ways.items()}, given.rounds)
    first, *_ = times.values()
    rows = [
        {
            "name": name,
            "median": now.median * 1e3,
            "best": now.best * 1e3,
            "ratio": now.ratio(first),
            "temporaries": size / 1e6,
        }
        for (name, now), size in zip(times.items(), temporaries, strict=True)
    ]
    print(
        f"H {given.hidden}, B {given.batch}, T {given.window}; {given.rounds} rounds on "
        f"{timing.described(machine)}"
    )
    print(timing.table(COLUMNS, rows))


if __name__ == "__main__":
    main()
