"""What a run says of its memory, and that asking compiles nothing twice."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax._src import test_util

from mlstm.corpus.shards import open_source
from mlstm.training import memory
from mlstm.training import setup as setups
from mlstm.training.config import from_config_dict, to_dict


@pytest.fixture
def setup(tmp_path):
    def make(data=1, model=1):
        (tmp_path / "text.txt").write_bytes(np.arange(8000, dtype=np.uint8).tobytes())
        tree = to_dict(setups.Config())
        tree["model"] |= {"hidden": 16, "embedding": 8}
        tree["data"] |= {"source": "text.txt", "batch": 8, "window": 8}
        tree["train"]["steps"] = 10
        tree["mesh"] |= {"data": data, "model": model}
        corpus = open_source(tmp_path / "text.txt", tmp_path / "corpus")
        return setups.make(from_config_dict(tree), corpus)

    return make


@pytest.mark.parametrize("mesh", [(1, 1), (4, 2)])
def test_the_prediction_is_that_of_the_step_and_leaves_the_first_one_nothing_to_compile(
    setup, mesh
):
    setup = setup(*mesh)
    state, batch = setup.create(), setup.place(setup.stream.batch(0, 0))
    held = sum(
        leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state._replace(key=None))
    )
    with test_util.count_jit_and_pmap_lowerings() as asking:
        said = memory.Memory(setup).predicted()
    assert asking() == 1
    with test_util.count_jit_and_pmap_lowerings() as running:
        setup.train_step(state, batch)
    assert running() == 0
    whole = memory.of_compiled(setup.compiled_step())
    assert whole > held
    assert said == (
        f"memory: predicted {memory.mebibytes(whole)} on each device "
        f"(state {memory.mebibytes(held)})"
    )


def test_what_a_process_took_is_said_once_with_its_state_and_without_its_compiler(
    setup, monkeypatch
):
    report = memory.Memory(setup())
    assert report.measured() is None
    sizes = iter([500 * 2**20, 700 * 2**20])
    for name in ("_resident", "_peak_resident"):
        monkeypatch.setattr(memory, name, lambda: next(sizes))
    report._state = 30 * 2**20
    report.predicted()
    assert report.measured() == (
        "memory: measured peak 700.0 MiB of the whole process; 230.0 MiB of it are the state and "
        "what came after compiling"
    )
    assert report.measured() is None


def test_a_device_that_counts_its_memory_is_believed(setup):
    report = memory.Memory(setup())
    stats = {"bytes_limit": 80 * 2**30, "peak_bytes_in_use": 3 * 2**20}
    report._devices = [SimpleNamespace(memory_stats=lambda: stats)]
    assert report.predicted().endswith(", of its 81,920.0 MiB")
    assert report.measured() == "memory: measured peak 3.0 MiB on the fullest device"
