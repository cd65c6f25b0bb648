"""Loss and gradient of one window: the fast recurrence beside the plain scan with JAX's gradient.

    python benchmarks/train_step.py --hidden=512 --batch=64 --window=128 --rounds=7

Both are timed in one run, in random order each round, beside a large matrix product that says what
the machine gives just then. The table has medians, the ratio to ours, the rate of the model's
products, and the temporary memory that XLA plans for each.
"""

import argparse
import functools
import random
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from mlstm.model import language_model
from mlstm.model.language_model import ModelConfig


def step(config, reference, parameters, ids_TB, state):
    """Mean nats, their gradient and the carried state of one window of ids (T + 1, B)."""

    def loss(parameters):
        out = language_model.forward(config, parameters, ids_TB[:-1], state, reference=reference)
        nats_TB = language_model.negative_log_likelihood(config, parameters, out.hidden, ids_TB[1:])
        return nats_TB.mean(), out.state

    return jax.value_and_grad(loss, has_aux=True)(parameters)


def differs(ours, plain) -> float:
    """The largest of max|a - b| / max|b| over the gradients' leaves."""
    leaves = zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True)
    return max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in leaves)


def main():
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("hidden", 512), ("batch", 64), ("window", 128), ("rounds", 7)):
        flags.add_argument(f"--{name}", type=int, default=default)
    flags.add_argument("--cell", default="multiplicative_lstm")
    flags.add_argument("--products", default="float32")
    flags = flags.parse_args()
    config = ModelConfig(cell=flags.cell, hidden=flags.hidden, products=flags.products).check()
    parameters = language_model.init_parameters(config, jax.random.key(0))
    ids = np.random.default_rng(0).integers(0, 256, (flags.window + 1, flags.batch), np.int32)
    data = parameters, jnp.asarray(ids), language_model.initial_state(config, flags.batch)

    compiled = {
        name: jax.jit(functools.partial(step, config, reference)).lower(*data).compile()
        for name, reference in (("ours", False), ("plain scan", True))
    }
    (_, ours), (_, plain) = (run(*data) for run in compiled.values())
    size = 2048
    square = jax.random.normal(jax.random.key(1), (size, size))
    multiply = jax.jit(jnp.matmul).lower(square, square).compile()
    runs = {name: functools.partial(run, *data) for name, run in compiled.items()}
    runs["matrix product"] = functools.partial(multiply, square, square)

    times = {name: [] for name in runs}
    for round_number in range(flags.rounds + 1):
        for name in random.sample(list(runs), len(runs)):
            start = time.perf_counter()
            jax.block_until_ready(runs[name]())
            if round_number:  # the first round warms up
                times[name].append(time.perf_counter() - start)

    work = dict.fromkeys(
        compiled, language_model.flops_per_byte(config) * flags.window * flags.batch
    ) | {"matrix product": 2 * size**3}
    middle = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"{config.cell}, H {flags.hidden}, B {flags.batch}, T {flags.window}, {config.products}, "
        f"{flags.rounds} rounds on {jax.devices()[0].device_kind}; "
        f"gradients differ by {differs(ours, plain):.1e}"
    )
    print(f"{'':16}{'ms':>9}{'best':>9}{'ratio':>7}{'GF/s':>8}{'temporaries, MB':>17}")
    for name, values in times.items():
        memory = compiled[name].memory_analysis() if name in compiled else None
        ratio = f"{middle[name] / middle['ours']:7.2f}" if name in compiled else " " * 7
        print(
            f"{name:16}{middle[name] * 1e3:9.1f}{min(values) * 1e3:9.1f}{ratio}"
            f"{work[name] / middle[name] / 1e9:8.1f}"
            + (f"{memory.temp_size_in_bytes / 1e6:17.0f}" if memory else "")
        )


if __name__ == "__main__":
    main()
