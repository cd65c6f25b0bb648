"""A trace of some steps, beside a run that it does not change."""

import json

import numpy as np
import pytest

from mlstm.errors import InputError
from mlstm.training import loop, profiling
from mlstm.training.config import Config, from_config_dict, to_dict


@pytest.fixture
def config(tmp_path):
    def make(steps):
        text = np.random.default_rng(0).integers(97, 105, 1500).astype(np.uint8)
        (tmp_path / "text.txt").write_bytes(text.tobytes())
        tree = to_dict(Config())
        tree["model"] |= {"hidden": 16, "embedding": 8}
        tree["data"] |= {"source": str(tmp_path / "text.txt"), "batch": 4, "window": 8}
        tree["data"] |= {"folder": str(tmp_path / "corpus"), "splits": "1,0,0"}
        tree["train"]["steps"] = steps
        tree["log"] |= {"every": 2, "gate_saturation": False}
        return from_config_dict(tree)

    return make


def saved(folder, step):
    return json.loads((folder / "checkpoints" / str(step) / "metadata" / "metadata").read_text())


def traces(folder):
    return list((folder / "profile").rglob("*.xplane.pb"))


def test_a_run_with_a_profile_ends_with_the_bits_of_one_without(tmp_path, config, capsys):
    loop.run(config(6), tmp_path / "plain")
    loop.run(config(6), tmp_path / "profiled", profile_steps=(3, 5))
    (trace,) = traces(tmp_path / "profiled")
    assert b"step_num" in trace.read_bytes()
    assert not traces(tmp_path / "plain")
    assert saved(tmp_path / "plain", 6) == saved(tmp_path / "profiled", 6)
    assert f"profile of steps 3 to 5: {tmp_path}/profiled/profile" in capsys.readouterr().err


def test_a_resumed_run_counts_steps_from_its_first_begin_and_names_those_it_did_not_reach(
    tmp_path, config, capsys
):
    loop.run(config(3), tmp_path / "run")
    loop.run(config(5), tmp_path / "run", profile_steps=(2, 4))
    assert "steps 2 to 4 were not profiled" in capsys.readouterr().err
    assert not traces(tmp_path / "run")
    loop.run(config(8), tmp_path / "run", profile_steps=(7, 7))
    assert "profile of steps 7 to 7: " in capsys.readouterr().err
    assert len(traces(tmp_path / "run")) == 1


def test_a_profile_that_the_end_cuts_short_is_written_and_says_so(tmp_path):
    said = []
    profile = profiling.Profile((1, 9), tmp_path / "profile", said.append)
    profile.begin(1, ())
    profile.end(1, ())
    profile.close(1)
    assert said == [f"profile of steps 1 to 9, cut short by the end at step 1: {tmp_path}/profile"]
    assert len(traces(tmp_path)) == 1


def test_a_profile_that_cannot_be_written_is_said_and_no_more(tmp_path):
    (tmp_path / "profile").write_text("")
    said = []
    profile = profiling.Profile((1, 1), tmp_path / "profile", said.append)
    profile.begin(1, ())
    profile.end(1, ())
    profile.close(1)
    (line,) = said
    assert line.startswith("mlstm: no profile: ")
    assert line.endswith("training goes on")


@pytest.mark.parametrize("text", ["10", "0:3", "5:4", "a:b", "1:2:3", "-1:2", "1:"])
def test_steps_that_are_no_range_are_one_line(text):
    with pytest.raises(InputError, match="write the first step and the last"):
        profiling.read_steps(text)


def test_steps_beyond_the_run_are_one_line_before_it_begins(tmp_path, config):
    assert profiling.read_steps("10:15") == (10, 15)
    with pytest.raises(InputError, match=r"--profile_steps=2:7: the run's steps are 1 to 6"):
        loop.run(config(6), tmp_path / "run", profile_steps=(2, 7))
    assert not (tmp_path / "run" / "config.json").exists()
