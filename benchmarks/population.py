"""One training step of N models at once, beside N steps of one model, one after another.

    python benchmarks/population.py --seeds=8 --hidden=128,256 --batch=32 --window=64 --rounds=7

Both are the steps that the training loop runs: loss, gradient, optimizer and guard. They are timed
in one run, in random order each round; the N single steps are one compiled step, on N states. The
table has medians, what the single steps take over what the population takes, and the rate of the
models' products.
"""

import argparse
import dataclasses
import random
import statistics
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from mlstm.corpus.shards import open_source
from mlstm.model import language_model
from mlstm.training import setup as setups
from mlstm.training import state as states
from mlstm.training.config import Config, from_config_dict, to_dict


def config_of(flags, hidden: int) -> Config:
    """A population's."""
    tree = to_dict(Config(seeds=flags.seeds))
    tree["model"]["hidden"] = hidden
    tree["data"] |= {"source": "random", "batch": flags.batch, "window": flags.window}
    tree["optimizer"] |= {"name": flags.optimizer, "clip_norm": 1.0}
    tree["train"]["steps"] = 1000
    return from_config_dict(tree)


def steps_of(flags, hidden: int, corpus) -> dict:
    """For both ways a function that makes one step with every model, and waits for it."""
    together = setups.make(config_of(flags, hidden), corpus)
    alone = setups.make(dataclasses.replace(together.config, seeds=1), corpus)
    singles = [
        states.create(dataclasses.replace(alone.config, seed=seed), alone.optimizer, alone.mesh)
        for seed in together.config.members
    ]
    kept = {"population": [together.create()], "one by one": singles}
    batch = together.place(together.stream.batch(0, 0))

    def step(name: str) -> None:
        train_step = (together if name == "population" else alone).train_step
        kept[name] = [train_step(state, batch)[0] for state in kept[name]]
        jax.block_until_ready(kept[name])

    return {name: lambda name=name: step(name) for name in kept}


def main():
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("seeds", 8), ("batch", 32), ("window", 64), ("rounds", 7)):
        flags.add_argument(f"--{name}", type=int, default=default)
    flags.add_argument("--hidden", default="128,256")
    flags.add_argument("--optimizer", default="muon")
    flags = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = np.random.default_rng(0).integers(0, 256, 4 * flags.batch * (flags.window + 1))
        (Path(folder) / "text.txt").write_bytes(text.astype(np.uint8).tobytes())
        corpus = open_source(Path(folder) / "text.txt", Path(folder) / "corpus", splits=(1, 0, 0))
        print(
            f"{flags.seeds} seeds, B {flags.batch}, T {flags.window}, {flags.optimizer}, "
            f"{flags.rounds} rounds on {jax.devices()[0].device_kind}"
        )
        print(f"{'H':>6}  {'':12}{'ms':>9}{'best':>9}{'ratio':>7}{'GF/s':>8}")
        for hidden in map(int, flags.hidden.split(",")):
            compare(flags, hidden, corpus)


def compare(flags, hidden: int, corpus) -> None:
    """Time both ways and print a line for each."""
    steps = steps_of(flags, hidden, corpus)
    times = {name: [] for name in steps}
    for round_number in range(flags.rounds + 1):
        for name in random.sample(list(steps), len(steps)):
            start = time.perf_counter()
            steps[name]()
            if round_number:  # the first round compiles
                times[name].append(time.perf_counter() - start)
    middle = {name: statistics.median(values) for name, values in times.items()}
    model = config_of(flags, hidden).model
    work = flags.seeds * language_model.flops_per_byte(model) * flags.batch * flags.window
    for name, values in times.items():
        print(
            f"{hidden:6}  {name:12}{middle[name] * 1e3:9.1f}{min(values) * 1e3:9.1f}"
            f"{middle[name] / middle['population']:7.2f}{work / middle[name] / 1e9:8.1f}"
        )


if __name__ == "__main__":
    main()
