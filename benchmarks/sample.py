"""Generation at batch 1: ours beside a PyTorch loop with the same weights, and ours token by token.

    python benchmarks/sample.py --hidden=512 --tokens=256 --rounds=7

The three are timed in one run, in random order each round; the table has medians and the ratio to
ours. PyTorch gets folded weights, inference mode and Gumbel noise drawn outside the loop, as ours.
"""

import argparse
import random
import statistics
import time

import jax
import numpy as np

from mlstm.model import language_model, sampling
from mlstm.model.language_model import ModelConfig

PROMPT = np.frombuffer(b"\n", np.uint8)


def ours(config, parameters, tokens, block):
    def run():
        for ids in sampling.generate_ids(config, parameters, PROMPT, tokens, block=block):
            assert ids.max() < config.vocabulary

    return run


def pytorch(config, parameters, tokens):
    """The same model as a plain PyTorch loop, or None where PyTorch is not installed."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    hidden = config.hidden
    folded = language_model.fold(config, parameters)
    layer, readout = folded["layers"]["0"], folded["readout"]

    def tensor(x):
        return torch.from_numpy(np.array(x))

    def transposed(pieces):
        whole = np.concatenate(pieces, axis=-1)
        return tensor(whole.reshape(hidden, -1)).T.contiguous()

    table_m, table_z = (tensor(layer["inputs"][k]) for k in ("m", "z"))
    table_z = table_z.reshape(-1, 4 * hidden)
    wmh_t, wh_t = (transposed(layer["weights"][k]) for k in ("wmh", "wh"))
    out_t, bias = transposed(readout["w"]), tensor(readout["b"])
    linear = torch.nn.functional.linear

    @torch.inference_mode()
    def run():
        h, c = torch.zeros(1, hidden), torch.zeros(1, hidden)
        gumbel = -torch.log(torch.empty(tokens, config.vocabulary).exponential_())
        token = torch.tensor([10])
        made = torch.empty(tokens, dtype=torch.int64)
        for n in range(tokens):
            m = table_m[token] * linear(h, wmh_t)
            i, f, o, u = (table_z[token] + linear(m, wh_t)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
            h = torch.sigmoid(o) * torch.tanh(c)
            token = (linear(h, out_t, bias) + gumbel[n]).argmax(1)
            made[n] = token[0]
        assert int(made.max()) < config.vocabulary

    return run


def main():
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    flags.add_argument("--hidden", type=int, default=512)
    flags.add_argument("--tokens", type=int, default=256)
    flags.add_argument("--rounds", type=int, default=7)
    flags = flags.parse_args()
    config = ModelConfig(hidden=flags.hidden)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    runs = {
        "ours, blocks of 64": ours(config, parameters, flags.tokens, 64),
        "ours, token by token": ours(config, parameters, flags.tokens, 1),
        "PyTorch loop": pytorch(config, parameters, flags.tokens),
    }
    if runs["PyTorch loop"] is None:
        print("PyTorch is not installed (extra `peers`): ours is timed alone")
        del runs["PyTorch loop"]
    times = {name: [] for name in runs}
    for round_number in range(flags.rounds + 1):
        for name in random.sample(list(runs), len(runs)):
            time.sleep(0.1)  # the thread pools of two libraries spin for a while after their work
            start = time.perf_counter()
            runs[name]()
            if round_number:  # the first round compiles
                times[name].append((time.perf_counter() - start) / flags.tokens * 1e6)
    first = statistics.median(times["ours, blocks of 64"])
    print(f"H {flags.hidden}, B 1, {flags.tokens} tokens, {flags.rounds} rounds")
    print(f"{'':22}{'us/token':>10}{'best':>10}{'ratio':>8}")
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:22}{middle:10.1f}{min(values):10.1f}{middle / first:8.2f}")


if __name__ == "__main__":
    main()
