"""The losses of the first steps of a small run on each of some meshes, as JSON on the last line.

python tests/distributed/losses.py FOLDER 4x2,8x1 float64 50 [the flags of launch.train for a job]
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from mlstm import devices
from mlstm.corpus.shards import open_source
from mlstm.training import setup as setups
from mlstm.training.config import Config, from_config_dict, to_dict


def losses(folder: str, mesh: str, dtype: str, steps: int) -> list[float]:
    tree = to_dict(Config())
    data, model = map(int, mesh.split("x"))
    tree["mesh"] = {"data": data, "model": model}
    tree["model"] |= {"hidden": 16, "embedding": 8}
    tree["data"] |= {"source": "text.txt", "batch": 8, "window": 8}
    tree["train"]["steps"] = 100
    tree["optimizer"] |= {"learning_rate": 0.01, "clip_norm": 1.0}
    tree["log"]["every"] = 1
    corpus = open_source(f"{folder}/text.txt", f"{folder}/corpus")
    setup = setups.make(from_config_dict(tree), corpus, jnp.dtype(dtype))
    state, measured = setup.create(), []
    for step in range(steps):
        batch = setup.stream.batch(0, step % setup.stream.windows, setup.rows)
        state, metrics = setup.train_step(state, setup.place(batch))
        measured.append(metrics.nats)
    return np.array(devices.fetch(measured), np.float64).tolist()


if __name__ == "__main__":
    from launch import train  # defines the flags

    folder, meshes, dtype, steps = flags.FLAGS([*sys.argv, "--config=base"])[1:]
    jax.config.update("jax_enable_x64", dtype == "float64")
    train.join()
    print(json.dumps([losses(folder, mesh, dtype, int(steps)) for mesh in meshes.split(",")]))
