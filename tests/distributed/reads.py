"""A run up to a step, which writes down what of the text each process trained on.

python tests/distributed/reads.py TEXT WORKDIR STEPS 4x2 [the flags of launch.train for a job]
"""

import json
import sys
from pathlib import Path

from absl import flags

from mlstm import job
from mlstm.corpus.stream import Stream
from mlstm.training import loop
from mlstm.training.config import Config, from_config_dict, to_dict
from mlstm.training.setup import Setup


def run(text: str, workdir: str, steps: int, mesh: str) -> loop.Result:
    """Appends a line [epoch, window, first row, row behind the last] for each batch of this process
    to WORKDIR-reads-PROCESS.jsonl."""
    tree = to_dict(Config())
    data, model = map(int, mesh.split("x"))
    tree["mesh"] = {"data": data, "model": model}
    tree["model"] |= {"hidden": 16, "embedding": 8}
    tree["data"] |= {"source": text, "folder": f"{text}.corpus", "batch": 8, "window": 4}
    tree["train"] |= {"steps": steps, "validate_every": 12, "validation_window": 8}
    tree["optimizer"] |= {"learning_rate": 0.01, "schedule": "constant"}
    tree["checkpoint"] |= {"every": 1000, "log_spaced": False}
    tree["log"] |= {"every": 1, "samples": 0, "gate_saturation": False}
    batch, place, made = Stream.batch, Setup.place, {}

    def remembered(self, epoch, window, rows=None):
        one = batch(self, epoch, window, rows)
        made[id(one.ids)] = (one, [epoch, window, rows.start, rows.stop] if rows else None)
        return one

    def noted(self, one):
        _, read = made[id(one.ids)]
        with Path(f"{workdir}-reads-{job.index()}.jsonl").open("a") as log:
            log.write(json.dumps(read) + "\n")
        return place(self, one)

    Stream.batch, Setup.place = remembered, noted
    try:
        return loop.run(from_config_dict(tree), workdir)
    finally:
        Stream.batch, Setup.place = batch, place


if __name__ == "__main__":
    from launch import train  # defines the flags

    text, workdir, steps, mesh = flags.FLAGS([*sys.argv, "--config=base"])[1:]
    train.join()
    print(run(text, workdir, int(steps), mesh))
