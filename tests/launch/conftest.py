import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    """A run directory with two checkpoints of a tiny model, as training leaves it."""
    from mlstm.checkpoint import Checkpoints
    from mlstm.corpus.shards import open_source
    from mlstm.model import language_model

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = language_model.ModelConfig(embedding=4, hidden=8)
    checkpoints = Checkpoints(folder / "checkpoints")
    for step in (1, 2):
        parameters = language_model.init_parameters(config, jax.random.key(step))
        checkpoints.save(step, {"parameters": parameters, "step": jnp.int32(step)})
    checkpoints.close()
    (folder / "text.txt").write_bytes(b"some words, again and again\n" * 400)
    corpus = open_source(folder / "text.txt", cache=folder / "corpus")
    description = {
        "format_version": 1,
        "model": {"embedding": 4, "hidden": 8},
        "vocabulary": {"kind": "bytes"},
        "cleaning": "none",
        "data": {"source": "text.txt", "digest": corpus.digest, "corpus": str(corpus.folder)},
    }
    (folder / "config.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="session")
def trained_population(trained_run, tmp_path_factory) -> Path:
    """A run of two models, seeds 5 and 6, on the text of `trained_run`."""
    from mlstm.checkpoint import Checkpoints
    from mlstm.model import language_model

    folder = tmp_path_factory.mktemp("runs") / "population"
    description = json.loads((trained_run / "config.json").read_text())
    config = language_model.ModelConfig(**description["model"])
    models = [language_model.init_parameters(config, jax.random.key(seed)) for seed in (5, 6)]
    checkpoints = Checkpoints(folder / "checkpoints")
    parameters = jax.tree.map(lambda *each: jnp.stack(each), *models)
    checkpoints.save(1, {"parameters": parameters, "step": jnp.int32(1)})
    checkpoints.close()
    (folder / "config.json").write_text(json.dumps(description | {"seed": 5, "seeds": 2}))
    return folder


@pytest.fixture(scope="session")
def launch():
    """Run `python -m launch.NAME FLAGS...` and return what it said."""

    def run(name: str, *flags: object, **settings) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", f"launch.{name}", *map(str, flags)],
            capture_output=True,
            timeout=600,
            check=False,
            cwd=REPOSITORY,
            env=os.environ | {"XLA_FLAGS": ""},
            **settings,
        )

    return run
