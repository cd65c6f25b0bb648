"""What a dry run says of a run."""

import numpy as np
import pytest

from mlstm.corpus.shards import open_source
from mlstm.training import estimate as estimates
from mlstm.training import setup as setups
from mlstm.training.config import from_config_dict, to_dict


def test_flops_are_those_of_the_products_and_devices_cut_from_one_cpu_are_one(
    tmp_path, monkeypatch
):
    (tmp_path / "text.txt").write_bytes(np.arange(8000, dtype=np.uint8).tobytes())
    tree = to_dict(setups.Config())
    tree["model"] |= {"hidden": 16, "embedding": 8}
    tree["data"] |= {"source": "text.txt", "batch": 8, "window": 64}
    tree["train"]["steps"], tree["mesh"]["data"] = 10, 8
    corpus = open_source(tmp_path / "text.txt", tmp_path / "corpus")
    monkeypatch.setattr(estimates, "_product_rate", lambda _: 1e9)
    found = estimates.estimate(setups.make(from_config_dict(tree), corpus))
    inputs, recurrent, readout = 5 * 8 * 16, 5 * 16 * 16, 16 * 256
    assert found.counted_flops == 512 * 6 * (inputs + recurrent + readout)
    table = 256 * 2 * inputs
    assert found.step_flops == 512 * (6 * (recurrent + readout) + 4 * inputs) + table
    assert found.flops_per_second == 1e9
    assert "papers count" in str(found)

    tree["model"]["keep"] = "states"
    again = estimates.estimate(setups.make(from_config_dict(tree), corpus))
    assert again.step_flops == found.step_flops + 512 * 2 * recurrent
    tree["model"]["keep"] = "products"

    tree["seeds"] = 16
    several = estimates.estimate(setups.make(from_config_dict(tree), corpus))
    assert several.counted_flops == 16 * found.counted_flops
    assert several.step_flops == 16 * found.step_flops
    assert several.parameters == found.parameters
    assert 15 * found.state_bytes < several.state_bytes <= 16 * found.state_bytes
    assert "in each of 16 models" in str(several)


@pytest.mark.parametrize(
    ("seeds", "groups", "shape"), [(1, 1, (1, 8, 16, 64)), (16, 1, (1, 8, 16, 64)),
                                   (16, 8, (2, 8, 16, 64)), (1, 8, (1, 1, 16, 64))]
)  # fmt: skip
def test_the_product_that_is_measured_has_as_many_models_as_are_computed_at_once(
    tmp_path, seeds, groups, shape
):
    (tmp_path / "text.txt").write_bytes(np.arange(8000, dtype=np.uint8).tobytes())
    tree = to_dict(setups.Config())
    tree["model"]["hidden"], tree["data"] = 16, tree["data"] | {"source": "text.txt", "batch": 8}
    tree["train"]["steps"], tree["mesh"]["data"], tree["seeds"] = 10, groups, seeds
    corpus = open_source(tmp_path / "text.txt", tmp_path / "corpus")
    setup = setups.make(from_config_dict(tree), corpus)
    assert estimates._product_shape(setup) == shape
