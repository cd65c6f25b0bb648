"""One training step of N models in one program, beside N steps of one model.

    python benchmarks/population.py --seeds=8 --hidden=128,256 --batch=32 --window=64 --rounds=7

All are the step that the training loop runs: loss, gradient, optimizer and guard. In the one
program the models are computed side by side (`jax.vmap`) or in turns (`jax.lax.map`); "as trained"
is the way that the trainer takes on this machine. One by one is the step of one model, on N states.
The table has for each H the medians, and how many times longer than the way as trained each takes:
below 1 it is faster than that.
"""

import argparse
import dataclasses
from collections.abc import Callable

import timing
from texts import random_corpus

from mlstm.corpus.reading import Corpus
from mlstm.errors import InputError
from mlstm.model.language_model import flops_per_byte
from mlstm.training import setup as setups
from mlstm.training import state as states
from mlstm.training.config import Config, from_config_dict, to_dict

COLUMNS = {
    "name": ("", ""),
    "median": ("ms", ".1f"),
    "best": ("best", ".1f"),
    "ratio": ("ratio", ".2f"),
    "gflops": ("GF/s", ".1f"),
}


def make_runs(config: Config, corpus: Corpus) -> dict[str, Callable[[], object]]:
    """The ways to make a step with every model of a population; that of the trainer comes first."""
    chosen = states.side_by_side(config)
    trained, other = (setups.make(config, corpus, together=way) for way in (chosen, not chosen))
    alone = setups.make(dataclasses.replace(config, seeds=1), corpus)
    singles = [
        states.create(dataclasses.replace(alone.config, seed=seed), alone.optimizer, alone.mesh)
        for seed in config.members
    ]
    batch = alone.place(alone.stream.batch(0, 0))

    def steps(train_step: Callable, kept: list) -> Callable[[], object]:
        def run() -> object:
            kept[:] = [train_step(state, batch)[0] for state in kept]  # the old ones are donated
            return kept

        return run

    hidden, names = f"H {config.model.hidden}", {True: "side by side", False: "in turns"}
    return {
        f"{hidden}, {names[chosen]}, as trained": steps(trained.train_step, [trained.create()]),
        f"{hidden}, {names[not chosen]}": steps(other.train_step, [other.create()]),
        f"{hidden}, one by one": steps(alone.train_step, singles),
    }


def read_flags():
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("seeds", 8), ("batch", 32), ("window", 64), ("rounds", 7)):
        flags.add_argument(f"--{name}", type=timing.count, default=default)
    flags.add_argument("--hidden", type=timing.names, default=["128", "256"])
    flags.add_argument("--optimizer", default="adamw")
    given = flags.parse_args()
    tree = to_dict(Config(seeds=given.seeds))
    tree["data"] |= {"source": "random", "batch": given.batch, "window": given.window}
    tree["optimizer"] |= {"name": given.optimizer, "clip_norm": 1.0}
    tree["train"]["steps"] = 1000
    configs = []
    try:
        for hidden in map(timing.count, given.hidden):
            tree["model"]["hidden"] = hidden
            configs.append(from_config_dict(tree))
    except (InputError, argparse.ArgumentTypeError) as error:
        flags.error(str(error))
    return given, configs


def main():
    given, configs = read_flags()
    machine = timing.machine()
    rows = []
    with random_corpus(given.batch, given.window) as corpus:
        for config in configs:
            times = timing.interleaved(make_runs(config, corpus), given.rounds)
            as_trained, *_ = times.values()
            work = flops_per_byte(config.model) * given.seeds * given.batch * given.window
            rows += [
                {
                    "name": name,
                    "median": now.median * 1e3,
                    "best": now.best * 1e3,
                    "ratio": now.ratio(as_trained),
                    "gflops": work / now.median / 1e9,
                }
                for name, now in times.items()
            ]
    print(
        f"{given.seeds} seeds, B {given.batch}, T {given.window}, {given.optimizer}; "
        f"{given.rounds} rounds on {timing.described(machine)}"
    )
    print(timing.table(COLUMNS, rows))


if __name__ == "__main__":
    main()
