"""Generation at batch 1: ours beside a PyTorch loop with the same weights, and ours token by token.

    python benchmarks/sample.py --hidden=512 --tokens=1024 --rounds=7

All are timed in one run, in random order each round; the table has medians and ratios to ours.
There are two PyTorch loops: "modules" is written as the published ones are (an embedding, a Linear
for each weight, softmax and multinomial), "folded" has all that ours has (input tables, Gumbel
noise drawn before the loop). Both run in inference mode with weight normalisation folded.
"""

import jax
import numpy as np
import timing

from mlstm.model import language_model, sampling
from mlstm.model.config import ModelConfig

COLUMNS = {
    "name": ("", ""),
    "median": ("us/token", ".1f"),
    "best": ("best", ".1f"),
    "ratio": ("ratio", ".2f"),
    "ratio_of_bests": ("of bests", ".2f"),
}
PROMPT = np.frombuffer(b"\n", np.uint8)


def ours(config, parameters, tokens, block):
    def run():
        for ids in sampling.generate_ids(config, parameters, PROMPT, tokens, block=block):
            assert ids.max() < config.vocabulary

    return run


def pytorch_folded(config, parameters, tokens):
    """The same model as a loop over tensors, with all that can be done before it."""
    import torch  # pyright: ignore[reportMissingImports]

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


def pytorch_modules(config, parameters, tokens):
    """The same model as modules of PyTorch, stepped and sampled from as is usual."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch_steps import linear

    cell, hidden = parameters["layers"]["0"], config.hidden

    embed = torch.nn.Embedding.from_pretrained(torch.from_numpy(np.array(parameters["embedding"])))
    # A fresh model's gains are its weights' norms: the weights are the normalised ones.
    wx, wmx, wmh = (linear(cell[name]) for name in ("wx", "wmx", "wmh"))
    wh = linear(cell["wh"], cell["b"])
    readout = linear(parameters["readout"]["w"], parameters["readout"]["b"])

    @torch.inference_mode()
    def run():
        h, c = torch.zeros(1, hidden), torch.zeros(1, hidden)
        token, made = torch.tensor([10]), []
        for _ in range(tokens):
            x = embed(token)
            m = wmx(x) * wmh(h)
            i, f, o, u = (wx(x) + wh(m)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
            h = torch.sigmoid(o) * torch.tanh(c)
            token = torch.multinomial(torch.softmax(readout(h), 1), 1)[0]
            made.append(int(token))
        assert max(made) < config.vocabulary

    return run


def main():
    flags = timing.Flags(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("hidden", 512), ("tokens", 1024), ("rounds", 7)):
        flags.add_argument(f"--{name}", type=timing.count, default=default)
    flags = flags.parse_args()
    config = ModelConfig(hidden=flags.hidden)
    parameters = language_model.init_parameters(config, jax.random.key(0))
    runs = {
        "ours, blocks of 64": ours(config, parameters, flags.tokens, 64),
        "ours, token by token": ours(config, parameters, flags.tokens, 1),
    }
    if timing.installed("torch"):
        runs["PyTorch, modules"] = pytorch_modules(config, parameters, flags.tokens)
        runs["PyTorch, folded"] = pytorch_folded(config, parameters, flags.tokens)
    else:
        print("PyTorch is not installed (extra `peers`): ours is timed alone")
    times = timing.interleaved(runs, flags.rounds)
    first = times["ours, blocks of 64"]
    rows = [
        {
            "name": name,
            "median": now.median / flags.tokens * 1e6,
            "best": now.best / flags.tokens * 1e6,
            "ratio": now.ratio(first),
            "ratio_of_bests": now.best / first.best,
        }
        for name, now in times.items()
    ]
    print(f"H {flags.hidden}, B 1, {flags.tokens} tokens, {flags.rounds} rounds")
    print(timing.table(COLUMNS, rows))


if __name__ == "__main__":
    main()
