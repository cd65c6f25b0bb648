"""Going on with another batch or window: what is kept, what is lost, and that it is said."""

import json

import numpy as np
import pytest

from mlstm.errors import InputError
from mlstm.training import loop
from mlstm.training.config import Config, from_config_dict, to_dict


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(np.random.default_rng(0).integers(97, 105, 8000).astype(np.uint8).tobytes())
    return path


@pytest.fixture
def run(text, tmp_path):
    def go(*, new_streams=False, **changes):
        tree = to_dict(Config())
        tree["model"] |= {"hidden": 16, "embedding": 8}
        tree["data"] |= {"source": str(text), "folder": str(text.parent / "corpus")}
        tree["data"] |= {"batch": 4, "window": 8}
        tree["optimizer"] |= {"learning_rate": 1e-30, "name": "sgd"}  # what is kept stays as it is
        tree["log"] |= {"samples": 0, "every": 1, "gate_saturation": False}
        for name, value in changes.items():
            section, field = name.split("__")
            tree[section][field] = value
        return loop.run(from_config_dict(tree), tmp_path / "run", new_streams=new_streams)

    return go


def body(tmp_path, step):
    path = tmp_path / "run" / "checkpoints" / str(step) / "metadata" / "metadata"
    return json.loads(path.read_text())["body"]


@pytest.mark.parametrize("changes", [{"data__batch": 6}, {"data__window": 4}])
def test_other_streams_are_refused_with_what_would_be_lost(run, changes):
    run(train__steps=3)
    with pytest.raises(InputError, match="--new_streams it goes on with parameters") as error:
        run(train__steps=6, **changes)
    assert "reads 4 streams in windows of 8" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mesh", [1, 2])
def test_a_run_goes_on_with_other_streams_from_the_start_of_its_epoch(run, tmp_path, capsys, mesh):
    run(train__steps=3)
    capsys.readouterr()
    result = run(train__steps=6, data__batch=6, mesh__data=mesh, new_streams=True)
    assert (result.ended, result.step) == ("finished", 6)
    said = capsys.readouterr().err
    assert "streams: 6 x 8, they were 4 x 8: the carried state is lost, and epoch 1" in said
    assert "the 1% of it that were read are read again" in said
    before, after = body(tmp_path, 3), body(tmp_path, 6)
    assert after["content"]["streams"] == [6, 8]
    # A bias of 0 does move by so little.
    kept = [n for n in before["leaves"] if n.startswith("parameters/") and not n.endswith("/b")]
    assert [before["leaves"][name] for name in kept] == [after["leaves"][name] for name in kept]
    carried = {tuple(leaf[1]) for name, leaf in after["leaves"].items() if "carry" in name}
    assert carried == {(6, 16)}
    # Three windows of this epoch were read again, as at step 3.
    assert after["leaves"]["position/window"] == before["leaves"]["position/window"]


def test_a_run_killed_before_its_first_checkpoint_of_new_streams_asks_again(run, monkeypatch):
    run(train__steps=3)

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            run(train__steps=6, data__batch=6, new_streams=True)
    with pytest.raises(InputError, match=r"reads 4 streams in windows of 8.*asks for 6"):
        run(train__steps=6, data__batch=6)
    assert run(train__steps=6, data__batch=6, new_streams=True).step == 6
    assert run(train__steps=8, data__batch=6).step == 8  # it is theirs now


def test_streams_that_stay_lose_nothing_and_nothing_is_said(run, capsys):
    run(train__steps=3)
    run(train__steps=4, new_streams=True)
    assert "streams:" not in capsys.readouterr().err
