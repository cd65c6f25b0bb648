"""The program launch.train: one clear line for whatever is wrong, exit codes, the dry run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def train(*flags):
    return subprocess.run(
        [sys.executable, "-m", "launch.train", *flags],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.model.hiden=8"], "did you mean 'hidden'"),
        (["--config.model.hidden=8.5"], "8.5 is not a whole number"),
        (["--config.mesh.model=3"], "config.mesh.model=3 does not divide"),
        (["--config.data.source=no/such.txt"], "no/such.txt"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(tmp_path, flags, message):
    result = train("--config=quickstart:tiny", f"--workdir={tmp_path / 'run'}", *flags)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("train: error: ")


def test_the_dry_run_says_what_a_run_would_cost_and_leaves_nothing(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(bytes(range(97, 105)) * 1000)
    result = train("--config=quickstart:tiny", f"--config.data.source={text}", "--dry_run")
    assert result.returncode == 0, result.stderr
    for word in ("parameters", "GFLOP", "state", "memory", "predicted", "measured just now"):
        assert word in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["text.txt"]
