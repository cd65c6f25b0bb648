import pytest

import mlstm
from mlstm.training import loop
from mlstm.training.config import Config, from_config_dict, to_dict
from probing import tasks


@pytest.fixture(scope="package")
def base_run(tmp_path_factory, write_code):
    """A run of a model of 16 units, trained for a few steps on Python files."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "code").mkdir()
    write_code(folder / "code", 24)
    tree = to_dict(Config())
    tree["model"] |= {"hidden": 16, "embedding": 8}
    tree["data"] |= {"source": str(folder / "code"), "batch": 4, "window": 16}
    tree["data"]["splits"] = "0.5,0.2,0.3"
    tree["train"] |= {"steps": 8}
    tree["optimizer"] |= {"learning_rate": 0.02}
    tree["log"] |= {"samples": 0, "gate_saturation": False}
    tree["checkpoint"]["log_spaced"] = False
    loop.run(from_config_dict(tree), folder / "run")
    return folder / "run"


@pytest.fixture(scope="package")
def data(base_run):
    return tasks.source_code(mlstm.corpus_of(base_run))
