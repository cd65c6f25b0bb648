"""Between two logs the loop neither fetches from the devices nor waits for them.

JAX's transfer guard sees what goes to the devices. On a CPU it does not see what comes back, which
is no copy there: so every way to an array's values is counted. Of an array on one device numpy
reads the memory itself; so there are two.
"""

import sys

import jax
import numpy as np
import pytest
from jax._src.array import ArrayImpl

from mlstm import devices
from mlstm.checkpoint import Checkpoints
from mlstm.training import loop
from mlstm.training.config import Config, from_config_dict, to_dict
from mlstm.training.setup import Setup

STEPS, EVERY = 12, 4


@pytest.fixture
def config(tmp_path):
    text = np.random.default_rng(0).integers(97, 105, 3000).astype(np.uint8)
    (tmp_path / "text.txt").write_bytes(text.tobytes())
    tree = to_dict(Config())
    tree["model"] |= {"hidden": 16, "embedding": 8, "output_dropout": 0.1}
    tree["data"] |= {"source": str(tmp_path / "text.txt"), "batch": 4, "window": 8}
    tree["data"]["splits"] = "1,0,0"
    tree["train"]["steps"], tree["mesh"]["data"] = STEPS, 2
    tree["log"]["every"] = EVERY
    tree["checkpoint"] |= {"every": 1000, "log_spaced": False}
    return from_config_dict(tree)


@pytest.fixture
def waits(monkeypatch):
    """Where values are fetched or waited for, one list for each step: of the time from placing its
    batch until the next is placed. From the second step on the guard is up, until the save."""
    steps: list[list[str]] = []
    guard = jax.transfer_guard("disallow")

    def noted(wait):
        def waiting(*args, **kwargs):
            if steps:
                frame = sys._getframe(1)
                steps[-1].append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            return wait(*args, **kwargs)

        return waiting

    monkeypatch.setattr(ArrayImpl, "_value", property(noted(ArrayImpl._value.fget)))
    for name in ("__array__", "block_until_ready", "copy_to_host_async"):
        monkeypatch.setattr(ArrayImpl, name, noted(getattr(ArrayImpl, name)))
    for name in ("device_get", "block_until_ready", "effects_barrier"):
        monkeypatch.setattr(jax, name, noted(getattr(jax, name)))
    place, save = Setup.place, Checkpoints.save

    def placed(self, batch):
        if len(steps) == 1:
            guard.__enter__()
        steps.append([])
        return place(self, batch)

    def saved(self, *args, **kwargs):
        guard.__exit__(None, None, None)
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Setup, "place", placed)
    monkeypatch.setattr(Checkpoints, "save", saved)
    return steps


def test_between_logs_nothing_is_fetched_nothing_waited_for_and_nothing_copied_unasked(
    tmp_path, config, waits
):
    result = loop.run(config, tmp_path / "run")
    assert (result.ended, len(waits)) == ("finished", STEPS)
    # A log is read when the step after it is on its way; that of the last step, at the end.
    reads = [step for step in range(1, STEPS + 1) if (step - 1) % EVERY == 0 and step > 1]
    for step, where in enumerate(waits, 1):
        if step in (*reads, STEPS):
            assert where, f"step {step}: the log was not seen to be read, so nothing else would be"
        else:
            assert not where, f"step {step}"


FETCHES = (
    float, bool, str, np.asarray, np.isfinite, jax.device_get, jax.block_until_ready,
    lambda x: x.item(), lambda x: x.tolist(), lambda x: x.block_until_ready(),
)  # fmt: skip


@pytest.mark.parametrize("fetch", FETCHES)
def test_a_value_fetched_in_the_step_would_be_seen(waits, fetch):
    value = jax.device_put(np.float32(1), devices.replicated(devices.mesh(2)))
    waits.append([])
    fetch(value)
    assert waits[-1]
